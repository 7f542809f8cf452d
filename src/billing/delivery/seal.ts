/**
 * Settled usage lines become meter events. Pure: the same lines give the same events, whoever seals them, however often.
 *
 * Mostly one event of each line (of each call in the cost layout). Where a customer's lines pile up, or a window says so,
 * those of one model, token type and UTC hour are summed. The sum has the time of its last call, so nothing is moved
 * past an hour's end, a window's end, or a time known to part two billing periods.
 */
import type { Crypto } from '../../runtime.ts';
import type { MeterEvent, Seal, SealingFacts, UnsealedLine } from '../../ledger/ledger.ts';
import { COST_TYPE, eventNameOf } from './layouts.ts';
import type { LayoutOptions } from './layouts.ts';

export interface SealOptions extends LayoutOptions {
  readonly crypto: Pick<Crypto, 'sha256'>;
  /** Above 0: all of a window is summed. Milliseconds. */
  readonly windowMs?: number | undefined;
  /** Of more waiting events than this that could be one, one is made. */
  readonly pileMax?: number | undefined;
  readonly facts?: ReadonlyMap<string, SealingFacts> | undefined;
}

type Lines = readonly [UnsealedLine, ...UnsealedLine[]];
type EventContent = Omit<MeterEvent, 'identifier'>;

/** Waiting events of a customer that could be one: at 0.1 s each, one after the other, more than 10 s of sending. */
export const PILE_MAX = 100;
const HOUR = 3_600_000;
const PICO_PER_UNIT = 1_000_000n;
/** Some 9 million dollars: 2^63, but for what is carried to the sum. */
const SUM_PICO_MAX = 9_223_372_036_000_000_000n;

/** Events for the lines, each in exactly one; an identifier is 77 characters, Stripe takes 100. */
export function sealLines(lines: readonly UnsealedLine[], options: SealOptions): readonly Seal[] {
  const carries = new Map<string, bigint>();
  const carryOf = (customer: string): bigint =>
    carries.get(customer) ?? BigInt(options.facts?.get(customer)?.carryPico ?? '0');
  return grouped(lines, options).map((group) => {
    const [{ destination, customer }] = group;
    if (destination !== 'cost') return seal(group, valueOfTokens(group), options);
    const beforePico = carryOf(customer);
    const total = group.reduce((sum, line) => sum + BigInt(line.pico), beforePico);
    carries.set(customer, total % PICO_PER_UNIT);
    const carry = { beforePico: String(beforePico), afterPico: String(total % PICO_PER_UNIT) };
    return Object.assign({ carry }, seal(group, String(total / PICO_PER_UNIT), options));
  });
}

const valueOfTokens = (lines: Lines): string =>
  lines.reduce((sum, line) => sum + BigInt(line.tokens), 0n).toString();

function grouped(lines: readonly UnsealedLine[], options: SealOptions): readonly Lines[] {
  const { windowMs = 0, pileMax = Infinity } = options;
  const sums = Map.groupBy(lines, (line) => sumKey(line, options));
  const places = new Map(lines.map((line, at) => [line, at]));
  const groups = [...sums.values()].flatMap((sum) => {
    const single = Map.groupBy(sum, singleKey);
    return windowMs > 0 || single.size > pileMax ? fitting(sum) : Array.from(single.values());
  });
  const placeOf = ([first]: readonly UnsealedLine[]): number =>
    first === undefined ? 0 : (places.get(first) ?? 0);
  return groups
    .toSorted((a, b) => placeOf(a) - placeOf(b))
    .flatMap(([first, ...rest]) => (first === undefined ? [] : [[first, ...rest] as const]));
}

/** In parts whose cost the ledger can add up in 64 bits: one call of nine million dollars must not hold up all others. */
function fitting(lines: readonly UnsealedLine[]): readonly (readonly UnsealedLine[])[] {
  const parts: UnsealedLine[][] = [];
  let left = 0n;
  for (const line of lines) {
    const pico = BigInt(line.pico);
    const part = parts.at(-1);
    if (part === undefined || pico > left) {
      parts.push([line]);
      left = SUM_PICO_MAX - pico;
    } else {
      part.push(line);
      left -= pico;
    }
  }
  return parts;
}

/** What may be one event. */
function sumKey(line: UnsealedLine, options: SealOptions): string {
  const { customer, destination, endedAtMs, model, tokenType } = line;
  const { windowMs = 0, facts } = options;
  const boundaries = facts?.get(customer)?.boundariesMs ?? [];
  const content = destination === 'cost' ? [] : [eventNameOf(destination, line, options), model, tokenType];
  return JSON.stringify([
    customer,
    destination,
    Math.floor(endedAtMs / HOUR),
    windowMs > 0 ? Math.floor(endedAtMs / windowMs) : 0,
    boundaries.filter((boundaryMs) => boundaryMs <= endedAtMs).length,
    ...content,
  ]);
}

/** What must be one event: a line, or in the cost layout a call. */
const singleKey = ({ destination, call, attempt, model, tokenType }: UnsealedLine): string =>
  destination === 'cost' ? call : JSON.stringify([call, attempt, model, tokenType]);

function seal(lines: Lines, value: string, options: SealOptions): Seal {
  const [first] = lines;
  const isCost = first.destination === 'cost';
  const content: EventContent = {
    destination: first.destination,
    eventName: eventNameOf(first.destination, first, options),
    customer: first.customer,
    model: isCost ? '' : first.model,
    tokenType: isCost ? COST_TYPE : first.tokenType,
    value,
    timestampMs: lines.reduce((latest, line) => Math.max(latest, line.endedAtMs), 0),
  };
  return {
    event: {
      identifier: `fg_${sortableTime(content.timestampMs)}_${options.crypto.sha256(canonicalText(lines, content))}`,
      ...content,
    },
    members: lines.map((line) => ({
      call: line.call,
      attempt: line.attempt,
      model: line.model,
      tokenType: line.tokenType,
    })),
  };
}

/**
 * The event's time, in front of its hash: neighbours in time are then neighbours in the indexes of the ledger. By the hash
 * alone each event touched pages of its own, which cost a third of all CPU of a backlog.
 */
const sortableTime = (timestampMs: number): string => timestampMs.toString(36).padStart(9, '0');

/**
 * What the identifier commits to: `v1|call|attempt|model|token_type|customer|event_name|value|timestamp`, the first two
 * once for each member, and a destination that is not Stripe at the end. Because the whole payload is in it, an equal
 * identifier means an equal event. Members of a cost event are told apart by model and token type too.
 */
function canonicalText(lines: readonly UnsealedLine[], content: EventContent): string {
  const isCost = content.destination === 'cost';
  return [
    'v1',
    ...lines.flatMap(({ call, attempt, model, tokenType }) => [
      call,
      String(attempt),
      ...(isCost ? [model, tokenType] : []),
    ]),
    content.model,
    content.tokenType,
    content.customer,
    content.eventName,
    content.value,
    String(content.timestampMs),
    ...(content.destination.startsWith('sink:') ? [content.destination] : []),
  ]
    .map(escapeSeparator)
    .join('|');
}

/** A model's name may hold any character: without this, two events could have one text. */
const escapeSeparator = (field: string): string => field.replaceAll('%', '%25').replaceAll('|', '%7C');
