/** Accounts, balances and budgets as JSON. Amounts are decimal text in USD. */
import type { Account, Balance, BudgetView, Grant } from '../../ledger/accounts-port.ts';
import type { CustomerRow } from '../../ledger/people.ts';
import { formatUsd } from '../../usage/money.ts';

/** Grants on one reply. */
const GRANTS_SHOWN_MAX = 100;

export const usd = (pico: string): string => formatUsd(BigInt(pico));
export const isoTime = (ms: number | null | undefined): string | null =>
  ms === null || ms === undefined ? null : new Date(ms).toISOString();

/** What a customer may still spend, and of what. */
export const balanceJson = (customer: string, balance: Balance, account: Account | undefined): object => ({
  customer,
  available_usd: usd(balance.availablePico),
  credit_usd: usd(balance.creditPico),
  held_usd: usd(balance.heldPico),
  overdrawn_usd: usd(balance.overdrawnPico),
  unbilled_usd: usd(account?.unbilledPico ?? '0'),
  has_had_credit: account?.hasHadGrant ?? false,
  grants: balance.grants.slice(0, GRANTS_SHOWN_MAX).map(grantJson),
});

const grantJson = (grant: Grant): object => ({
  id: grant.id,
  name: grant.name,
  category: grant.category,
  priority: grant.priority,
  amount_usd: usd(grant.amountPico),
  remaining_usd: usd(remainingOf(grant)),
  effective_at: isoTime(grant.effectiveAtMs),
  expires_at: isoTime(grant.expiresAtMs),
  voided_at: isoTime(grant.voidedAtMs),
});

const remainingOf = ({ balancePico, burnedPico }: Grant): string => {
  const left = BigInt(balancePico) - BigInt(burnedPico);
  return (left > 0n ? left : 0n).toString();
};

export const customerJson = (row: CustomerRow, account: Account | undefined): object => ({
  id: row.id,
  missing: row.missing,
  alerts: row.alerts,
  plan: account?.plan ?? null,
  mode: account?.mode ?? null,
  on_empty: account?.onEmpty ?? null,
  grace_usd: account?.gracePico == null ? null : usd(account.gracePico),
  no_credit: account?.noCredit ?? null,
  frozen: account?.frozen == null ? null : { at: isoTime(account.frozen.atMs), why: account.frozen.why },
  payment_block:
    account?.paymentBlock == null
      ? null
      : { at: isoTime(account.paymentBlock.atMs), why: account.paymentBlock.why },
  subscription: account?.subscription ?? null,
  period:
    account?.period == null
      ? null
      : { start: isoTime(account.period.startMs), end: isoTime(account.period.endMs) },
  has_had_credit: account?.hasHadGrant ?? false,
  unbilled_usd: usd(account?.unbilledPico ?? '0'),
  overdrawn_usd: usd(account?.overdrawnPico ?? '0'),
  stripe:
    account?.stripe == null
      ? null
      : { available_usd: usd(account.stripe.availablePico), read_at: isoTime(account.stripe.readAtMs) },
});

export const budgetJson = (budget: BudgetView): object => ({
  id: budget.id,
  [budget.scope]: budget.subject,
  span: budget.span,
  limit_usd: usd(budget.limitPico),
  spent_usd: usd(budget.spentPico),
  window_start: isoTime(budget.windowStartMs),
  resets_at: isoTime(budget.resetsAtMs),
});
