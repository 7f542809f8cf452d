/** The queue of notices to the operator's webhook, and what was told last. */
import type { LedgerParts } from './create-ledger.ts';
import type { Statement } from './ledger.ts';
import { numberOf, textOf } from './rows.ts';

export interface Notice {
  /** Equal for a repeat: the receiver's key against doubles. */
  readonly id: string;
  readonly type: string;
  readonly customer: string;
  /** JSON, as it is sent. */
  readonly body: string;
}
export interface DueNotice extends Notice {
  /** Attempts before this one. */
  readonly attempts: number;
}
export interface NoticeLevel {
  readonly subject: string;
  readonly windowStartMs: number;
  readonly level: number;
  readonly seq: number;
}

export interface Notices {
  noticeLevels(customer: string): Promise<readonly NoticeLevel[]>;
  /** Queues notices and records the levels they tell, in one step. */
  addNotices(
    customer: string,
    news: { readonly notices: readonly Notice[]; readonly levels: readonly NoticeLevel[] },
    nowMs: number,
  ): Promise<void>;
  dueNotices(nowMs: number, limit: number): Promise<readonly DueNotice[]>;
  /** When the next is due; undefined when none waits. */
  nextNoticeMs(): Promise<number | undefined>;
  noticeDelivered(id: string, nowMs: number): Promise<void>;
  /** `dueAtMs` null: it is given up. */
  noticeFailed(id: string, dueAtMs: number | null, error: string): Promise<void>;
}

const NOTICE_ERROR_CHARS_MAX = 500;

const READ_LEVELS = `
  SELECT subject, window_start_ms, level, seq FROM notice_levels WHERE customer = ? ORDER BY subject LIMIT 1000`;
const PUT_LEVEL = `
  INSERT INTO notice_levels (customer, subject, window_start_ms, level, seq) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (customer, subject) DO UPDATE
    SET window_start_ms = excluded.window_start_ms, level = excluded.level, seq = excluded.seq`;
const ADD = `
  INSERT INTO notices (id, type, customer, body, created_at_ms, not_before_ms) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO NOTHING`;
const DUE = `
  SELECT id, type, customer, body, attempts FROM notices
  WHERE not_before_ms IS NOT NULL AND not_before_ms <= ? ORDER BY not_before_ms, id LIMIT CAST(? AS BIGINT)`;
const NEXT = `
  SELECT not_before_ms FROM notices WHERE not_before_ms IS NOT NULL ORDER BY not_before_ms LIMIT 1`;
const DELIVERED = `
  UPDATE notices SET attempts = attempts + 1, delivered_at_ms = ?, not_before_ms = NULL, last_error = NULL WHERE id = ?`;
const FAILED = `UPDATE notices SET attempts = attempts + 1, not_before_ms = ?, last_error = ? WHERE id = ?`;
/** What was delivered a week ago is not asked for any more. */
const FORGET = `DELETE FROM notices WHERE not_before_ms IS NULL AND created_at_ms < ?`;
const KEPT_MS = 604_800_000;

export function createNotices({ database }: LedgerParts): Notices {
  return {
    async noticeLevels(customer) {
      const [rows = []] = await database.batch([{ sql: READ_LEVELS, params: [customer] }]);
      return rows.map((row) => ({
        subject: textOf(row, 'subject'),
        windowStartMs: numberOf(row, 'window_start_ms'),
        level: numberOf(row, 'level'),
        seq: numberOf(row, 'seq'),
      }));
    },
    async addNotices(customer, { notices, levels }, nowMs) {
      const statements: Statement[] = [
        ...levels.map(({ subject, windowStartMs, level, seq }) => ({
          sql: PUT_LEVEL,
          params: [customer, subject, windowStartMs, level, seq],
        })),
        ...notices.map(({ id, type, body }) => ({
          sql: ADD,
          params: [id, type, customer, body, nowMs, nowMs],
        })),
        { sql: FORGET, params: [nowMs - KEPT_MS] },
      ];
      await database.batch(statements);
    },
    async dueNotices(nowMs, limit) {
      const [rows = []] = await database.batch([{ sql: DUE, params: [nowMs, limit] }]);
      return rows.map((row) => ({
        id: textOf(row, 'id'),
        type: textOf(row, 'type'),
        customer: textOf(row, 'customer'),
        body: textOf(row, 'body'),
        attempts: numberOf(row, 'attempts'),
      }));
    },
    async nextNoticeMs() {
      const [rows] = await database.batch([{ sql: NEXT, params: [] }]);
      return rows?.[0] === undefined ? undefined : numberOf(rows[0], 'not_before_ms');
    },
    async noticeDelivered(id, nowMs) {
      await database.batch([{ sql: DELIVERED, params: [nowMs, id] }]);
    },
    async noticeFailed(id, dueAtMs, error) {
      await database.batch([{ sql: FAILED, params: [dueAtMs, error.slice(0, NOTICE_ERROR_CHARS_MAX), id] }]);
    },
  };
}
