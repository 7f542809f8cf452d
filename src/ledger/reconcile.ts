/** The ledger's side of reconciliation: an hour's books, what the comparison decided, and the history of runs. */
import type { LedgerParts } from './create-ledger.ts';
import type { Row, Statement } from './ledger.ts';
import { linesFromJson, tokensOf } from './lines.ts';
import type { BookedCell, BookedDoubt, BookedSum, Comparing, BooksQuery } from './reconcile-port.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';

const HOUR_MS = 3_600_000;
/**
 * Events in doubt of one customer's slice that are read, some 60 ms of the writer's time. An outage leaves some tens, a
 * restored backup whatever it held sealed and unsent.
 */
const DOUBTS_MAX = 20_000;
const UNSEALED_CALLS_MAX = 100_000;

const AT_STRIPE = `destination IN ('dimensions', 'per_type', 'cost')`;
const OF_SLICE = `customer = ? AND timestamp_ms >= ? AND timestamp_ms < ? AND ${AT_STRIPE}`;
/** What Stripe may have or not. What is quarantined is so in any case: a restored ledger does not know its attempts. */
const IN_DOUBT = `(state IN ('sending', 'ambiguous', 'quarantined') OR (state IN ('pending', 'refused') AND unsure = 1))`;

const NEXT_CUSTOMER = `SELECT MIN(customer) AS customer FROM meter_events WHERE customer > ?`;
const OLDEST_UNCONFIRMED = `
  SELECT MIN(timestamp_ms) AS oldest_ms FROM (
    SELECT timestamp_ms FROM meter_events WHERE state = 'accepted' AND customer = ? AND timestamp_ms >= ? AND ${AT_STRIPE}
    UNION ALL SELECT timestamp_ms FROM meter_events
      WHERE state = 'quarantined' AND customer = ? AND timestamp_ms >= ? AND ${AT_STRIPE}) AS open_ones`;

const SUM_SLICE = `
  SELECT event_name, timestamp_ms - timestamp_ms % ${HOUR_MS} AS hour_ms,
    CASE WHEN state = 'confirmed' OR (state = 'accepted' AND accepted_at_ms <= ?) THEN 'counted'
      WHEN state = 'accepted' THEN 'recent' WHEN state = 'pending' THEN 'waiting'
      WHEN state = 'cancelled' THEN 'withdrawn' ELSE state END AS sum_name,
    CAST(SUM(value) AS TEXT) AS value
  FROM meter_events
  WHERE ${OF_SLICE} AND NOT ${IN_DOUBT} AND (state <> 'cancelled' OR accepted_at_ms > ?)
  GROUP BY 1, 2, 3`;
const READ_DOUBTS = `
  SELECT event_name, timestamp_ms, identifier, CAST(value AS TEXT) AS value, model, token_type, state, not_before_ms
  FROM meter_events WHERE ${OF_SLICE} AND ${IN_DOUBT} ORDER BY timestamp_ms, identifier LIMIT CAST(? AS BIGINT)`;

const READ_UNSEALED = `
  SELECT customer, ended_at_ms, lines_json FROM calls WHERE sealed = 0 ORDER BY ended_at_ms, id LIMIT CAST(? AS BIGINT)`;

const CONFIRM_HOUR = `
  UPDATE meter_events SET state = 'confirmed'
  WHERE state = 'accepted' AND customer = ? AND event_name = ? AND timestamp_ms >= ? AND timestamp_ms < ?
    AND accepted_at_ms <= ? AND ${AT_STRIPE} RETURNING identifier`;

/** One like it is at Stripe, maybe under this very identifier: a new one makes them two. */
const RESEND_ANEW = `
  UPDATE meter_events SET identifier = ?, replaces = identifier, state = 'pending', not_before_ms = ?, attempts = 0,
    unsure = 0, first_attempt_at_ms = NULL, transport = NULL
  WHERE identifier = ? AND state = 'quarantined' RETURNING identifier`;
const MOVE_LINES = `
  UPDATE lines SET event = ? WHERE event = ? AND EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)`;
/** Added to the identifier: 69 of the 100 characters Stripe takes. */
const RENAMED = '_r';

type OfHours = Omit<Comparing, 'beginRun' | 'recordCells' | 'endRun' | 'runs' | 'runCells'>;

export function createBooks({ database }: LedgerParts): OfHours {
  return {
    async customerAfter(after) {
      const [rows] = await database.batch([{ sql: NEXT_CUSTOMER, params: [after] }]);
      return rows?.[0] === undefined ? undefined : (textOrNull(rows[0], 'customer') ?? undefined);
    },
    async oldestUnconfirmedMs(customer, sinceMs) {
      const params = [customer, sinceMs, customer, sinceMs];
      const [rows] = await database.batch([{ sql: OLDEST_UNCONFIRMED, params }]);
      return rows?.[0] === undefined ? null : numberOrNull(rows[0], 'oldest_ms');
    },
    async books(query) {
      const [sums = [], doubts = []] = await database.batch(readBooks(query));
      return cellsOf(sums, doubts);
    },
    async unsealedHours() {
      const [calls = []] = await database.batch([{ sql: READ_UNSEALED, params: [UNSEALED_CALLS_MAX] }]);
      return hoursOf(calls);
    },
    async confirmHour({ customer, eventName, hourMs, acceptedMs }) {
      const params = [customer, eventName, hourMs, hourMs + HOUR_MS, acceptedMs];
      const [rows = []] = await database.batch([{ sql: CONFIRM_HOUR, params }]);
      return rows.length;
    },
    async resendAnew(identifier, nowMs) {
      const renamed = `${identifier}${RENAMED}`;
      const [moved = []] = await database.batch([
        { sql: RESEND_ANEW, params: [renamed, nowMs, identifier] },
        { sql: MOVE_LINES, params: [renamed, identifier, renamed] },
      ]);
      return moved.length === 1;
    },
  };
}

function readBooks({ customer, fromMs, toMs, countedMs, withdrawnMs }: BooksQuery): Statement[] {
  return [
    { sql: SUM_SLICE, params: [countedMs, customer, fromMs, toMs, withdrawnMs] },
    { sql: READ_DOUBTS, params: [customer, fromMs, toMs, DOUBTS_MAX + 1] },
  ];
}

function cellsOf(sums: readonly Row[], doubts: readonly Row[]): readonly BookedCell[] {
  if (doubts.length > DOUBTS_MAX)
    throw new Error(`More than ${DOUBTS_MAX} events of one customer are in doubt: compare a shorter time.`);
  const cells = new Map<
    string,
    BookedCell & { sums: Partial<Record<BookedSum, string>>; doubts: BookedDoubt[] }
  >();
  const cellOf = (eventName: string, hourMs: number) => {
    const key = `${hourMs} ${eventName}`;
    const cell = cells.get(key) ?? { eventName, hourMs, sums: {}, doubts: [] };
    cells.set(key, cell);
    return cell;
  };
  for (const row of sums)
    cellOf(textOf(row, 'event_name'), numberOf(row, 'hour_ms')).sums[textOf(row, 'sum_name') as BookedSum] =
      textOf(row, 'value');
  for (const row of doubts) {
    const timestampMs = numberOf(row, 'timestamp_ms');
    cellOf(textOf(row, 'event_name'), timestampMs - (timestampMs % HOUR_MS)).doubts.push({
      identifier: textOf(row, 'identifier'),
      value: textOf(row, 'value'),
      model: textOf(row, 'model'),
      tokenType: textOf(row, 'token_type'),
      state: textOf(row, 'state'),
      notBeforeMs: numberOf(row, 'not_before_ms'),
    });
  }
  return [...cells.values()];
}

function hoursOf(calls: readonly Row[]): Map<string, Map<number, string>> {
  const byCustomer = new Map<string, Map<number, string>>();
  for (const row of calls) {
    const customer = textOf(row, 'customer');
    const endedAtMs = numberOf(row, 'ended_at_ms');
    const hourMs = endedAtMs - (endedAtMs % HOUR_MS);
    const hours = byCustomer.get(customer) ?? new Map<number, string>();
    byCustomer.set(customer, hours);
    const tokens = tokensOf(linesFromJson(textOrNull(row, 'lines_json')));
    hours.set(hourMs, String(BigInt(hours.get(hourMs) ?? '0') + BigInt(tokens)));
  }
  return byCustomer;
}
