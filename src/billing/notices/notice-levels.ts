/** Which level a customer's credit and budgets have reached, and what is to be told of it. Pure. */
import { isInEffect } from '../../ledger/accounts.ts';
import type { Account, Balance, BudgetView } from '../../ledger/accounts-port.ts';
import type { NoticeLevel } from '../../ledger/notices.ts';
import { usd } from '../reads/money-json.ts';

export interface NewsItem {
  readonly type: string;
  readonly data: object;
}
export interface News {
  readonly levels: readonly NoticeLevel[];
  /** Each with the level that it tells. */
  readonly items: readonly (NewsItem & { readonly subject: string; readonly seq: number })[];
}
export interface Standing {
  readonly customer: string;
  readonly account: Account | undefined;
  readonly balance: Balance;
  readonly budgets: readonly BudgetView[];
  readonly lowBalancePico: bigint | null;
  readonly nowMs: number;
}

/** Per cent of the credit or budget, each told once as it is passed. */
const STEPS = [50, 80, 100] as const;

export function newsOf(standing: Standing, known: readonly NoticeLevel[]): News {
  const now = [...creditStates(standing), ...standing.budgets.map((budget) => budgetState(standing, budget))];
  const levels: NoticeLevel[] = [];
  const items: News['items'][number][] = [];
  for (const { subject, windowStartMs, level, told } of now) {
    const before = known.find((one) => one.subject === subject);
    const isSameWindow = before?.windowStartMs === windowStartMs;
    const last = isSameWindow ? before.level : 0;
    if (last === level && isSameWindow) continue;
    if (before === undefined && level === 0) continue;
    const seq = (before?.seq ?? 0) + 1;
    levels.push({ subject, windowStartMs, level, seq });
    for (const item of told(last, level)) items.push({ ...item, subject, seq });
  }
  return { levels, items };
}

interface State {
  readonly subject: string;
  readonly windowStartMs: number;
  readonly level: number;
  readonly told: (before: number, now: number) => readonly NewsItem[];
}

function creditStates({ customer, account, balance, lowBalancePico, nowMs }: Standing): readonly State[] {
  if (account?.hasHadGrant !== true) return [];
  const granted = balance.grants
    .filter((grant) => isInEffect(grant, nowMs))
    .reduce((sum, grant) => sum + BigInt(grant.amountPico), 0n);
  const left = BigInt(balance.creditPico) - BigInt(balance.overdrawnPico);
  const data = { customer, balance_usd: usd(left.toString()), granted_usd: usd(granted.toString()) };
  const credit: State = {
    subject: 'credit',
    windowStartMs: 0,
    level: left <= 0n ? 100 : stepOf(granted - left, granted),
    told(before, now) {
      if (now > before) {
        const step = { type: 'budget.threshold', data: { ...data, source: 'credit', percent: now } };
        return now === 100 ? [step, { type: 'balance.exhausted', data }] : [step];
      }
      return before === 100 ? [{ type: 'balance.recovered', data }] : [];
    },
  };
  if (lowBalancePico === null) return [credit];
  const isLow = left <= lowBalancePico;
  const told: State['told'] = (before, now) => (now > before ? [{ type: 'balance.low', data }] : []);
  return [credit, { subject: 'low', windowStartMs: 0, level: isLow ? 1 : 0, told }];
}

const budgetState = ({ customer }: Standing, budget: BudgetView): State => ({
  subject: budget.id,
  windowStartMs: budget.windowStartMs,
  level: stepOf(BigInt(budget.spentPico), BigInt(budget.limitPico)),
  told: (before, now) =>
    now > before
      ? [
          {
            type: 'budget.threshold',
            data: {
              customer,
              source: budget.id,
              span: budget.span,
              percent: now,
              spent_usd: usd(budget.spentPico),
              limit_usd: usd(budget.limitPico),
            },
          },
        ]
      : [],
});

const stepOf = (spent: bigint, limit: bigint): number =>
  STEPS.findLast((step) => limit <= 0n || spent * 100n >= limit * BigInt(step)) ?? 0;
