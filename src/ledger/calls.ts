/** The life of a call: admitted, checkpointed, settled once, or recovered after a crash. */
import type { LedgerParts } from './create-ledger.ts';
import type { CallToSettle, CallView, Checkpoint, Ledger, Row, Settlement, Statement } from './ledger.ts';
import { admit, CHANGED, hasChanged, READ_CALL } from './admission.ts';
import { balanceIn, counting, readBalance, SHRINK_HOLD } from './guarded.ts';
import { linesFromJson, linesToJson, tokensOf } from './lines.ts';
import { numberOf, textOf, textOrNull } from './rows.ts';

/** Recovered calls closed in one batch: bounds the batch after a crash with many calls open. */
const RECOVERED_PER_BATCH = 200;

/** Replaces the evidence of a call that is still open. */
const CHECKPOINT_CALL = `UPDATE calls SET checkpoint_json = ? WHERE id = ? AND ended_at_ms IS NULL`;

/** Closes a call. Wins once: the guard is the open state, and on Postgres the row lock makes a second one wait and lose. */
const SETTLE_CALL = `
  UPDATE calls SET ended_at_ms = ?, outcome = ?, status = ?, usage_source = ?, usage_json = ?,
    cost_pico = CAST(? AS BIGINT), response_id = ?, lines_json = ?, line_count = ?, tokens = ?, sealed = ?,
    checkpoint_json = NULL, price_version = ?
  WHERE id = ? AND ended_at_ms IS NULL`;

/** The same of a call that is not guarded: nothing needs counting. */
const SETTLE_UNGUARDED = `${SETTLE_CALL} AND hold_pico IS NULL`;

/** The same for many calls in one batch: says which were closed. */
const SETTLE_RETURNING = `${SETTLE_CALL} RETURNING id`;

/**
 * Calls that other boots left open, with their evidence, in the order of the index of open calls. What goes on as a
 * response in the background goes on being waited for.
 */
const READ_ABANDONED = `
  SELECT id, checkpoint_json, CASE WHEN hold_pico IS NULL THEN 0 ELSE 1 END AS guarded FROM calls
  WHERE ended_at_ms IS NULL AND opened_by <> ? AND opened_at_ms < ?
    AND NOT EXISTS (SELECT 1 FROM background_responses b WHERE b.call = calls.id)
  ORDER BY customer, id LIMIT CAST(? AS BIGINT)`;

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
): Pick<Ledger, 'admit' | 'checkpoint' | 'settle' | 'recover' | 'shrinkHold'> {
  const { database } = parts;
  return {
    admit: (call, guard) => admit(parts, call, guard),
    async checkpoint(checkpoint) {
      await database.batch([{ sql: CHECKPOINT_CALL, params: [evidenceToJson(checkpoint), checkpoint.id] }]);
    },
    async settle(call) {
      if (call.heldBy !== undefined) return settleGuarded(parts, call);
      const [, won] = await database.batch([settlement(parts, call, SETTLE_UNGUARDED), CHANGED]);
      return hasChanged(won) ? { kind: 'settled' } : settleGuarded(parts, call);
    },
    async shrinkHold({ id }, holdPico) {
      await database.batch([{ sql: SHRINK_HOLD, params: [holdPico, id, holdPico] }]);
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

/** Counts the call against its customer's money and closes it, in one step. */
async function settleGuarded(parts: LedgerParts, call: CallToSettle): Promise<Settlement> {
  const { database } = parts;
  const counted = countingOf(call);
  const isTold = call.tellsBalance === true && call.heldBy !== undefined;
  const answers = await database.batch([
    ...counted,
    settlement(parts, call, SETTLE_CALL),
    CHANGED,
    ...(isTold ? [readBalance(call.heldBy.customer, call.endedAtMs)] : []),
  ]);
  const [won, told] = answers.slice(counted.length + 1);
  if (hasChanged(won)) return { kind: 'settled', balancePico: balanceIn(told) };
  const [onRecord] = await database.batch([{ sql: READ_CALL, params: [call.id] }]);
  if (onRecord?.length !== 1) throw new Error(`Call ${call.id} cannot be settled: it was never admitted.`);
  return { kind: 'already' };
}

const countingOf = ({ id, costPico, endedAtMs }: CallToSettle): Statement[] =>
  costPico === null || BigInt(costPico) <= 0n ? [] : counting(id, costPico, endedAtMs);

function settlement({ billsCosts }: LedgerParts, call: CallToSettle, sql: string): Statement {
  const { id, endedAtMs, outcome, status, usageSource, usageJson, costPico, responseId, lines } = call;
  const isToSeal = lines.length > 0 || (billsCosts && BigInt(costPico ?? '0') > 0n);
  const usage = [linesToJson(lines), lines.length, tokensOf(lines), isToSeal ? 0 : 1];
  return {
    sql,
    params: [
      endedAtMs,
      outcome,
      status,
      usageSource,
      usageJson,
      costPico,
      responseId,
      ...usage,
      call.priceVersion ?? null,
      id,
    ],
  };
}

async function recover(
  parts: LedgerParts,
  views: Pick<Ledger, 'calls'>,
  { nowMs, openedBeforeMs }: { nowMs: number; openedBeforeMs: number },
): Promise<readonly CallView[]> {
  const { database, bootId } = parts;
  const closed: string[] = [];
  for (;;) {
    const [abandoned = []] = await database.batch([
      { sql: READ_ABANDONED, params: [bootId, openedBeforeMs, RECOVERED_PER_BATCH] },
    ]);
    if (abandoned.length === 0) break;
    const won = await database.batch(abandoned.flatMap((row) => recovery(parts, row, nowMs)));
    closed.push(...won.flat().map((row) => textOf(row, 'id')));
  }
  const pages = await Promise.all(closed.map((id) => views.calls({ id, limit: 1 })));
  return pages.flatMap((page) => page.data);
}

/** A guarded call is counted as its evidence shows; its hold goes with it. */
function recovery(parts: LedgerParts, row: Row, nowMs: number): Statement[] {
  const call = recovered(row, nowMs);
  const isGuarded = numberOf(row, 'guarded') === 1;
  return [...(isGuarded ? countingOf(call) : []), settlement(parts, call, SETTLE_RETURNING)];
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
