/**
 * Holds the three counts against each other: the provider's, the ledger's and Stripe's, by call and token type. What must
 * hold at any moment is `disagreements`; what must hold once everything is well again is `imbalances`.
 */
import { recovered } from '../../src/ledger/calls.ts';
import { linesFromJson, linesToJson } from '../../src/ledger/lines.ts';
import type { Row } from '../../src/ledger/ledger.ts';
import type { Disk } from './disk.ts';
import { outputOf, TOKENS_A_DELTA, type Truth } from './provider.ts';
import type { SimulatedStripe } from './stripe.ts';

export interface Books {
  readonly disk: Disk;
  readonly stripe: SimulatedStripe;
  /** The provider's entries by the ledger's id of the call. */
  readonly truths: ReadonlyMap<string, Truth>;
  /** What was on record of open calls when their process died. */
  readonly evidence: ReadonlyMap<string, string | null>;
  /** Lines as they were when a call was first seen settled. */
  readonly settled: Map<string, string>;
  /** Whole seconds are all that v1 takes. */
  readonly isCut: boolean;
  /** Events that hold the usage of several calls have the time of the last. */
  readonly sums: boolean;
}

const READ_CALLS = `SELECT id, customer, model, ended_at_ms, outcome, usage_source, lines_json, CAST(cost_pico AS TEXT) AS cost_pico FROM calls`;
const READ_EVENTS = `
  SELECT identifier, customer, model, token_type, state, unsure, CAST(value AS TEXT) AS value, timestamp_ms FROM meter_events`;

/** The ledger's count by `customer model type`, as Stripe's is kept. */
function ledgerCount(calls: readonly Row[]): Map<string, number> {
  const count = new Map<string, number>();
  for (const row of calls) {
    if (row['ended_at_ms'] === null) continue;
    for (const { model, tokenType, tokens } of linesFromJson(String(row['lines_json']))) {
      const key = `${row['customer']} ${model} ${tokenType}`;
      count.set(key, (count.get(key) ?? 0) + tokens);
    }
  }
  return count;
}

/** What may never be, at any moment. */
export function disagreements(books: Books): string[] {
  const calls = books.disk.read(READ_CALLS);
  const wrong: string[] = [];
  for (const row of calls) if (row['ended_at_ms'] !== null) wrong.push(...wrongCall(row, books));
  const ledger = ledgerCount(calls);
  for (const [key, counted] of books.stripe.counted)
    if (counted > (ledger.get(key) ?? 0))
      wrong.push(`Stripe has counted ${counted} of ${key}, the ledger ${ledger.get(key) ?? 0}`);
  for (const row of books.disk.read(READ_EVENTS)) wrong.push(...wrongEvent(row, books));
  return wrong;
}

interface Count {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
}
const NOTHING: Count = { input: 0, output: 0, cached: 0 };

function countOf(json: string): Count {
  const count = { ...NOTHING };
  for (const { tokenType, tokens } of linesFromJson(json)) {
    if (tokenType === 'input') count.input += tokens;
    else if (tokenType === 'output') count.output += tokens;
    else count.cached += tokens;
  }
  return count;
}

/** A settled call against the provider's own book. */
function wrongCall(row: Row, { truths, evidence, settled }: Books): string[] {
  const id = String(row['id']);
  const json = String(row['lines_json']);
  const before = settled.get(id);
  if (before === json) return [];
  if (before !== undefined) return [`${id} was settled as ${before}, and then as ${json}`];
  settled.set(id, json);
  const truth = truths.get(id);
  if (truth === undefined) return [`${id} is on record, and nobody made it`];
  const count = countOf(json);
  const said = `${id} (${truth.kind}) is ${row['outcome']}, ${row['usage_source']}: ${json}`;
  if (row['outcome'] === 'recovered') {
    const left = recovered({ id, checkpoint_json: evidence.get(id) ?? null }, 0);
    if (linesToJson(left.lines) !== json)
      return [`${said}; on record when its process died: ${JSON.stringify(left.lines)}`];
  }
  if (row['usage_source'] === 'reported') {
    const isEqual =
      truth.told &&
      count.input === truth.input - truth.cached &&
      count.cached === truth.cached &&
      count.output === outputOf(truth);
    if (!isEqual)
      return [`${said}; the provider counted ${truth.input} (${truth.cached} cached), ${outputOf(truth)}`];
    return !truth.finished || row['ended_at_ms'] === truth.endedAtMs
      ? []
      : [`${said}; it ended at ${truth.endedAtMs}, not ${row['ended_at_ms']}`];
  }
  if (truth.finished && truth.kind !== 'silent' && row['outcome'] !== 'recovered')
    return [`${said}; the provider had told its count`];
  const generated = TOKENS_A_DELTA * (truth.kind === 'whole' ? truth.deltas : truth.sent);
  const isBound = count.input + count.cached <= truth.input && count.output <= generated;
  return isBound ? [] : [`${said}; the provider had read ${truth.input} and generated ${generated}`];
}

/** An event's state against what Stripe did with it. */
function wrongEvent(row: Row, { stripe }: Books): string[] {
  const identifier = String(row['identifier']);
  const counted = stripe.timesCounted(identifier);
  const known = stripe.known.has(identifier);
  const said = `event ${identifier} (${row['value']} of ${row['customer']} ${row['model']} ${row['token_type']}) is ${row['state']}`;
  if (counted > 1) return [`${said}; Stripe has counted it ${counted} times`];
  if (row['state'] === 'accepted' && !known) return [`${said}; Stripe has never seen it`];
  // With an earlier attempt in doubt it may be: sent again, under its own identifier, it is found to be a duplicate.
  if (row['state'] === 'refused' && row['unsure'] === 0 && counted > 0)
    return [`${said}; Stripe has counted it`];
  return [];
}

/** What is not right although everything has been put right. `deleted`: customers whose usage nobody will take. */
export function imbalances(books: Books): string[] {
  const calls = books.disk.read(READ_CALLS);
  const wrong = [...disagreements(books)];
  for (const row of calls) if (row['ended_at_ms'] === null) wrong.push(`${row['id']} was never settled`);
  const onRecord = new Map(calls.map((row) => [String(row['id']), row]));
  for (const [id, { asked, kind, finished }] of books.truths) {
    if (asked > 0 && !onRecord.has(id))
      wrong.push(`${id} (${kind}) was asked of the provider and is on no record`);
    if (
      finished &&
      onRecord.get(id)?.['usage_source'] === 'none' &&
      onRecord.get(id)?.['outcome'] !== 'recovered'
    )
      wrong.push(`${id} (${kind}) was served and is not billed`);
  }
  const { deleted, counted } = books.stripe;
  for (const [key, tokens] of ledgerCount(calls)) {
    const there = counted.get(key) ?? 0;
    const isGone = deleted.has(key.slice(0, key.indexOf(' ')));
    if (there !== tokens && !isGone)
      wrong.push(`Stripe has counted ${there} of ${key}, the ledger ${tokens}`);
  }
  return [...wrong, ...wrongTimes(calls, books)];
}

/** An event has the time at which its call ended, or of several the last. */
function wrongTimes(calls: readonly Row[], { stripe, disk, isCut, sums }: Books): string[] {
  const ended = new Map(calls.map((row) => [String(row['id']), Number(row['ended_at_ms'])]));
  const times = new Map<string, number>();
  for (const { call, event } of disk.read(`SELECT call, event FROM lines`))
    times.set(String(event), Math.max(times.get(String(event)) ?? 0, ended.get(String(call)) ?? 0));
  return [...stripe.known].flatMap(([identifier, { event, counted }]) => {
    const wanted = times.get(identifier);
    if (wanted === undefined || counted === 0) return [];
    const want = isCut ? Math.floor(wanted / 1000) * 1000 : wanted;
    return event.timestampMs === want
      ? []
      : [
          `event ${identifier}${sums ? ' (a sum)' : ''} has the time ${event.timestampMs}, its call ended at ${want}`,
        ];
  });
}
