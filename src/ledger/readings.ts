/** Customers whose money is to be read from Stripe again, and how far Stripe's list of events was looked through. */
import type { LedgerParts } from './create-ledger.ts';
import { numberOf, textOf } from './rows.ts';

export interface DueReading {
  readonly customer: string;
  /** Readings that failed since it was first wanted. */
  readonly attempts: number;
}

export interface Readings {
  /** The customer is to be read, at once. A webhook asks for it as a fact, in the batch that records it. */
  wantReading(customer: string, nowMs: number): Promise<void>;
  /** Those due, longest waiting first. */
  dueReadings(nowMs: number, limit: number): Promise<readonly DueReading[]>;
  /** When the next is due; undefined when none is wanted. */
  nextReadingMs(): Promise<number | undefined>;
  /** The reading that began then is on record: what was wanted later is still wanted. */
  readingDone(customer: string, beganAtMs: number): Promise<void>;
  readingFailed(customer: string, dueAtMs: number, error: string): Promise<void>;
  /** Which of these events of Stripe's were applied: 100 at most. */
  appliedEvents(ids: readonly string[]): Promise<ReadonlySet<string>>;
  /** Seconds of Stripe's; undefined before the first look. */
  eventCursor(): Promise<number | undefined>;
  setEventCursor(createdS: number): Promise<void>;
}

const IDS_MAX = 100;
const ERROR_CHARS_MAX = 500;

const ON_CONFLICT = `ON CONFLICT (customer) DO UPDATE SET attempts = 0, due_at_ms = excluded.due_at_ms,
    wanted_at_ms = CASE WHEN excluded.wanted_at_ms > stripe_readings.wanted_at_ms
      THEN excluded.wanted_at_ms ELSE stripe_readings.wanted_at_ms END`;
const WANT = `INSERT INTO stripe_readings (customer, wanted_at_ms, due_at_ms) VALUES (?, ?, ?) ${ON_CONFLICT}`;
/** As a fact of a webhook: written only by the batch that recorded the event. */
export const FACT_WANTED = `
  INSERT INTO stripe_readings (customer, wanted_at_ms, due_at_ms)
  SELECT ?, received_at_ms, received_at_ms FROM webhook_events WHERE id = ? AND applied_by = ? ${ON_CONFLICT}`;
const DUE = `
  SELECT customer, attempts FROM stripe_readings WHERE due_at_ms <= ? ORDER BY due_at_ms, customer LIMIT CAST(? AS BIGINT)`;
const NEXT = `SELECT due_at_ms FROM stripe_readings ORDER BY due_at_ms LIMIT 1`;
const DONE = `DELETE FROM stripe_readings WHERE customer = ? AND wanted_at_ms <= ?`;
const FAILED = `
  UPDATE stripe_readings SET attempts = attempts + 1, due_at_ms = ?, last_error = ? WHERE customer = ?`;
const READ_CURSOR = `SELECT created_s FROM stripe_cursor WHERE name = 'events'`;
const SET_CURSOR = `
  INSERT INTO stripe_cursor (name, created_s) VALUES ('events', ?)
  ON CONFLICT (name) DO UPDATE SET created_s = excluded.created_s`;

export function createReadings({ database }: LedgerParts): Readings {
  const run = async (sql: string, ...params: (string | number)[]): Promise<void> => {
    await database.batch([{ sql, params }]);
  };
  return {
    wantReading: (customer, nowMs) => run(WANT, customer, nowMs, nowMs),
    async dueReadings(nowMs, limit) {
      const [rows = []] = await database.batch([{ sql: DUE, params: [nowMs, limit] }]);
      return rows.map((row) => ({ customer: textOf(row, 'customer'), attempts: numberOf(row, 'attempts') }));
    },
    async nextReadingMs() {
      const [rows] = await database.batch([{ sql: NEXT, params: [] }]);
      return rows?.[0] === undefined ? undefined : numberOf(rows[0], 'due_at_ms');
    },
    readingDone: (customer, beganAtMs) => run(DONE, customer, beganAtMs),
    readingFailed: (customer, dueAtMs, error) =>
      run(FAILED, dueAtMs, error.slice(0, ERROR_CHARS_MAX), customer),
    async appliedEvents(ids) {
      const asked = ids.slice(0, IDS_MAX);
      if (asked.length === 0) return new Set();
      const sql = `SELECT id FROM webhook_events WHERE id IN (${asked.map(() => '?').join(', ')})`;
      const [rows = []] = await database.batch([{ sql, params: asked }]);
      return new Set(rows.map((row) => textOf(row, 'id')));
    },
    async eventCursor() {
      const [rows] = await database.batch([{ sql: READ_CURSOR, params: [] }]);
      return rows?.[0] === undefined ? undefined : numberOf(rows[0], 'created_s');
    },
    setEventCursor: (createdS) => run(SET_CURSOR, createdS),
  };
}
