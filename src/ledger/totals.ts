/** Sums over the whole ledger, or one customer's part of it. All of it is read: for people, not for the request path. */
import type { LedgerParts } from './create-ledger.ts';
import type { EventState, Ledger, Row, Totals, UnsealedLine } from './ledger.ts';
import { numberOf, textOf, wordOf } from './rows.ts';
import { readUnsealed, unsealedLines } from './sealing.ts';

/**
 * Costs are summed as two halves, since a sum of picodollars in 64 bits overflows at nine million dollars and SQLite then
 * fails the query.
 */
const HALF = 1_000_000;

const COUNT_CALLS = (calls: string): string => `
  SELECT COUNT(*) - COUNT(ended_at_ms) AS open_calls, COUNT(ended_at_ms) AS settled_calls,
    CAST(COALESCE(SUM(cost_pico / ${HALF}), 0) AS TEXT) AS cost_high,
    CAST(COALESCE(SUM(cost_pico % ${HALF}), 0) AS TEXT) AS cost_low
  FROM ${calls}`;

/** Sealed tokens, each line once, however many destinations it went to. */
const SUM_SEALED = (where: string): string => `
  SELECT model, token_type, CAST(SUM(tokens) AS TEXT) AS tokens FROM (
    SELECT model, token_type, tokens FROM lines ${where} GROUP BY call, attempt, model, token_type, tokens) AS sealed
  GROUP BY model, token_type`;

const SUM_EVENTS = (where: string): string => `
  SELECT state, COUNT(*) AS count, CAST(SUM(value) AS TEXT) AS tokens, MIN(timestamp_ms) AS oldest_ms
  FROM meter_events ${where} GROUP BY state ORDER BY state`;

const OWN_LINES = `WHERE event IN (SELECT identifier FROM meter_events WHERE customer = ?)`;

/** One customer's calls, each state by the index that serves it. */
const CUSTOMER_CALLS = `(
  SELECT ended_at_ms, cost_pico FROM calls WHERE sealed = 1 AND customer = ?
  UNION ALL SELECT ended_at_ms, cost_pico FROM calls WHERE sealed = 0 AND customer = ?
  UNION ALL SELECT ended_at_ms, cost_pico FROM calls WHERE ended_at_ms IS NULL AND customer = ?) AS own`;

export function createTotals({ database }: LedgerParts): Pick<Ledger, 'totals'> {
  return {
    async totals(customer) {
      const own = customer === undefined ? [] : [customer];
      const where = customer === undefined ? '' : 'WHERE customer = ?';
      const [counts = [], sealed = [], events = [], waiting = [], partly = []] = await database.batch([
        customer === undefined
          ? { sql: COUNT_CALLS('calls'), params: [] }
          : { sql: COUNT_CALLS(CUSTOMER_CALLS), params: [customer, customer, customer] },
        { sql: SUM_SEALED(customer === undefined ? '' : OWN_LINES), params: own },
        { sql: SUM_EVENTS(where), params: own },
        ...readUnsealed(Number.MAX_SAFE_INTEGER),
      ]);
      const counted = counts[0];
      if (counted === undefined) throw new Error('A count answered no row.');
      // A line is sealed when it is in an event of any destination.
      const anywhere = partly.map((row) => Object.assign({}, row, { destination: 'any' }));
      const unsealed = unsealedLines(waiting, anywhere, ['any']).filter(
        (line) => line.tokens > 0 && (customer === undefined || line.customer === customer),
      );
      return totalsOf(counted, { sealed, events, unsealed });
    },
  };
}

const totalsOf = (
  counted: Row,
  parts: { sealed: readonly Row[]; events: readonly Row[]; unsealed: readonly UnsealedLine[] },
): Totals => ({
  openCalls: numberOf(counted, 'open_calls'),
  settledCalls: numberOf(counted, 'settled_calls'),
  lines: lineTotals(parts.sealed, parts.unsealed),
  events: parts.events.map((row) => ({
    state: wordOf<EventState>(row, 'state'),
    count: numberOf(row, 'count'),
    tokens: sumOf(row),
    oldestMs: numberOf(row, 'oldest_ms'),
  })),
  unsealedLines: parts.unsealed.length,
  costPico: String(BigInt(textOf(counted, 'cost_high')) * BigInt(HALF) + BigInt(textOf(counted, 'cost_low'))),
});

/** Units are recorded and usage imported with 15 digits: ten of those are past 2^53, and told by the nearest number. */
const sumOf = (row: Row): number => Number(textOf(row, 'tokens'));

function lineTotals(sealed: readonly Row[], unsealed: readonly UnsealedLine[]): Totals['lines'] {
  const sums = new Map<string, { model: string; tokenType: string; tokens: number }>();
  const add = (model: string, tokenType: string, tokens: number): void => {
    const name = `${model} ${tokenType}`;
    sums.set(name, { model, tokenType, tokens: (sums.get(name)?.tokens ?? 0) + tokens });
  };
  // What was recorded without a call is of other units: no tokens.
  for (const row of sealed)
    if (textOf(row, 'model') !== '') add(textOf(row, 'model'), textOf(row, 'token_type'), sumOf(row));
  for (const { model, tokenType, tokens } of unsealed) add(model, tokenType, tokens);
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
}
