/** Takes in usage that no call of this ledger made: a record is written whole or not at all, and once. */
import type { Bulk, ImportRecord } from './bulk-port.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { Row, Statement } from './ledger.ts';
import { linesToJson } from './lines.ts';
import { ANY_NAME, namesOf } from './recording.ts';
import { textOf } from './rows.ts';

/** The record is this ledger's own, exported and come back; its event may have been sent under a new name since. */
const IS_OWN = `(EXISTS (SELECT 1 FROM calls WHERE id = ?)
  OR EXISTS (SELECT 1 FROM meter_events WHERE identifier IN ${ANY_NAME})
  OR EXISTS (SELECT 1 FROM meter_events WHERE identifier IN ${ANY_NAME}))`;
const CLAIM = `
  INSERT INTO imports (identifier, content_hash, call, imported_by, imported_at_ms)
  SELECT ?, ?, ?, ?, CAST(? AS BIGINT) WHERE NOT ${IS_OWN}
  ON CONFLICT (identifier) DO NOTHING RETURNING identifier`;
const READ_OWN = `SELECT 1 AS own WHERE ${IS_OWN}`;
const READ = `SELECT content_hash FROM imports WHERE identifier = ?`;
/** Only in the batch that claimed the identifier. */
const IS_OURS = `EXISTS (SELECT 1 FROM imports WHERE identifier = ? AND imported_by = ?)`;

const PUT_CALL = `
  INSERT INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by, ended_at_ms,
    outcome, status, usage_source, usage_json, cost_pico, lines_json, line_count, tokens, sealed)
  SELECT ?, ?, 'import', 'import', ?, ?, 0, ?, ?, ?, 'finished', 200, 'reported', ?, CAST(? AS BIGINT), ?, 1,
    CAST(? AS BIGINT), ? WHERE ${IS_OURS}`;
const PUT_LINE = `
  INSERT INTO lines (call, attempt, model, token_type, destination, tokens, pico, event)
  SELECT ?, 1, ?, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), ? WHERE ${IS_OURS}`;
const PUT_EVENT = `
  INSERT INTO meter_events (identifier, destination, event_name, customer, model, token_type, value, timestamp_ms, state,
    attempts, unsure, first_attempt_at_ms, not_before_ms, accepted_at_ms, last_error)
  SELECT ?, ?, ?, ?, ?, ?, CAST(? AS BIGINT), ?, ?, ?, ?, CAST(? AS BIGINT), ?, CAST(? AS BIGINT), ? WHERE ${IS_OURS}`;

export function createImport({ database, bootId, stamp }: LedgerParts): Pick<Bulk, 'importRecord'> {
  return {
    async importRecord(record, { nowMs, dryRun }) {
      const { identifier, contentHash, usage } = record;
      const own = [record.origin.call, ...namesOf(record.origin.event), ...namesOf(identifier)];
      if (dryRun) {
        const [found = [], owned = []] = await database.batch([
          { sql: READ, params: [identifier] },
          { sql: READ_OWN, params: own },
        ]);
        return outcomeOf(found, contentHash) ?? (owned.length > 0 ? 'already' : 'imported');
      }
      const by = stamp();
      const ours = [identifier, by];
      const claim = [identifier, contentHash, usage?.call ?? null, by, nowMs, ...own];
      const answers = await database.batch([
        { sql: CLAIM, params: claim },
        { sql: READ, params: [identifier] },
        ...callOf(record, bootId, ours),
        ...eventOf(record, ours, nowMs),
      ]);
      if (answers[0]?.length === 1) return 'imported';
      return outcomeOf(answers[1] ?? [], contentHash) ?? 'already';
    },
  };
}

function outcomeOf(found: readonly Row[], contentHash: string): 'already' | 'differs' | undefined {
  const row = found[0];
  if (row === undefined) return undefined;
  return textOf(row, 'content_hash') === contentHash ? 'already' : 'differs';
}

function callOf(
  { customer, timestampMs, value, usage, event }: ImportRecord,
  bootId: string,
  ours: readonly string[],
): Statement[] {
  if (usage === null) return [];
  const { call, provider, model, tokenType, usageJson, costPico } = usage;
  const lines = linesToJson([{ attempt: 1, model, tokenType, tokens: Number(value) }]);
  const times = [timestampMs, bootId, timestampMs];
  const sealed = event === null ? 0 : 1;
  const params = [
    call,
    customer,
    provider,
    model,
    ...times,
    usageJson,
    costPico,
    lines,
    value,
    sealed,
    ...ours,
  ];
  return [{ sql: PUT_CALL, params }];
}

function eventOf(
  { customer, timestampMs, value, usage, event }: ImportRecord,
  ours: readonly string[],
  nowMs: number,
): Statement[] {
  if (event === null) return [];
  const { identifier, destination, eventName, state } = event;
  const isCost = destination === 'cost';
  const [model, tokenType] = [isCost ? '' : (usage?.model ?? ''), isCost ? 'cost' : (usage?.tokenType ?? '')];
  const isTaken = state === 'accepted' || state === 'confirmed';
  const isTried = state !== 'pending' && state !== 'cancelled' && state !== 'expired';
  const params = [
    identifier,
    destination,
    eventName,
    customer,
    model,
    tokenType,
    event.value,
    timestampMs,
    state,
    isTried ? 1 : 0,
    state === 'quarantined' ? 1 : 0,
    isTried ? timestampMs : null,
    state === 'quarantined' ? nowMs : 0,
    isTaken ? timestampMs : null,
    isTaken ? null : IMPORTED,
    ...ours,
  ];
  if (usage === null) return [{ sql: PUT_EVENT, params }];
  // In the cost layout a line carries the whole units that its event bills, so that nothing is left to carry on.
  const pico = isCost ? String(BigInt(event.value) * 1_000_000n) : null;
  const line = [usage.call, usage.model, usage.tokenType, destination, value, pico, identifier, ...ours];
  return [
    { sql: PUT_EVENT, params },
    { sql: PUT_LINE, params: line },
  ];
}

const IMPORTED = 'Imported in this state.';
