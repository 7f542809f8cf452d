/** Whether a call may be made: said, and recorded, in one step. */
import type { Guard } from './accounts-port.ts';
import type { LedgerParts } from './create-ledger.ts';
import {
  balanceIn,
  moneyOf,
  openGuarded,
  readBalance,
  readMoney,
  readOver,
  readStanding,
  type Standing,
  standingOf,
  UNGUARDED,
} from './guarded.ts';
import type { Admission, CallToOpen, Row, Statement } from './ledger.ts';
import { textOf } from './rows.ts';

/** A block that is lifted between the refusal and the reading of its reason means another try; twice is a bug. */
const ADMIT_TRIES = 3;

/** Opens a call unless something blocks its customer or his money is watched. Repeats of the same id change nothing. */
const OPEN_CALL = `
  INSERT INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by)
  SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE customer = ?) AND ${UNGUARDED}
  ON CONFLICT (id) DO NOTHING`;

/**
 * Whether the statement before changed a row. On the request path it stands in for RETURNING, which makes SQLite build a
 * table for its one row: 5 of the 19 us that a call's record takes. An engine that has no changes() gets a variant.
 */
export const CHANGED = { sql: `SELECT changes() AS changed`, params: [] } satisfies Statement;
export const hasChanged = (rows: readonly Row[] | undefined): boolean => rows?.[0]?.['changed'] === 1;

/** Why a call was not opened. Asked only then: on the way of every call it would cost a tenth of the whole record. */
const READ_BLOCKS = `SELECT code, source FROM blocks WHERE customer = ? ORDER BY code DESC, source LIMIT 1`;

/** Which customer a call is on record for, and whether it is open: to tell a repeat from a mistake. */
export const READ_CALL = `SELECT customer, ended_at_ms FROM calls WHERE id = ?`;

/** Without a guard a call is opened only where nobody watches the customer's money, or the key's. */
export async function admit(parts: LedgerParts, call: CallToOpen, guard?: Guard): Promise<Admission> {
  const { id, customer, openedAtMs } = call;
  const nowMs = guard?.nowMs ?? openedAtMs;
  const opening =
    guard === undefined ? [openUnguarded(call, parts.bootId), CHANGED] : openingGuarded(call, guard, parts);
  for (let left = ADMIT_TRIES; left > 0; left -= 1) {
    const [, opened, told, over] = await parts.database.batch(opening);
    if (hasChanged(opened)) return admitted(guard, told, over?.[0]);
    const [blocks, onRecord, ...standing] = await parts.database.batch([
      { sql: READ_BLOCKS, params: [customer] },
      { sql: READ_CALL, params: [id] },
      ...readStanding(call, nowMs),
    ]);
    if (onRecord?.[0] !== undefined) return repeated(call, onRecord[0]);
    if (blocks?.[0] !== undefined) return refusal(blocks[0]);
    const judged = judge(standingOf(standing, nowMs), guard);
    if (judged !== undefined) return judged;
  }
  throw new Error(`Call ${id} was refused ${ADMIT_TRIES} times, with no reason on record.`);
}

function openingGuarded(call: CallToOpen, guard: Guard, { bootId }: LedgerParts): Statement[] {
  const opening = [openGuarded(call, guard, bootId), CHANGED];
  if (guard.observe) return [...opening, readMoney(call.customer, guard.nowMs), readOver(call.id)];
  if (guard.tells === 'nothing') return opening;
  const read = guard.tells === 'balance' ? readBalance : readMoney;
  return [...opening, read(call.customer, guard.nowMs)];
}

function admitted(
  guard: Guard | undefined,
  told: readonly Row[] | undefined,
  over: Row | undefined,
): Admission {
  if (guard === undefined || (guard.tells === 'nothing' && !guard.observe)) return { kind: 'admitted' };
  if (guard.tells === 'balance' && !guard.observe)
    return { kind: 'admitted', balancePico: balanceIn(told) ?? '0' };
  return { kind: 'admitted', money: moneyOf(told?.[0], [], guard.nowMs), over: over?.['over'] === 1 };
}

function openUnguarded(call: CallToOpen, bootId: string): Statement {
  const { id, customer, keyId, endpoint, provider, model, openedAtMs } = call;
  const row = [id, customer, keyId, endpoint, provider, model, call.stream ? 1 : 0, openedAtMs, bootId];
  return { sql: OPEN_CALL, params: [...row, customer, customer, keyId] };
}

/** Why nothing was opened; undefined when it would be by now. */
function judge({ account, money }: Standing, guard: Guard | undefined): Admission | undefined {
  const hasBudgets = money.budgets.length > 0;
  if (guard === undefined)
    return account === null && !hasBudgets ? undefined : { kind: 'guarded', account, hasBudgets };
  const isOutdated = (account?.version ?? 0) !== guard.version || (guard.hasBudgets === false && hasBudgets);
  return isOutdated ? { kind: 'guarded', account, hasBudgets } : { kind: 'short', account, money };
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
