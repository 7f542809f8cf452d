/** What holds for a customer: his own settings, else his plan's, else the configuration's. */
import type { Account, BudgetMode } from '../../ledger/accounts-port.ts';

/** What an account is judged by, and what became of its settings. It is remembered of every customer who calls. */
export interface JudgedAccount extends Pick<
  Account,
  'version' | 'plan' | 'hasHadGrant' | 'frozen' | 'paymentBlock' | 'period'
> {
  readonly policy: Policy;
}

export const judgedPart = (account: Account, defaults: PolicyDefaults): JudgedAccount => ({
  version: account.version,
  plan: account.plan,
  hasHadGrant: account.hasHadGrant,
  frozen: account.frozen,
  paymentBlock: account.paymentBlock,
  period: account.period,
  policy: policyOf(account, defaults),
});

export type OnEmpty =
  { readonly kind: 'block' | 'overage' } | { readonly kind: 'grace'; readonly pico: bigint };

export interface PolicyDefaults {
  readonly mode: BudgetMode;
  readonly noCredit: 'serve' | 'refuse';
  readonly onEmpty: OnEmpty;
  readonly plans: ReadonlyMap<string, PlanPolicy>;
}
/** A plan's part; undefined falls back to the configuration's. */
export interface PlanPolicy {
  readonly mode?: BudgetMode | undefined;
  readonly noCredit?: 'serve' | 'refuse' | undefined;
  readonly onEmpty?: OnEmpty | undefined;
}

export interface Policy {
  readonly mode: BudgetMode;
  /** Whether the call must be paid from credit: not on overage, and not by who never had any and need not. */
  readonly creditChecked: boolean;
  /** How far below nothing the balance may go. */
  readonly gracePico: bigint;
  /** What no credit covers goes to the invoice. */
  readonly isOverage: boolean;
}

/** A refusal with what its reader needs. Amounts are picodollars. */
export interface Refused {
  readonly kind: 'refused';
  readonly code:
    | 'credit_balance_exhausted'
    | 'request_exceeds_balance'
    | 'budget_exceeded'
    | 'in_flight_budget_exceeded'
    | 'customer_frozen'
    | 'subscription_inactive'
    | 'model_not_priced';
  /** What said no: a budget's id, the operator's reason. */
  readonly source: string;
  readonly balancePico: bigint | null;
  readonly requiredPico: bigint | null;
  readonly resetsAtMs: number | null;
  readonly topUpUrl: string | null;
  readonly message: string;
  readonly remedy: string;
}

export function policyOf(account: Account | null, defaults: PolicyDefaults): Policy {
  const plan = defaults.plans.get(account?.plan ?? '') ?? {};
  const onEmpty = ownOnEmpty(account) ?? plan.onEmpty ?? defaults.onEmpty;
  const noCredit = account?.noCredit ?? plan.noCredit ?? defaults.noCredit;
  const hasHadGrant = account?.hasHadGrant === true;
  return {
    mode: account?.mode ?? plan.mode ?? defaults.mode,
    creditChecked: hasHadGrant ? onEmpty.kind !== 'overage' : noCredit === 'refuse',
    // Who never had credit has none to go below: nothing would count what he is let have.
    gracePico: hasHadGrant && onEmpty.kind === 'grace' ? onEmpty.pico : 0n,
    isOverage: onEmpty.kind === 'overage',
  };
}

function ownOnEmpty(account: Account | null): OnEmpty | undefined {
  if (account === null || account.onEmpty === null) return undefined;
  return account.onEmpty === 'grace'
    ? { kind: 'grace', pico: BigInt(account.gracePico ?? '0') }
    : { kind: account.onEmpty };
}

/** What stands in the account itself: a freeze, a subscription that is not paid. No mode softens it. */
export function refusedByAccount(
  customer: string,
  account: Pick<Account, 'frozen' | 'paymentBlock'> | null,
  nowMs: number,
): Refused | undefined {
  const none = { balancePico: null, requiredPico: null, resetsAtMs: null, topUpUrl: null } as const;
  if (account?.frozen != null) {
    const why = account.frozen.why === '' ? '' : `: ${account.frozen.why}`;
    return {
      kind: 'refused',
      code: 'customer_frozen',
      source: account.frozen.why,
      ...none,
      message: `${customer} is frozen by the operator${why}.`,
      remedy: 'Ask the operator.',
    };
  }
  if (account?.paymentBlock == null || account.paymentBlock.atMs > nowMs) return undefined;
  return {
    kind: 'refused',
    code: 'subscription_inactive',
    source: account.paymentBlock.why,
    ...none,
    message: `${customer} is refused: ${account.paymentBlock.why}.`,
    remedy: 'Pay the open invoice, or renew the subscription.',
  };
}
