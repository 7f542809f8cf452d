/** Settled usage lines become meter events. Pure: the same lines give the same events, whoever seals them, however often. */
import type { Crypto } from '../runtime.ts';
import type { MeterEvent, Seal, UnsealedLine } from '../ledger/ledger.ts';

export interface SealOptions {
  /** The Stripe meter's event name. */
  readonly eventName: string;
  readonly crypto: Pick<Crypto, 'sha256'>;
}

type EventContent = Omit<MeterEvent, 'identifier'>;

/** One event for each line. Its identifier is 67 characters; Stripe takes 100. */
export function sealLines(lines: readonly UnsealedLine[], options: SealOptions): readonly Seal[] {
  return lines.map((line) => seal([line], options));
}

/** One event for lines of one customer, model and token type: the sum of their tokens, at the time of the latest. */
function seal(lines: readonly [UnsealedLine, ...UnsealedLine[]], { eventName, crypto }: SealOptions): Seal {
  const [{ customer, model, tokenType }] = lines;
  const content: EventContent = {
    eventName,
    customer,
    model,
    tokenType,
    value: lines.reduce((sum, line) => sum + BigInt(line.tokens), 0n).toString(),
    timestampMs: Math.max(...lines.map((line) => line.endedAtMs)),
  };
  return {
    event: { identifier: `fg_${crypto.sha256(canonicalText(lines, content))}`, ...content },
    members: lines.map((line) => ({
      call: line.call,
      attempt: line.attempt,
      model: line.model,
      tokenType: line.tokenType,
    })),
  };
}

/**
 * What the identifier commits to: `v1|call|attempt|model|token_type|customer|event_name|value|timestamp`, the first two
 * once for each member. Because the whole payload is in it, an equal identifier means an equal event.
 */
function canonicalText(lines: readonly UnsealedLine[], content: EventContent): string {
  return [
    'v1',
    ...lines.flatMap((line) => [line.call, String(line.attempt)]),
    content.model,
    content.tokenType,
    content.customer,
    content.eventName,
    content.value,
    String(content.timestampMs),
  ]
    .map(escapeSeparator)
    .join('|');
}

/** A model's name may hold any character: without this, two events could have one text. */
const escapeSeparator = (field: string): string => field.replaceAll('%', '%25').replaceAll('|', '%7C');
