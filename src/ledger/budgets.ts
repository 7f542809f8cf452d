/** Local budgets: of a customer or of an API key, each with a counter of its present window. */
import type { Accounts, Budget, BudgetSpan, BudgetView } from './accounts-port.ts';
import { opening, raisingVersion } from './accounts.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { Row, Statement } from './ledger.ts';
import { numberOf, numberOrNull, textOf, wordOf } from './rows.ts';
import { windowOf } from './windows.ts';

const READ_PERIOD = `SELECT period_start_ms, period_end_ms FROM accounts WHERE customer = ?`;

/** What a customer's settled calls of a window cost, each state by the index that serves it. */
const SPENT_BY_CUSTOMER = `COALESCE((SELECT SUM(cost_pico) FROM (
  SELECT cost_pico, ended_at_ms FROM calls WHERE sealed = 1 AND customer = ?
  UNION ALL SELECT cost_pico, ended_at_ms FROM calls WHERE sealed = 0 AND customer = ?) AS own
  WHERE ended_at_ms >= ?), 0)`;
/** The same of a key: every call is read, once, when its budget is made. */
const SPENT_BY_KEY = `COALESCE((SELECT SUM(cost_pico) FROM calls WHERE key_id = ? AND ended_at_ms >= ?), 0)`;

/**
 * What a budget that is changed has spent: its own counter knows of calls that retention has deleted since, and of those of
 * the key that this one took the place of.
 */
const COUNTED = `CASE WHEN budgets.window_start_ms >= excluded.window_start_ms AND budgets.spent_pico > excluded.spent_pico
  THEN budgets.spent_pico ELSE excluded.spent_pico END`;

const PUT_BUDGET = (spent: string): string => `
  INSERT INTO budgets (id, scope, subject, span, limit_pico, window_start_ms, spent_pico, created_at_ms)
  SELECT ?, ?, ?, ?, CAST(? AS BIGINT), ?, ${spent}, ?
  WHERE 1 = 1
  ON CONFLICT (subject, scope, span) DO UPDATE SET id = excluded.id, limit_pico = excluded.limit_pico,
    window_start_ms = excluded.window_start_ms, spent_pico = ${COUNTED}`;
/** What its running calls hold counts from now on. */
const GUARD_KEYS_CALLS = `
  UPDATE calls SET hold_pico = COALESCE(hold_pico, 0), guarded_key = key_id WHERE key_id = ? AND ended_at_ms IS NULL`;

/** A budget of a key once more, for the key that takes its place: it begins with what was spent. */
const PASS_ON = `
  INSERT INTO budgets (id, scope, subject, span, limit_pico, window_start_ms, spent_pico, created_at_ms)
  SELECT CAST(? AS TEXT), scope, CAST(? AS TEXT), span, limit_pico, window_start_ms, spent_pico, CAST(? AS BIGINT)
  FROM budgets WHERE id = ? AND scope = 'key'
  ON CONFLICT (subject, scope, span) DO NOTHING`;

const REMOVE_BUDGET = `DELETE FROM budgets WHERE id = ? RETURNING id`;
const READ_BUDGETS = `
  SELECT b.id AS id, b.scope AS scope, b.subject AS subject, b.span AS span, CAST(b.limit_pico AS TEXT) AS limit_pico,
    b.window_start_ms AS window_start_ms, CAST(b.spent_pico AS TEXT) AS spent_pico, a.period_start_ms AS period_start_ms,
    a.period_end_ms AS period_end_ms
  FROM budgets b LEFT JOIN accounts a ON b.scope = 'customer' AND a.customer = b.subject`;

export function createBudgets({
  database,
}: LedgerParts): Pick<Accounts, 'putBudget' | 'passOnBudget' | 'removeBudget' | 'budgets'> {
  return {
    async putBudget(budget, nowMs) {
      const [rows] = await database.batch([{ sql: READ_PERIOD, params: [budget.subject] }]);
      await database.batch(putting(budget, nowMs, rows?.[0]));
    },
    async passOnBudget(from, { id, key }, nowMs) {
      await database.batch([{ sql: PASS_ON, params: [id, key, nowMs, from] }]);
    },
    async removeBudget(id) {
      const [removed] = await database.batch([{ sql: REMOVE_BUDGET, params: [id] }]);
      return removed?.length === 1;
    },
    async budgets(subject, nowMs) {
      const [rows = []] = await database.batch([
        subject === undefined
          ? { sql: `${READ_BUDGETS} ORDER BY b.scope, b.subject, b.span`, params: [] }
          : { sql: `${READ_BUDGETS} WHERE b.subject = ? ORDER BY b.scope, b.span`, params: [subject] },
      ]);
      return rows.map((row) => budgetFrom(row, nowMs));
    },
  };
}

function putting(budget: Budget, nowMs: number, period: Row | undefined): Statement[] {
  const { id, scope, subject, span, limitPico } = budget;
  if (scope === 'key' && span === 'period')
    throw new RangeError("A key has no subscription: its budget's span is day, week, month or total.");
  const { startMs } = windowOf(span, nowMs, period === undefined ? null : periodOf(period));
  const counted = scope === 'key' ? [subject, startMs] : [subject, subject, startMs];
  const put = {
    sql: PUT_BUDGET(scope === 'key' ? SPENT_BY_KEY : SPENT_BY_CUSTOMER),
    params: [id, scope, subject, span, limitPico, startMs, ...counted, nowMs],
  };
  if (scope === 'key') return [put, { sql: GUARD_KEYS_CALLS, params: [subject] }];
  return [...opening(subject, nowMs), put, raisingVersion(subject)];
}

function periodOf(row: Row): { startMs: number; endMs: number } | null {
  const [startMs, endMs] = [numberOrNull(row, 'period_start_ms'), numberOrNull(row, 'period_end_ms')];
  return startMs === null || endMs === null ? null : { startMs, endMs };
}

/** A budget as it stands at that moment: a window that is over has spent nothing. */
export function budgetFrom(row: Row, nowMs: number): BudgetView {
  const span = wordOf<BudgetSpan>(row, 'span');
  const { startMs, endMs } = windowOf(span, nowMs, periodOf(row));
  const countedFromMs = numberOf(row, 'window_start_ms');
  return {
    id: textOf(row, 'id'),
    scope: wordOf(row, 'scope'),
    subject: textOf(row, 'subject'),
    span,
    limitPico: textOf(row, 'limit_pico'),
    spentPico: countedFromMs < startMs ? '0' : textOf(row, 'spent_pico'),
    windowStartMs: Math.max(startMs, countedFromMs),
    resetsAtMs: endMs,
  };
}
