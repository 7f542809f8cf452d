/** Responses that providers keep: whose they are, and those whose making is waited for. */
import { recovered } from './calls.ts';
import type { DueResponse, StoredResponse, StoredResponses } from './background-port.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { Row } from './ledger.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';

/** The id by which the customer, and the poll, will ask. */
const NAME_RESPONSE = `UPDATE calls SET response_id = ? WHERE id = ? AND ended_at_ms IS NULL`;

/** Waits for a call that is still open; of two moments to look first, the earlier. */
const OPEN_BACKGROUND = `
  INSERT INTO background_responses (call, attempt, input_tokens, plan, due_at_ms)
  SELECT id, ?, ?, ?, ? FROM calls WHERE id = ? AND ended_at_ms IS NULL
  ON CONFLICT (call) DO UPDATE SET due_at_ms = excluded.due_at_ms
    WHERE excluded.due_at_ms < background_responses.due_at_ms`;

const COLUMNS = `c.id AS call, c.customer, c.key_id, c.provider, c.model, c.stream, c.opened_at_ms, c.ended_at_ms,
  c.response_id, b.attempt, b.input_tokens, b.plan, b.due_at_ms, b.misses`;

/** Spelled as the index of response ids is, or it would not be used. */
const READ_STORED = `
  SELECT ${COLUMNS} FROM calls c LEFT JOIN background_responses b ON b.call = c.id
  WHERE c.endpoint = 'responses' AND c.response_id IS NOT NULL AND c.response_id = ? AND c.customer = ?
  ORDER BY c.id DESC LIMIT 1`;

const READ_NEXT = `SELECT MIN(due_at_ms) AS due_at_ms FROM background_responses`;

const READ_DUE = `
  SELECT ${COLUMNS} FROM background_responses b JOIN calls c ON c.id = b.call
  WHERE b.due_at_ms <= ? ORDER BY b.due_at_ms, b.call LIMIT CAST(? AS BIGINT)`;

/** Won by one of several that saw it due. */
const PUT_OFF = `UPDATE background_responses SET due_at_ms = ? WHERE call = ? AND due_at_ms = ? RETURNING call`;
const COUNT_MISSES = `UPDATE background_responses SET misses = ? WHERE call = ?`;
const CLOSE_BACKGROUND = `DELETE FROM background_responses WHERE call = ?`;
const READ_EVIDENCE = `SELECT id, checkpoint_json, response_id FROM calls WHERE id = ?`;

export function createBackground({ database }: LedgerParts): StoredResponses {
  return {
    async openBackground({ call, responseId, attempt, inputTokens, plan, dueAtMs }) {
      await database.batch([
        { sql: NAME_RESPONSE, params: [responseId, call] },
        { sql: OPEN_BACKGROUND, params: [attempt, inputTokens, plan, dueAtMs, call] },
      ]);
    },
    async storedResponse(customer, responseId) {
      const [rows = []] = await database.batch([{ sql: READ_STORED, params: [responseId, customer] }]);
      return rows[0] === undefined ? undefined : storedOf(rows[0]);
    },
    async nextBackground() {
      const [rows = []] = await database.batch([{ sql: READ_NEXT, params: [] }]);
      return rows[0] === undefined ? undefined : (numberOrNull(rows[0], 'due_at_ms') ?? undefined);
    },
    async dueBackground(nowMs, limit) {
      const [rows = []] = await database.batch([{ sql: READ_DUE, params: [nowMs, limit] }]);
      return rows.map(dueOf);
    },
    async putOffBackground({ call, dueAtMs }, untilMs) {
      const [won = []] = await database.batch([{ sql: PUT_OFF, params: [untilMs, call, dueAtMs] }]);
      return won.length === 1;
    },
    async missBackground(call, misses) {
      await database.batch([{ sql: COUNT_MISSES, params: [misses, call] }]);
    },
    async closeBackground(call) {
      await database.batch([{ sql: CLOSE_BACKGROUND, params: [call] }]);
    },
    async lostBackground(call, nowMs) {
      const [rows = []] = await database.batch([{ sql: READ_EVIDENCE, params: [call] }]);
      if (rows[0] === undefined) throw new Error(`Call ${call} is not on record.`);
      return { ...recovered(rows[0], nowMs), responseId: textOf(rows[0], 'response_id') };
    },
  };
}

function storedOf(row: Row): StoredResponse {
  const isOpen = row['ended_at_ms'] === null && row['attempt'] !== null;
  return {
    call: textOf(row, 'call'),
    customer: textOf(row, 'customer'),
    keyId: textOf(row, 'key_id'),
    provider: textOf(row, 'provider'),
    model: textOf(row, 'model'),
    stream: numberOf(row, 'stream') === 1,
    openedAtMs: numberOf(row, 'opened_at_ms'),
    responseId: textOf(row, 'response_id'),
    background: isOpen
      ? {
          attempt: numberOf(row, 'attempt'),
          inputTokens: numberOf(row, 'input_tokens'),
          plan: textOrNull(row, 'plan'),
        }
      : undefined,
  };
}

const dueOf = (row: Row): DueResponse => ({
  ...storedOf(row),
  dueAtMs: numberOf(row, 'due_at_ms'),
  misses: numberOf(row, 'misses'),
});
