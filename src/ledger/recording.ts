/** Units that are no tokens of a call: one event each, sealed from the first, delivered like any other. */
import type { LedgerParts } from './create-ledger.ts';
import type { MeterEvent } from './ledger.ts';
import { numberOf, textOf } from './rows.ts';

export interface Recorded {
  readonly kind: 'recorded' | 'already';
  /** As it is on record. */
  readonly value: string;
  readonly timestampMs: number;
}

export interface Recording {
  /**
   * Writes an event that no call made; its model and token type are empty. `already`: one with this identifier is on
   * record, be it under a newer name, or was before retention deleted it; it stays as it is.
   */
  record(event: MeterEvent): Promise<Recorded>;
}

/** Sent again under a new identifier, an event has `_r` added: so often at most before Stripe's 100 characters are full. */
const RENAMINGS = 14;
/** For `namesOf` one event, whatever it is named by now. */
export const ANY_NAME = `(${Array.from({ length: RENAMINGS + 1 }, () => '?').join(', ')})`;
const INSERT_EVENT = `
  INSERT INTO meter_events (identifier, destination, event_name, customer, model, token_type, value, timestamp_ms,
    state, attempts, unsure, not_before_ms)
  SELECT ?, 'dimensions', ?, ?, '', '', CAST(? AS BIGINT), CAST(? AS BIGINT), 'pending', 0, 0, 0
  WHERE NOT EXISTS (SELECT 1 FROM meter_events WHERE identifier IN ${ANY_NAME})
    AND NOT EXISTS (SELECT 1 FROM imports WHERE identifier = ?)
  ON CONFLICT (identifier) DO NOTHING RETURNING identifier`;
const READ_EVENT = `
  SELECT CAST(value AS TEXT) AS value, timestamp_ms FROM meter_events WHERE identifier IN ${ANY_NAME}`;
const READ_KEPT = `SELECT content_hash AS value, imported_at_ms AS timestamp_ms FROM imports WHERE identifier = ?`;

/**
 * What is kept of a recorded unit when retention deletes its event, beside the records that were imported, which are
 * known for ever too: under the identifier it was recorded by, its value and its time.
 */
export const KEEP_UNIT = `
  INSERT INTO imports (identifier, content_hash, call, imported_by, imported_at_ms)
  SELECT SUBSTR(identifier, 1, ${'fg_rec_'.length + 64}), CAST(value AS TEXT), NULL, 'retention', timestamp_ms FROM meter_events
  WHERE identifier = ? AND identifier LIKE 'fg_rec_%'
  ON CONFLICT (identifier) DO NOTHING`;

export const namesOf = (identifier: string): readonly string[] =>
  Array.from({ length: RENAMINGS + 1 }, (_, times) => `${identifier}${'_r'.repeat(times)}`);

export function createRecording({ database }: LedgerParts): Recording {
  return {
    async record({ identifier, eventName, customer, value, timestampMs }) {
      const names = namesOf(identifier);
      const content = [identifier, eventName, customer, value, timestampMs];
      const [made = [], found = [], kept = []] = await database.batch([
        { sql: INSERT_EVENT, params: [...content, ...names, identifier] },
        { sql: READ_EVENT, params: names },
        { sql: READ_KEPT, params: [identifier] },
      ]);
      const row = found[0] ?? kept[0];
      if (row === undefined) throw new Error(`The event ${identifier} was neither written nor there.`);
      const kind = made.length === 1 ? 'recorded' : 'already';
      return { kind, value: textOf(row, 'value'), timestampMs: numberOf(row, 'timestamp_ms') };
    },
  };
}
