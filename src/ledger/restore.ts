/** What a ledger knows of its own age, and what is done with one that was restored from a backup. */
import type { LedgerParts } from './create-ledger.ts';
import { numberOf, numberOrNull, textOf } from './rows.ts';

/** Which ledger this is, and how far it has sent: the number rises while events are sent, and never falls. */
export interface SentMark {
  readonly ledger: string;
  readonly sequence: number;
}
export interface Restored {
  readonly atMs: number;
  /** About when the backup was made: the time of its latest event; null where it had none. */
  readonly backupAtMs: number | null;
}

export interface Restoring {
  /** The mark; the first time with the id that is given. */
  sentMark(newLedger: string): Promise<SentMark>;
  /** Raises the mark by one, or beyond what is given. */
  raiseSentMark(beyond?: number): Promise<SentMark>;
  /** The latest restoration, finished or not. */
  restoration(): Promise<(Restored & { readonly isFinished: boolean }) | null>;
  /**
   * Begins: whatever was open is closed without usage, since the process that went on after the backup settled it under
   * its own count. Answers how many calls those were. Repeated until `finishRestoring`.
   */
  beginRestoring(nowMs: number): Promise<number>;
  /** Ends: what may have been sent to Stripe since the backup is quarantined. Answers how many events those were. */
  finishRestoring(nowMs: number): Promise<number>;
}

const SENT = 'sent';
const PUT_MARK = `
  INSERT INTO ledger_marks (name, ledger, sequence) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING`;
const READ_MARK = `SELECT ledger, sequence FROM ledger_marks WHERE name = ?`;
const RAISE_MARK = `
  UPDATE ledger_marks SET sequence = CASE WHEN sequence > ? THEN sequence ELSE ? END + 1 WHERE name = ?`;

/** One row while a restoration is under way, and one of the latest that was finished. */
const UNDER_WAY = 'restoring';
const FINISHED = 'restored';
const BEGIN = `
  INSERT INTO ledger_marks (name, ledger, sequence, restored_at_ms, backup_at_ms)
  SELECT ?, '', 0, CAST(? AS BIGINT), (SELECT MAX(timestamp_ms) FROM meter_events)
  WHERE NOT EXISTS (SELECT 1 FROM ledger_marks WHERE name = ?)`;
const CLOSE_OPEN = `
  UPDATE calls SET ended_at_ms = ?, outcome = 'recovered', usage_source = 'none', usage_json = '[]', cost_pico = 0,
    lines_json = '[]', line_count = 0, tokens = 0, sealed = 1, checkpoint_json = NULL
  WHERE ended_at_ms IS NULL RETURNING id`;
const QUARANTINE_UNSENT = `
  UPDATE meter_events SET state = 'quarantined', unsure = 1, not_before_ms = ?, last_error = ?,
    attempts = CASE WHEN attempts = 0 THEN 1 ELSE attempts END,
    first_attempt_at_ms = COALESCE(first_attempt_at_ms, CAST(? AS BIGINT))
  WHERE (state = 'pending' OR state = 'sending' OR state = 'ambiguous')
    AND destination IN ('dimensions', 'per_type', 'cost') RETURNING identifier`;
const FORGET = `DELETE FROM ledger_marks WHERE name = ?`;
const RENAME = `UPDATE ledger_marks SET name = ? WHERE name = ?`;
const READ_RESTORED = `
  SELECT name, restored_at_ms, backup_at_ms FROM ledger_marks WHERE name IN (?, ?) ORDER BY restored_at_ms DESC LIMIT 1`;

const WHY =
  'The ledger was restored from a backup: this may have been sent since. To do: nothing, reconciliation decides; or ' +
  "compare with Stripe's usage, then `faregate events resolve --delivered` or `--lost`.";

export function createRestoring({ database }: LedgerParts): Restoring {
  const read = async (): Promise<SentMark> => {
    const [rows] = await database.batch([{ sql: READ_MARK, params: [SENT] }]);
    const row = rows?.[0];
    if (row === undefined) throw new Error('The ledger has no mark of what it sent.');
    return { ledger: textOf(row, 'ledger'), sequence: numberOf(row, 'sequence') };
  };
  return {
    async sentMark(newLedger) {
      await database.batch([{ sql: PUT_MARK, params: [SENT, newLedger] }]);
      return read();
    },
    async raiseSentMark(beyond = 0) {
      await database.batch([{ sql: RAISE_MARK, params: [beyond, beyond, SENT] }]);
      return read();
    },
    async restoration() {
      const [rows] = await database.batch([{ sql: READ_RESTORED, params: [UNDER_WAY, FINISHED] }]);
      const row = rows?.[0];
      if (row === undefined) return null;
      const isFinished = textOf(row, 'name') === FINISHED;
      return {
        atMs: numberOf(row, 'restored_at_ms'),
        backupAtMs: numberOrNull(row, 'backup_at_ms'),
        isFinished,
      };
    },
    async beginRestoring(nowMs) {
      const [, closed = []] = await database.batch([
        { sql: BEGIN, params: [UNDER_WAY, nowMs, UNDER_WAY] },
        { sql: CLOSE_OPEN, params: [nowMs] },
      ]);
      return closed.length;
    },
    async finishRestoring(nowMs) {
      const [parked = []] = await database.batch([
        { sql: QUARANTINE_UNSENT, params: [nowMs, WHY, nowMs] },
        { sql: FORGET, params: [FINISHED] },
        { sql: RENAME, params: [FINISHED, UNDER_WAY] },
      ]);
      return parked.length;
    },
  };
}
