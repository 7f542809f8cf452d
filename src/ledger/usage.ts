/** What customers read of their own usage: calls in slices for sums, and what Stripe has not been told yet. */
import type { LedgerParts } from './create-ledger.ts';
import type { Row } from './ledger.ts';
import { linesFromJson } from './lines.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';
import type { CallUsage, Undelivered, UsageReads } from './usage-port.ts';

/** Rows of one slice: about 10 ms of the writer's time. */
const SLICE_ROWS_MAX = 2_000;

/** One customer's calls in each of the three states, each by the index that serves it; newest first. */
const READ_SLICE = `
  SELECT id, key_id, model, opened_at_ms, ended_at_ms, CAST(cost_pico AS TEXT) AS cost_pico, lines_json
  FROM calls WHERE id IN (
    SELECT id FROM calls WHERE sealed = 1 AND customer = ? AND id < ?
    UNION ALL SELECT id || '' AS id FROM calls WHERE sealed = 0 AND customer = ? AND id < ?
    UNION ALL SELECT id || '' AS id FROM calls WHERE ended_at_ms IS NULL AND customer = ? AND id < ?
    ORDER BY 1 DESC LIMIT CAST(? AS BIGINT))
  ORDER BY id DESC`;
/** Sorts after every call's id. */
const NEWEST = '~';

/** Each spelled as the index of its few states is. */
const IS_DUE = `(state = 'pending' OR state = 'sending' OR state = 'ambiguous')`;
const IS_PARKED = `(state = 'refused' OR state = 'quarantined')`;
const TO_STRIPE = `destination IN ('dimensions', 'per_type', 'cost')`;

/**
 * So many open events of all customers are looked through for those of one: 10 ms of the ledger's writer. The index of his
 * own events has all of them, 0.2 s for 400,000, at whatever rate he asks; so it serves only where more are open than that,
 * such as after a day of a meter that is refused: then anyone's question would take as long.
 */
const OPEN_MAX = 5_000;
const COUNT_OPEN = `
  SELECT COUNT(*) AS open FROM (
    SELECT identifier FROM meter_events WHERE ${IS_DUE} AND ${TO_STRIPE}
    UNION ALL SELECT identifier FROM meter_events WHERE ${IS_PARKED} LIMIT CAST(? AS BIGINT)) AS counted`;

/** Those of `dimensions`; an equation would have the index of due events serve where the customer's own should. */
const UNITS = (where: string): string => `
  SELECT model, token_type, value AS tokens FROM meter_events
  WHERE ${where} AND model = '' AND ${TO_STRIPE} AND destination NOT IN ('per_type', 'cost')`;

/** What Stripe has not been told of the customer whom a column, or an expression of it, names. */
function readsBy(column: string): { readonly sum: string; readonly cost: string } {
  const due = `${column} = ? AND ${IS_DUE}`;
  const parked = `${column} = ? AND ${IS_PARKED}`;
  // Both at once: one call may have events of either kind, and counts once.
  const undelivered = `
    SELECT identifier FROM meter_events WHERE ${due} AND ${TO_STRIPE}
    UNION ALL SELECT identifier FROM meter_events WHERE ${parked} AND ${TO_STRIPE}`;
  return {
    // Each line once, however many of Stripe's layouts it goes to; and what was recorded without a call.
    sum: `
      SELECT model, token_type, CAST(SUM(tokens) AS TEXT) AS tokens FROM (
        SELECT model, token_type, tokens FROM lines WHERE event IN (${undelivered}) AND tokens > 0
        GROUP BY call, attempt, model, token_type, tokens
        UNION ALL ${UNITS(due)}
        UNION ALL ${UNITS(parked)}) AS undelivered
      GROUP BY model, token_type`,
    cost: `
      SELECT CAST(COALESCE(SUM(cost_pico), 0) AS TEXT) AS cost_pico FROM calls WHERE id IN (
        SELECT call FROM lines WHERE event IN (${undelivered}))`,
  };
}
const BY_HIS_OWN = readsBy('customer');
/** An expression, so that his own index does not serve. */
const BY_OPEN = readsBy(`customer || ''`);

const READ_UNSEALED = `
  SELECT lines_json, CAST(cost_pico AS TEXT) AS cost_pico FROM calls WHERE sealed = 0 AND customer = ?`;

export function createUsageReads({ database }: LedgerParts): UsageReads {
  return {
    async callUsage({ customer, cursor = NEWEST, limit }) {
      const rows = Math.min(limit, SLICE_ROWS_MAX);
      const params = [customer, cursor, customer, cursor, customer, cursor, rows];
      const [calls = []] = await database.batch([{ sql: READ_SLICE, params }]);
      return calls.map(callUsage);
    },
    async undelivered(customer) {
      const [counted] = await database.batch([{ sql: COUNT_OPEN, params: [OPEN_MAX] }]);
      const isFew = counted?.[0] !== undefined && numberOf(counted[0], 'open') < OPEN_MAX;
      const { sum, cost } = isFew ? BY_OPEN : BY_HIS_OWN;
      const [events = [], costs = [], unsealed = []] = await database.batch([
        { sql: sum, params: [customer, customer, customer, customer] },
        { sql: cost, params: [customer, customer] },
        { sql: READ_UNSEALED, params: [customer] },
      ]);
      return undeliveredOf(events, costs, unsealed);
    },
  };
}

const callUsage = (row: Row): CallUsage => ({
  id: textOf(row, 'id'),
  keyId: textOf(row, 'key_id'),
  model: textOf(row, 'model'),
  openedAtMs: numberOf(row, 'opened_at_ms'),
  endedAtMs: numberOrNull(row, 'ended_at_ms'),
  costPico: textOrNull(row, 'cost_pico'),
  lines: linesFromJson(textOrNull(row, 'lines_json')),
});

function undeliveredOf(events: readonly Row[], costs: readonly Row[], unsealed: readonly Row[]): Undelivered {
  const sums = new Map<string, { model: string; tokenType: string; tokens: bigint }>();
  const add = (model: string, tokenType: string, tokens: bigint): void => {
    const key = JSON.stringify([model, tokenType]);
    sums.set(key, { model, tokenType, tokens: (sums.get(key)?.tokens ?? 0n) + tokens });
  };
  for (const row of events)
    add(textOf(row, 'model'), textOf(row, 'token_type'), BigInt(textOf(row, 'tokens')));
  for (const row of unsealed)
    for (const { model, tokenType, tokens } of linesFromJson(textOrNull(row, 'lines_json')))
      add(model, tokenType, BigInt(tokens));
  const cost = [...costs, ...unsealed].reduce(
    (sum, row) => sum + BigInt(textOrNull(row, 'cost_pico') ?? '0'),
    0n,
  );
  return {
    costPico: cost.toString(),
    lines: [...sums.values()].map(({ model, tokenType, tokens }) => ({
      model,
      tokenType,
      tokens: tokens.toString(),
    })),
  };
}
