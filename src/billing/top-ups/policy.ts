/** Whether a customer's card is charged now because his balance is low. Pure. */
import type { Account } from '../../ledger/accounts-port.ts';
import type { TopUp, TopUpRule } from '../../ledger/top-ups.ts';
import { policyOf, type PolicyDefaults, refusedByAccount } from '../budgets/policy.ts';

/** As the configuration has it. */
export interface AutoTopUpConfig {
  readonly belowPico: bigint;
  readonly cents: number;
  readonly perDayMax: number;
  readonly coolDownMs: number;
}
export interface TopUpDefaults extends PolicyDefaults {
  readonly autoTopUp: AutoTopUpConfig | null;
  readonly plans: ReadonlyMap<
    string,
    NonNullable<ReturnType<PolicyDefaults['plans']['get']>> & {
      /** Null: off for the plan. Undefined: as for everybody. */
      readonly autoTopUp?: AutoTopUpConfig | null | undefined;
    }
  >;
}
export interface Standing {
  readonly customer: string;
  readonly account: Account | undefined;
  /** Credit less what is overdrawn, picodollars. */
  readonly leftPico: bigint;
  /** Deleted at Stripe, or stopped by an alert of Stripe's: credit would lift it, so it must not come by itself. */
  readonly isStopped: boolean;
  /** The customer's own rule: null is off, undefined his plan's. */
  readonly own: TopUpRule | null | undefined;
  /** Latest first. */
  readonly recent: readonly TopUp[];
  readonly nowMs: number;
}

const DAY_MS = 86_400_000;
/** Failures in a row double the pause up to this: 11 charges in the first 30 days; card schemes allow 15. */
const PAUSE_MS_MAX = 604_800_000;

/** The amount in cents; or why nothing is charged. */
export function chargeDue(standing: Standing, defaults: TopUpDefaults): { cents: number } | { why: string } {
  const { account, own, recent, nowMs } = standing;
  const rule = ruleOf(account, own, defaults);
  if (rule === null) return { why: 'it is off' };
  if (account === undefined || (!account.hasHadGrant && own === undefined))
    return { why: 'he never had credit' };
  if (policyOf(account, defaults).isOverage) return { why: 'he is on overage' };
  if (standing.isStopped || refusedByAccount(standing.customer, account, nowMs) !== undefined)
    return { why: 'he is refused for another reason' };
  if (standing.leftPico > rule.belowPico) return { why: 'there is enough' };
  const charges = recent.filter(({ kind }) => kind !== 'link');
  if (charges.some(({ endedAtMs }) => endedAtMs === null)) return { why: 'one is under way' };
  const today = charges.filter(
    ({ kind, state, createdAtMs }) => kind === 'auto' && state !== 'failed' && createdAtMs > nowMs - DAY_MS,
  );
  if (today.length >= rule.perDayMax) return { why: 'there were enough in 24 hours' };
  if (pausedUntilMs(recent, rule.coolDownMs) > nowMs) return { why: 'the last one failed' };
  return { cents: rule.cents };
}

function ruleOf(
  account: Account | undefined,
  own: TopUpRule | null | undefined,
  defaults: TopUpDefaults,
): AutoTopUpConfig | null {
  if (own === null) return null;
  if (own !== undefined) return { ...own, belowPico: BigInt(own.belowPico) };
  const plan = defaults.plans.get(account?.plan ?? '')?.autoTopUp;
  return plan === undefined ? defaults.autoTopUp : plan;
}

/** From the last failure: the cool-down, twice as long for each failure in a row. A purchase that was granted ends the row. */
function pausedUntilMs(recent: readonly TopUp[], coolDownMs: number): number {
  const ended = recent.filter(({ endedAtMs }) => endedAtMs !== null);
  const good = ended.findIndex(({ state }) => state === 'granted');
  const failed = good === -1 ? ended : ended.slice(0, good);
  const last = failed[0]?.endedAtMs ?? null;
  if (last === null) return 0;
  return last + Math.min(PAUSE_MS_MAX, coolDownMs * 2 ** Math.min(failed.length - 1, 20));
}
