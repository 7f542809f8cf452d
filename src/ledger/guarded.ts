/**
 * Calls of customers whose money is watched: opened only where what they may cost fits, and counted when they settle.
 *
 * Opening is one statement: it sums what is left and what running calls hold, compares, and inserts the row that holds the
 * new call's share. The holds are the open rows themselves, so none can leak and none can be counted twice.
 */
import { READ_ACCOUNT, accountFrom, BURN_ORDER } from './accounts.ts';
import type { Account, Guard, Money } from './accounts-port.ts';
import { budgetFrom } from './budgets.ts';
import type { CallToOpen, Row, Statement } from './ledger.ts';
import { textOf } from './rows.ts';
import { windowOf } from './windows.ts';

const IN_EFFECT = (from: string, until: string): string =>
  `applies = 1 AND voided_at_ms IS NULL AND balance_pico > burned_pico
   AND effective_at_ms <= ${until} AND (expires_at_ms IS NULL OR expires_at_ms > ${from})`;
const CREDIT = (customer: string, at: string): string =>
  `COALESCE((SELECT SUM(balance_pico - burned_pico) FROM credit_grants
    WHERE customer = ${customer} AND ${IN_EFFECT(at, at)}), 0)`;
const OVERDRAWN = (customer: string): string =>
  `COALESCE((SELECT overdrawn_pico FROM accounts WHERE customer = ${customer}), 0)`;
const HELD = (column: 'customer' | 'key_id', value: string): string =>
  `COALESCE((SELECT SUM(hold_pico) FROM calls
    WHERE ${column} = ${value} AND ended_at_ms IS NULL AND hold_pico IS NOT NULL), 0)`;

/** What a budget's present window has spent; a window that is over has spent nothing. The starts are the statement's own. */
const BUDGET_SPENT = `CASE WHEN b.window_start_ms < CASE b.span WHEN 'day' THEN g.day_ms WHEN 'week' THEN g.week_ms
  WHEN 'month' THEN g.month_ms WHEN 'period' THEN g.period_ms ELSE 0 END THEN 0 ELSE b.spent_pico END`;

/** Opens a call if nothing blocks its customer, his account is still the one that was judged, and it fits (or is only watched). */
const OPEN_GUARDED = `
  WITH given AS (SELECT ? AS id, ? AS customer, ? AS key_id, CAST(? AS BIGINT) AS now_ms, CAST(? AS BIGINT) AS hold,
      CAST(? AS BIGINT) AS fit, CAST(? AS BIGINT) AS grace, CAST(? AS BIGINT) AS checked, CAST(? AS BIGINT) AS day_ms,
      CAST(? AS BIGINT) AS week_ms, CAST(? AS BIGINT) AS month_ms, CAST(? AS BIGINT) AS period_ms),
  room AS (
    SELECT ${CREDIT('g.customer', 'g.now_ms')} - ${OVERDRAWN('g.customer')} + g.grace
      - ${HELD('customer', 'g.customer')} AS free FROM given g WHERE g.checked = 1
    UNION ALL SELECT b.limit_pico - ${BUDGET_SPENT} - ${HELD('customer', 'g.customer')}
      FROM given g JOIN budgets b ON b.subject = g.customer AND b.scope = 'customer'
    UNION ALL SELECT b.limit_pico - ${BUDGET_SPENT} - ${HELD('key_id', 'g.key_id')}
      FROM given g JOIN budgets b ON b.subject = g.key_id AND b.scope = 'key'),
  verdict AS (SELECT CASE WHEN EXISTS (
      SELECT 1 FROM room, given WHERE free < fit OR (free <= 0 AND hold > 0)) THEN 1 ELSE 0 END AS over)
  INSERT INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by, hold_pico, over)
  SELECT g.id, g.customer, g.key_id, ?, ?, ?, ?, ?, ?, g.hold, v.over FROM given g, verdict v
  WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE blocks.customer = g.customer)
    AND COALESCE((SELECT version FROM accounts WHERE accounts.customer = g.customer), 0) = CAST(? AS BIGINT)
    AND (v.over = 0 OR CAST(? AS BIGINT) = 1)
  ON CONFLICT (id) DO NOTHING`;

/** A customer's money in three numbers. */
const READ_MONEY = `
  SELECT CAST(${CREDIT('g.customer', 'g.now_ms')} AS TEXT) AS credit,
    CAST(${OVERDRAWN('g.customer')} AS TEXT) AS overdrawn, CAST(${HELD('customer', 'g.customer')} AS TEXT) AS held
  FROM (SELECT ? AS customer, CAST(? AS BIGINT) AS now_ms) AS g`;
const READ_OVER = `SELECT COALESCE(over, 0) AS over FROM calls WHERE id = ?`;
/** The budgets that a call falls under, each with what running calls hold of it. */
const READ_BUDGETS = `
  SELECT b.id AS id, b.scope AS scope, b.subject AS subject, b.span AS span, CAST(b.limit_pico AS TEXT) AS limit_pico,
    b.window_start_ms AS window_start_ms, CAST(b.spent_pico AS TEXT) AS spent_pico, a.period_start_ms AS period_start_ms,
    a.period_end_ms AS period_end_ms, CAST(CASE b.scope WHEN 'key' THEN ${HELD('key_id', 'b.subject')}
      ELSE ${HELD('customer', 'b.subject')} END AS TEXT) AS held
  FROM budgets b LEFT JOIN accounts a ON b.scope = 'customer' AND a.customer = b.subject
  WHERE (b.subject = ? AND b.scope = 'customer') OR (b.subject = ? AND b.scope = 'key')`;

/** Whether a call is guarded cannot have been decided yet: it is for whoever has an account or a budget. */
export const UNGUARDED = `NOT EXISTS (SELECT 1 FROM accounts WHERE customer = ?)
  AND NOT EXISTS (SELECT 1 FROM budgets WHERE subject = ? AND scope = 'key')`;

/**
 * Shares a call's cost out among the grants in effect at any time from its opening to its end, in the order Stripe burns
 * them, and the rest to nobody: to '' once there was a grant, to '-' for who never had one and pays by invoice.
 */
const BURN = `
  WITH given AS (SELECT c.id AS call, c.customer AS owner, CAST(? AS BIGINT) AS cost, CAST(? AS BIGINT) AS until_ms,
      c.opened_at_ms AS from_ms, a.has_had_grant AS had
    FROM calls c JOIN accounts a ON a.customer = c.customer WHERE c.id = ? AND c.ended_at_ms IS NULL),
  buckets AS (
    SELECT id AS bucket, balance_pico - burned_pico AS remaining,
      SUM(balance_pico - burned_pico) OVER (ORDER BY ${BURN_ORDER} ROWS UNBOUNDED PRECEDING) AS through
    FROM credit_grants JOIN given ON customer = owner WHERE ${IN_EFFECT('from_ms', 'until_ms')}),
  parts AS (
    SELECT bucket, CASE WHEN through <= cost THEN remaining ELSE cost - (through - remaining) END AS pico
    FROM buckets, given WHERE through - remaining < cost
    UNION ALL
    SELECT CASE WHEN had = 1 THEN '' ELSE '-' END, cost - COALESCE((SELECT MAX(through) FROM buckets), 0) FROM given)
  INSERT INTO credit_burns (call, credit_grant, customer, pico, ended_at_ms)
  SELECT call, bucket, owner, pico, until_ms FROM parts, given WHERE pico > 0
  ON CONFLICT (call, credit_grant) DO NOTHING`;
const OPEN = `EXISTS (SELECT 1 FROM calls WHERE calls.id = ? AND calls.ended_at_ms IS NULL)`;
const COUNT_GRANTS = `
  UPDATE credit_grants SET burned_pico = burned_pico + (
      SELECT b.pico FROM credit_burns b WHERE b.call = ? AND b.credit_grant = credit_grants.id)
  WHERE id IN (SELECT b.credit_grant FROM credit_burns b WHERE b.call = ?) AND ${OPEN}`;
const COUNT_ACCOUNT = `
  UPDATE accounts SET unbilled_pico = unbilled_pico + CAST(? AS BIGINT), overdrawn_pico = overdrawn_pico
      + COALESCE((SELECT b.pico FROM credit_burns b WHERE b.call = ? AND b.credit_grant = ''), 0)
  WHERE customer = (SELECT customer FROM calls WHERE calls.id = ?) AND ${OPEN}`;

/** Counts a call in the window it ended in; a window that is over starts again from it. */
const START = `CASE span WHEN 'day' THEN CAST(? AS BIGINT) WHEN 'week' THEN CAST(? AS BIGINT)
  WHEN 'month' THEN CAST(? AS BIGINT) WHEN 'period' THEN COALESCE((
    SELECT CASE WHEN a.period_end_ms <= CAST(? AS BIGINT) THEN a.period_end_ms ELSE a.period_start_ms END
    FROM accounts a WHERE a.customer = budgets.subject), CAST(? AS BIGINT)) ELSE 0 END`;
const COUNT_BUDGETS = `
  UPDATE budgets SET
    spent_pico = CASE WHEN window_start_ms < ${START} THEN CAST(? AS BIGINT) ELSE spent_pico + CAST(? AS BIGINT) END,
    window_start_ms = CASE WHEN window_start_ms < ${START} THEN ${START} ELSE window_start_ms END
  WHERE ((scope = 'customer' AND subject = (SELECT customer FROM calls WHERE calls.id = ?))
      OR (scope = 'key' AND subject = (SELECT key_id FROM calls WHERE calls.id = ?))) AND ${OPEN}`;

/** Lowers a hold, once more is known of what the call can still cost. It never rises. */
export const SHRINK_HOLD = `
  UPDATE calls SET hold_pico = CAST(? AS BIGINT)
  WHERE id = ? AND ended_at_ms IS NULL AND hold_pico > CAST(? AS BIGINT)`;

/** Opens a guarded call: whether it did is told by the statement that must follow. */
export function openGuarded(call: CallToOpen, guard: Guard, bootId: string): Statement {
  const { id, customer, keyId, endpoint, provider, model, openedAtMs } = call;
  const { nowMs, period, version, holdPico, fitPico, gracePico, creditChecked, observe } = guard;
  const starts = (['day', 'week', 'month', 'period'] as const).map(
    (span) => windowOf(span, nowMs, period).startMs,
  );
  const given = [id, customer, keyId, nowMs, holdPico, fitPico, gracePico, creditChecked ? 1 : 0];
  const row = [endpoint, provider, model, call.stream ? 1 : 0, openedAtMs, bootId];
  return { sql: OPEN_GUARDED, params: [...given, ...starts, ...row, version, observe ? 1 : 0] };
}

/** Whether a call was opened although it did not fit. */
export const readOver = (id: string): Statement => ({ sql: READ_OVER, params: [id] });

export const readMoney = (customer: string, nowMs: number): Statement => ({
  sql: READ_MONEY,
  params: [customer, nowMs],
});

/** What a refused call is told by: account, money and budgets. */
export const readStanding = ({ customer, keyId }: CallToOpen, nowMs: number): Statement[] => [
  { sql: READ_ACCOUNT, params: [customer] },
  readMoney(customer, nowMs),
  { sql: READ_BUDGETS, params: [customer, keyId] },
];

export interface Standing {
  readonly account: Account | null;
  readonly money: Money;
}

export function standingOf(answers: readonly (readonly Row[])[], nowMs: number): Standing {
  const [account, money, budgets = []] = answers;
  return {
    account: account?.[0] === undefined ? null : accountFrom(account[0]),
    money: moneyOf(money?.[0], budgets, nowMs),
  };
}

export function moneyOf(row: Row | undefined, budgets: readonly Row[], nowMs: number): Money {
  if (row === undefined) throw new Error('A sum answered no row.');
  return {
    creditPico: textOf(row, 'credit'),
    overdrawnPico: textOf(row, 'overdrawn'),
    heldPico: textOf(row, 'held'),
    budgets: budgets.map((budget) => ({ ...budgetFrom(budget, nowMs), heldPico: textOf(budget, 'held') })),
  };
}

/** Counts a call that is about to be settled. Each statement asks whether it is still open, so that it counts once. */
export function counting(id: string, costPico: string, endedAtMs: number): Statement[] {
  const [day, week, month] = (['day', 'week', 'month'] as const).map(
    (span) => windowOf(span, endedAtMs, null).startMs,
  );
  const start = [day ?? 0, week ?? 0, month ?? 0, endedAtMs, month ?? 0];
  return [
    { sql: BURN, params: [costPico, endedAtMs, id] },
    { sql: COUNT_GRANTS, params: [id, id, id] },
    { sql: COUNT_ACCOUNT, params: [costPico, id, id, id] },
    { sql: COUNT_BUDGETS, params: [...start, costPico, costPico, ...start, ...start, id, id, id] },
  ];
}
