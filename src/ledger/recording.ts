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
   * record, and stays as it is.
   */
  record(event: MeterEvent): Promise<Recorded>;
}

const INSERT_EVENT = `
  INSERT INTO meter_events (identifier, destination, event_name, customer, model, token_type, value, timestamp_ms,
    state, attempts, unsure, not_before_ms)
  VALUES (?, 'dimensions', ?, ?, '', '', CAST(? AS BIGINT), ?, 'pending', 0, 0, 0)
  ON CONFLICT (identifier) DO NOTHING RETURNING identifier`;
const READ_EVENT = `
  SELECT CAST(value AS TEXT) AS value, timestamp_ms FROM meter_events WHERE identifier = ?`;

export function createRecording({ database }: LedgerParts): Recording {
  return {
    async record({ identifier, eventName, customer, value, timestampMs }) {
      const [made = [], found = []] = await database.batch([
        { sql: INSERT_EVENT, params: [identifier, eventName, customer, value, timestampMs] },
        { sql: READ_EVENT, params: [identifier] },
      ]);
      const row = found[0];
      if (row === undefined) throw new Error(`The event ${identifier} was neither written nor there.`);
      const kind = made.length === 1 ? 'recorded' : 'already';
      return { kind, value: textOf(row, 'value'), timestampMs: numberOf(row, 'timestamp_ms') };
    },
  };
}
