/**
 * Calls of customers whose money is watched: opened only where what they may cost fits, and counted when they settle.
 *
 * Opening is one statement: it sums what is left and what running calls hold, compares, and inserts the row that holds the
 * new call's share. The holds are the open rows themselves, so none can leak and none can be counted twice.
 */
import { READ_ACCOUNT, accountFrom, BURN_ORDER, COUNT_CREDIT } from './accounts.ts';
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
/** The same of an account at hand: kept with it, for the time being. */
const CREDIT_KEPT = (account: string, at: string): string =>
  `CASE WHEN ${account}.credit_from_ms <= ${at} AND ${account}.credit_until_ms > ${at} THEN ${account}.credit_pico
   ELSE ${CREDIT(`${account}.customer`, at)} END`;
const OVERDRAWN = (customer: string): string =>
  `COALESCE((SELECT overdrawn_pico FROM accounts WHERE customer = ${customer}), 0)`;
const HELD = (column: 'customer' | 'guarded_key', value: string): string =>
  `COALESCE((SELECT SUM(hold_pico) FROM calls
    WHERE ${column} = ${value} AND ended_at_ms IS NULL AND hold_pico IS NOT NULL), 0)`;

/** What a budget's present window has spent; a window that is over has spent nothing. */
const BUDGET_SPENT = `CASE WHEN b.window_start_ms < CASE b.span WHEN 'day' THEN CAST(:day AS BIGINT)
  WHEN 'week' THEN CAST(:week AS BIGINT) WHEN 'month' THEN CAST(:month AS BIGINT)
  WHEN 'period' THEN CAST(:period AS BIGINT) ELSE 0 END THEN 0 ELSE b.spent_pico END`;
const BUDGET_LACKS = (scope: 'customer' | 'key', subject: string, held: string): string => `EXISTS (
  SELECT 1 FROM budgets b WHERE b.subject = ${subject} AND b.scope = '${scope}'
    AND b.limit_pico - ${BUDGET_SPENT} - ${held} < CAST(:needed AS BIGINT))`;
/** Credit less what is overdrawn: of the customer, and of who has an account at hand. */
const BALANCE = `${CREDIT(':customer', 'CAST(:now AS BIGINT)')} - ${OVERDRAWN(':customer')}`;
const BALANCE_KEPT = `${CREDIT_KEPT('a', 'CAST(:now AS BIGINT)')} - a.overdrawn_pico`;
const CREDIT_LACKS = (balance: string): string =>
  `${balance} + CAST(:grace AS BIGINT) - ${HELD('customer', ':customer')} < CAST(:needed AS BIGINT)`;
const KEY_HAS_BUDGET = `EXISTS (SELECT 1 FROM budgets WHERE subject = :key AND scope = 'key')`;
const BUDGETS_LACK = `${BUDGET_LACKS('customer', ':customer', HELD('customer', ':customer'))}
  OR ${BUDGET_LACKS('key', ':key', HELD('guarded_key', ':key'))}`;
const LACKS = (creditChecked: boolean, budgets = BUDGETS_LACK, balance = BALANCE): string =>
  [...(creditChecked ? [CREDIT_LACKS(balance)] : []), budgets].join(' OR ');

/**
 * Opens a call if nothing blocks its customer, his account is still the one that was judged, and it fits (or is only
 * watched, and marked). Written out with parameters in every place: through a common table SQLite would not use the
 * indexes of the view of blocks, and read every customer.
 *
 * Where it may not be opened its id comes out as NULL, which the column refuses and the statement ignores. Selected from
 * a WHERE instead, the row would go through a table of its own, since the table it is for is read: 11 of 28 us.
 */
const OPEN_GUARDED = (
  id: string,
  over = '0',
  guardedKey = `CASE WHEN ${KEY_HAS_BUDGET} THEN :key END`,
): Named =>
  named(`
  INSERT OR IGNORE INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by, hold_pico,
    over, guarded_key)
  VALUES (
    ${id},
    :customer, :key, :endpoint, :provider, :model, :stream, :opened, :boot, CAST(:hold AS BIGINT), ${over}, ${guardedKey})`);

const UNCHANGED = `NOT EXISTS (SELECT 1 FROM blocks WHERE customer = :customer)
  AND COALESCE((SELECT version FROM accounts WHERE customer = :customer), 0) = CAST(:version AS BIGINT)`;
/** Of who has an account, and was not blocked at that version, the row is looked up once and nothing else. */
const ID_BY_ACCOUNT = (creditChecked: boolean, budgets: string): string => `
  (SELECT :id FROM accounts a WHERE a.customer = :customer AND a.version = CAST(:version AS BIGINT)
    AND NOT (${LACKS(creditChecked, budgets, BALANCE_KEPT)}))`;

/** What a call is opened with. */
interface Opening {
  readonly call: CallToOpen;
  readonly guard: Guard;
  readonly boot: string;
}
type Param = (opening: Opening) => string | number;

/** What the names in the statements stand for. */
const PARAMS: Readonly<Record<string, Param>> = {
  id: ({ call }) => call.id,
  customer: ({ call }) => call.customer,
  key: ({ call }) => call.keyId,
  endpoint: ({ call }) => call.endpoint,
  provider: ({ call }) => call.provider,
  model: ({ call }) => call.model,
  stream: ({ call }) => (call.stream ? 1 : 0),
  opened: ({ call }) => call.openedAtMs,
  boot: ({ boot }) => boot,
  hold: ({ guard }) => guard.holdPico,
  needed: ({ guard }) => needed(guard.holdPico, guard.fitPico),
  grace: ({ guard }) => guard.gracePico,
  now: ({ guard }) => guard.nowMs,
  day: ({ guard }) => startsOf(guard.nowMs).day,
  week: ({ guard }) => startsOf(guard.nowMs).week,
  month: ({ guard }) => startsOf(guard.nowMs).month,
  period: ({ guard: { nowMs, period } }) =>
    period === null ? startsOf(nowMs).month : windowOf('period', nowMs, period).startMs,
  version: ({ guard }) => guard.version,
};

/** A statement written with names, and what they stand for in the order of its parameters. */
interface Named {
  readonly sql: string;
  readonly params: readonly Param[];
}

/** Each name is one parameter, however often it stands: every parameter costs its way to the database's thread. */
function named(text: string): Named {
  const names: string[] = [];
  const sql = text.replace(/:([a-z]+)/g, (_all, name: string) => {
    if (!names.includes(name)) names.push(name);
    return `?${String(names.indexOf(name) + 1)}`;
  });
  return { sql, params: names.map(paramOf) };
}

function paramOf(name: string): Param {
  const param = PARAMS[name];
  if (param === undefined) throw new Error(`Nothing is known as :${name}.`);
  return param;
}

type Way = 'observed' | 'strangers' | 'budgeted' | 'plain';
const openings = (creditChecked: boolean): Readonly<Record<Way, Named>> => ({
  observed: OPEN_GUARDED(
    `CASE WHEN ${UNCHANGED} THEN :id END`,
    `CASE WHEN ${LACKS(creditChecked)} THEN 1 ELSE 0 END`,
  ),
  strangers: OPEN_GUARDED(`CASE WHEN ${UNCHANGED} AND NOT (${LACKS(creditChecked)}) THEN :id END`),
  budgeted: OPEN_GUARDED(ID_BY_ACCOUNT(creditChecked, BUDGETS_LACK)),
  // Where the key has a budget after all the call is not opened, and comes again as one with budgets.
  plain: OPEN_GUARDED(ID_BY_ACCOUNT(creditChecked, KEY_HAS_BUDGET), '0', 'NULL'),
});
const CHECKED = openings(true);
const UNCHECKED = openings(false);

let starts = { dayEndMs: -Infinity, day: Infinity, week: 0, month: 0 };
/** When the windows of that moment began: the same for a whole day, and a calendar costs as much as a look-up. */
function startsOf(nowMs: number): Readonly<typeof starts> {
  if (nowMs < starts.day || nowMs >= starts.dayEndMs) {
    const { startMs: day, endMs } = windowOf('day', nowMs, null);
    const [week, month] = [windowOf('week', nowMs, null).startMs, windowOf('month', nowMs, null).startMs];
    starts = { dayEndMs: endMs ?? Infinity, day, week, month };
  }
  return starts;
}

function openingOf({ observe, creditChecked, version, hasBudgets }: Guard): Named {
  const of = creditChecked ? CHECKED : UNCHECKED;
  if (observe) return of.observed;
  if (version <= 0) return of.strangers;
  return hasBudgets === false ? of.plain : of.budgeted;
}

/** A customer's money in three numbers. */
const READ_MONEY = `
  SELECT CAST(${CREDIT('?1', 'CAST(?2 AS BIGINT)')} AS TEXT) AS credit,
    CAST(${OVERDRAWN('?1')} AS TEXT) AS overdrawn, CAST(${HELD('customer', '?1')} AS TEXT) AS held`;
/** The same in one: credit less what is overdrawn. */
const READ_BALANCE = `
  SELECT CAST(${CREDIT_KEPT('a', 'CAST(?2 AS BIGINT)')} - a.overdrawn_pico AS TEXT) AS balance
  FROM accounts a WHERE a.customer = ?1`;
const READ_OVER = `SELECT COALESCE(over, 0) AS over FROM calls WHERE id = ?`;
/** The budgets that a call falls under, each with what running calls hold of it. */
const READ_BUDGETS = `
  SELECT b.id AS id, b.scope AS scope, b.subject AS subject, b.span AS span, CAST(b.limit_pico AS TEXT) AS limit_pico,
    b.window_start_ms AS window_start_ms, CAST(b.spent_pico AS TEXT) AS spent_pico, a.period_start_ms AS period_start_ms,
    a.period_end_ms AS period_end_ms, CAST(CASE b.scope WHEN 'key' THEN ${HELD('guarded_key', 'b.subject')}
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
  WITH given AS MATERIALIZED (SELECT c.id AS call, c.customer AS owner, CAST(? AS BIGINT) AS cost, CAST(? AS BIGINT) AS until_ms,
      c.opened_at_ms AS from_ms, a.has_had_grant AS had
    FROM calls c JOIN accounts a ON a.customer = c.customer WHERE c.id = ? AND c.ended_at_ms IS NULL),
  buckets AS MATERIALIZED (
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
const OPEN = `EXISTS (SELECT 1 FROM calls WHERE calls.id = ?1 AND calls.ended_at_ms IS NULL)`;
const COUNT_GRANTS = `
  UPDATE credit_grants SET burned_pico = burned_pico + (
      SELECT b.pico FROM credit_burns b WHERE b.call = ?1 AND b.credit_grant = credit_grants.id)
  WHERE id IN (SELECT b.credit_grant FROM credit_burns b WHERE b.call = ?1) AND ${OPEN}`;
const COUNT_ACCOUNT = `
  UPDATE accounts SET unbilled_pico = unbilled_pico + CAST(?2 AS BIGINT), overdrawn_pico = overdrawn_pico
      + COALESCE((SELECT b.pico FROM credit_burns b WHERE b.call = ?1 AND b.credit_grant = ''), 0),
    ${COUNT_CREDIT('CAST(?3 AS BIGINT)')}
  WHERE customer = (SELECT customer FROM calls WHERE calls.id = ?1) AND ${OPEN}`;

/** Of an account's period, or of the one as long that has begun since, as in windows.ts. */
const PERIOD_START = `CASE WHEN a.period_end_ms <= CAST(?6 AS BIGINT) AND a.period_end_ms > a.period_start_ms
  THEN a.period_end_ms + (CAST(?6 AS BIGINT) - a.period_end_ms) / (a.period_end_ms - a.period_start_ms)
    * (a.period_end_ms - a.period_start_ms)
  ELSE a.period_start_ms END`;
/** Counts a call in the window it ended in; a window that is over starts again from it. */
const START = `CASE span WHEN 'day' THEN CAST(?3 AS BIGINT) WHEN 'week' THEN CAST(?4 AS BIGINT)
  WHEN 'month' THEN CAST(?5 AS BIGINT) WHEN 'period' THEN COALESCE((
    SELECT ${PERIOD_START} FROM accounts a WHERE a.customer = budgets.subject), CAST(?5 AS BIGINT)) ELSE 0 END`;
const COUNT_BUDGETS = `
  UPDATE budgets SET
    spent_pico = CASE WHEN window_start_ms < ${START} THEN CAST(?2 AS BIGINT) ELSE spent_pico + CAST(?2 AS BIGINT) END,
    window_start_ms = CASE WHEN window_start_ms < ${START} THEN ${START} ELSE window_start_ms END
  WHERE ((scope = 'customer' AND subject = (SELECT customer FROM calls WHERE calls.id = ?1))
      OR (scope = 'key' AND subject = (SELECT key_id FROM calls WHERE calls.id = ?1))) AND ${OPEN}`;

/** Lowers a hold, once more is known of what the call can still cost. It never rises. */
export const SHRINK_HOLD = `
  UPDATE calls SET hold_pico = CAST(? AS BIGINT)
  WHERE id = ? AND ended_at_ms IS NULL AND hold_pico > CAST(? AS BIGINT)`;

/** Opens a guarded call: whether it did is told by the statement that must follow. */
export function openGuarded(call: CallToOpen, guard: Guard, boot: string): Statement {
  const { sql, params } = openingOf(guard);
  const opening = { call, guard, boot };
  return { sql, params: params.map((param) => param(opening)) };
}

/** What must be free: what must fit, and for whatever costs something at all at least the last picodollar. */
const needed = (holdPico: string, fitPico: string): string =>
  fitPico === '0' && holdPico !== '0' ? '1' : fitPico;

/** Whether a call was opened although it did not fit. */
export const readOver = (id: string): Statement => ({ sql: READ_OVER, params: [id] });

export const readMoney = (customer: string, nowMs: number): Statement => ({
  sql: READ_MONEY,
  params: [customer, nowMs],
});

export const readBalance = (customer: string, nowMs: number): Statement => ({
  sql: READ_BALANCE,
  params: [customer, nowMs],
});

/** What that answered; undefined for who has no account. */
export const balanceIn = (rows: readonly Row[] | undefined): string | undefined =>
  rows?.[0] === undefined ? undefined : textOf(rows[0], 'balance');

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
  const { day, week, month } = startsOf(endedAtMs);
  return [
    { sql: BURN, params: [costPico, endedAtMs, id] },
    { sql: COUNT_GRANTS, params: [id] },
    { sql: COUNT_ACCOUNT, params: [id, costPico, endedAtMs] },
    { sql: COUNT_BUDGETS, params: [id, costPico, day, week, month, endedAtMs] },
  ];
}
