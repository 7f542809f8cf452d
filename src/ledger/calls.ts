/** The life of a call: admitted, checkpointed, settled once, or recovered after a crash. */
import type { LedgerParts } from './create-ledger.ts';
import type {
  Admission,
  CallToOpen,
  CallToSettle,
  CallView,
  Checkpoint,
  Ledger,
  Row,
  Statement,
} from './ledger.ts';
import { linesFromJson, linesToJson, tokensOf } from './lines.ts';
import { textOf, textOrNull } from './rows.ts';

/** Recovered calls closed in one batch: bounds the batch after a crash with many calls open. */
const RECOVERED_PER_BATCH = 200;

/** A block that is lifted between the refusal and the reading of its reason means another try; twice is a bug. */
const ADMIT_TRIES = 3;

/** Opens a call unless something blocks its customer. Repeats of the same id change nothing. */
const OPEN_CALL = `
  INSERT INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by)
  SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE customer = ?)
  ON CONFLICT (id) DO NOTHING`;

/**
 * Whether the statement before changed a row. On the request path it stands in for RETURNING, which makes SQLite build a
 * table for its one row: 5 of the 19 us that a call's record takes. An engine that has no changes() gets a variant.
 */
const CHANGED = { sql: `SELECT changes() AS changed`, params: [] } satisfies Statement;
const hasChanged = (rows: readonly Row[] | undefined): boolean => rows?.[0]?.['changed'] === 1;

/** Why a call was not opened. Asked only then: on the way of every call it would cost a tenth of the whole record. */
const READ_BLOCKS = `SELECT code, source FROM blocks WHERE customer = ? ORDER BY code DESC, source LIMIT 1`;

/** Which customer a call is on record for, and whether it is open: to tell a repeat from a mistake. */
const READ_CALL = `SELECT customer, ended_at_ms FROM calls WHERE id = ?`;

/** Replaces the evidence of a call that is still open. */
const CHECKPOINT_CALL = `UPDATE calls SET checkpoint_json = ? WHERE id = ? AND ended_at_ms IS NULL`;

/** Closes a call. Wins once: the guard is the open state, and on Postgres the row lock makes a second one wait and lose. */
const SETTLE_CALL = `
  UPDATE calls SET ended_at_ms = ?, outcome = ?, status = ?, usage_source = ?, usage_json = ?,
    cost_pico = CAST(? AS BIGINT), response_id = ?, lines_json = ?, line_count = ?, tokens = ?, sealed = ?,
    checkpoint_json = NULL
  WHERE id = ? AND ended_at_ms IS NULL`;

/** The same for many calls in one batch: says which were closed. */
const SETTLE_RETURNING = `${SETTLE_CALL} RETURNING id`;

/**
 * Calls that other boots left open, with their evidence, in the order of the index of open calls. What goes on as a
 * response in the background goes on being waited for.
 */
const READ_ABANDONED = `
  SELECT id, checkpoint_json FROM calls
  WHERE ended_at_ms IS NULL AND opened_by <> ? AND opened_at_ms < ?
    AND NOT EXISTS (SELECT 1 FROM background_responses b WHERE b.call = calls.id)
  ORDER BY customer, id LIMIT ?`;

/**
 * Ends the leases of a process that is gone: nobody will answer for them, so their events are due. They stay `sending`,
 * which tells the next lease that an attempt's end is unknown.
 */
const END_LEASES = `UPDATE meter_events SET not_before_ms = ? WHERE state = 'sending' AND not_before_ms > ?`;

/** Nobody reads the streams of a process that is gone: what went on in the background is looked at now. */
const LOOK_NOW = `UPDATE background_responses SET due_at_ms = ? WHERE due_at_ms > ?`;

export function createCalls(
  parts: LedgerParts,
  views: Pick<Ledger, 'calls'>,
): Pick<Ledger, 'admit' | 'checkpoint' | 'settle' | 'recover'> {
  const { database } = parts;
  return {
    admit: (call) => admit(parts, call),
    async checkpoint(checkpoint) {
      await database.batch([{ sql: CHECKPOINT_CALL, params: [evidenceToJson(checkpoint), checkpoint.id] }]);
    },
    async settle(call) {
      const [, won] = await database.batch([settlement(call, SETTLE_CALL), CHANGED]);
      if (hasChanged(won)) return 'settled';
      const [onRecord] = await database.batch([{ sql: READ_CALL, params: [call.id] }]);
      if (onRecord?.length !== 1)
        throw new Error(`Call ${call.id} cannot be settled: it was never admitted.`);
      return 'already';
    },
    async recover({ nowMs, openedBeforeMs }) {
      if (openedBeforeMs === undefined)
        await database.batch([
          { sql: END_LEASES, params: [nowMs, nowMs] },
          { sql: LOOK_NOW, params: [nowMs, nowMs] },
        ]);
      return recover(parts, views, { nowMs, openedBeforeMs: openedBeforeMs ?? Number.MAX_SAFE_INTEGER });
    },
  };
}

async function admit({ database, bootId }: LedgerParts, call: CallToOpen): Promise<Admission> {
  const { id, customer, keyId, endpoint, provider, model, openedAtMs } = call;
  const stream = call.stream ? 1 : 0;
  const params = [id, customer, keyId, endpoint, provider, model, stream, openedAtMs, bootId, customer];
  for (let left = ADMIT_TRIES; left > 0; left -= 1) {
    const [, opened] = await database.batch([{ sql: OPEN_CALL, params }, CHANGED]);
    if (hasChanged(opened)) return { kind: 'admitted' };
    const [blocks, onRecord] = await database.batch([
      { sql: READ_BLOCKS, params: [customer] },
      { sql: READ_CALL, params: [id] },
    ]);
    if (onRecord?.[0] !== undefined) return repeated(call, onRecord[0]);
    if (blocks?.[0] !== undefined) return refusal(blocks[0]);
  }
  throw new Error(`Call ${id} was refused ${ADMIT_TRIES} times, with no reason on record.`);
}

/** The same call given again, as after an answer that was lost on its way, is open already. */
function repeated({ id, customer }: CallToOpen, onRecord: Row): Admission {
  if (textOf(onRecord, 'customer') !== customer || onRecord['ended_at_ms'] !== null)
    throw new Error(`Call ${id} cannot be admitted: its id is already taken.`);
  return { kind: 'admitted' };
}

function refusal(block: Row): Admission {
  const code = textOf(block, 'code');
  if (code === 'missing') return { kind: 'missing' };
  if (code !== 'alert_triggered') throw new Error(`Unknown block: ${code}.`);
  return { kind: 'blocked', block: { code, source: textOf(block, 'source') } };
}

function settlement(call: CallToSettle, sql: string): Statement {
  const { id, endedAtMs, outcome, status, usageSource, usageJson, costPico, responseId, lines } = call;
  const sealed = lines.length === 0 ? 1 : 0;
  const usage = [linesToJson(lines), lines.length, tokensOf(lines), sealed];
  return {
    sql,
    params: [endedAtMs, outcome, status, usageSource, usageJson, costPico, responseId, ...usage, id],
  };
}

async function recover(
  { database, bootId }: LedgerParts,
  views: Pick<Ledger, 'calls'>,
  { nowMs, openedBeforeMs }: { nowMs: number; openedBeforeMs: number },
): Promise<readonly CallView[]> {
  const closed: string[] = [];
  for (;;) {
    const [abandoned = []] = await database.batch([
      { sql: READ_ABANDONED, params: [bootId, openedBeforeMs, RECOVERED_PER_BATCH] },
    ]);
    if (abandoned.length === 0) break;
    const won = await database.batch(
      abandoned.map((row) => settlement(recovered(row, nowMs), SETTLE_RETURNING)),
    );
    closed.push(...won.flat().map((row) => textOf(row, 'id')));
  }
  const pages = await Promise.all(closed.map((id) => views.calls({ id, limit: 1 })));
  return pages.flatMap((page) => page.data);
}

/** The ending of an abandoned call: what the evidence shows was served, and no more. */
export function recovered(row: Row, nowMs: number): CallToSettle {
  const { lines, usageJson, costPico } = evidenceFromJson(textOrNull(row, 'checkpoint_json'));
  return {
    id: textOf(row, 'id'),
    endedAtMs: nowMs,
    outcome: 'recovered',
    status: null,
    usageSource: lines.length > 0 ? 'estimated' : 'none',
    lines,
    usageJson,
    costPico,
    responseId: null,
  };
}

type Evidence = Omit<Checkpoint, 'id'>;

const evidenceToJson = ({ lines, usageJson, costPico }: Evidence): string =>
  JSON.stringify({ lines: linesToJson(lines), usageJson, costPico });

/** Reads what `evidenceToJson` wrote. Without evidence nothing was served, as far as anyone can show, and it costs nothing. */
function evidenceFromJson(json: string | null): Evidence {
  if (json === null) return { lines: [], usageJson: '[]', costPico: '0' };
  const { lines, usageJson, costPico } = JSON.parse(json) as Omit<Evidence, 'lines'> & { lines: string };
  return { lines: linesFromJson(lines), usageJson, costPico };
}
