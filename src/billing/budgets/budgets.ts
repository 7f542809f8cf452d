/**
 * Whether a customer's money allows a call. The ledger decides, in the statement that opens the call; here his account is
 * judged beforehand, the hold is made, and a refusal is given its reason.
 */
import type { Guard, Money } from '../../ledger/accounts-port.ts';
import type { Admission, Block, CallToOpen, Holder, Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { createAccountMemory } from './account-memory.ts';
import type { Asked, Assessment, Hold, HoldPolicy } from './holds.ts';
import {
  type JudgedAccount,
  judgedPart,
  type Policy,
  policyOf,
  type PolicyDefaults,
  type Refused,
  refusedByAccount,
} from './policy.ts';
import { shortOf } from './shortfall.ts';
import { createWaiters } from './waiters.ts';

export interface BudgetsOptions {
  readonly ledger: Pick<Ledger, 'admit'>;
  readonly assess: (asked: Asked, policy: HoldPolicy) => Assessment;
  readonly runtime: Pick<Runtime, 'now' | 'after' | 'log'>;
  readonly defaults: PolicyDefaults;
  /** Where a customer may add credit; null where the operator has no such page. */
  readonly topUpUrl?: ((customer: string) => string | null) | undefined;
  /** Told of who is refused for what Stripe alone can lift: perhaps it has, and nobody was told. */
  readonly doubted?: ((customer: string) => void) | undefined;
  /** Told of every refusal: credit may have to be bought. */
  readonly refused?: ((customer: string) => void) | undefined;
}

export type Verdict =
  | {
      readonly kind: 'admitted';
      /** What is held for it; undefined for a customer whose money nobody watches. */
      readonly hold?: Hold | undefined;
      /** Credit less what is overdrawn; null where it was not asked for, and for who has never had any. */
      readonly balancePico: string | null;
      readonly hasCredit: boolean;
      readonly plan: string | null;
    }
  | { readonly kind: 'missing' }
  | { readonly kind: 'blocked'; readonly block: Block; readonly topUpUrl: string | null }
  | Refused;

export interface Budgets {
  /** Opens the call if the customer's money allows it. Waits 2 s at most for running calls to free what they hold. */
  admit(call: CallToOpen, asked: Asked): Promise<Verdict>;
  /** A call of theirs was settled, or holds less: who waits for that may try again. */
  freed(holder: Holder): void;
}

/** A call waits so long for running calls to settle before it is sent away, in milliseconds. */
export const WAIT_MS = 2_000;
/**
 * Customers whose account is remembered, so that a guarded call takes one step instead of three; some 300 bytes each. As
 * many accounts again are remembered of those who are called for under further keys.
 */
const ACCOUNTS_REMEMBERED_MAX = 131_072;
/** What Stripe alone can lift; a request that exceeds the balance is one where credit is what it exceeds. */
const DOUBTFUL: ReadonlySet<string> = new Set(['credit_balance_exhausted', 'subscription_inactive']);
const isDoubtful = ({ code, source }: Refused): boolean =>
  DOUBTFUL.has(code) || (code === 'request_exceeds_balance' && source === 'credit_balance');
/** An account that changes faster than a call can be judged by it is being fought over. */
const JUDGED_MAX = 10;

export function createBudgets(options: BudgetsOptions): Budgets {
  const { ledger, runtime, defaults } = options;
  const memory = createAccountMemory<Remembered>(ACCOUNTS_REMEMBERED_MAX);
  const waiters = createWaiters(runtime);
  const rememberedOf = ({ account, hasBudgets }: Guarded): Remembered | null =>
    account && { ...judgedPart(account, defaults), hasBudgets };
  const stranger = strangerOf(defaults);

  /** `account` as it is remembered or taken for granted, unless the ledger has just told it. */
  const guarded = async (visit: Visit, account: Remembered | null, isTold: boolean): Promise<Verdict> => {
    const { call, known } = visit;
    const untilMs = runtime.now() + WAIT_MS;
    for (let changes = 0; changes < JUDGED_MAX;) {
      const mark = waiters.mark();
      const hold = judgedFor(options, visit, account ?? stranger);
      if (hold.kind === 'refused') {
        if (isTold) return final(options, call, hold);
        // Nobody is refused by what may be otherwise by now.
        memory.forget(call);
        return told(visit, await ledger.admit(call, guardToAsk(stranger, runtime.now())));
      }
      const verdict = answerOf(options, call, { hold, admission: await ledger.admit(call, hold.guard) });
      if (verdict.kind === 'guarded') {
        account = rememberedOf(verdict);
        isTold = true;
        changes += 1;
        continue;
      }
      if (account === null && verdict.kind !== 'admitted') memory.forget(call);
      else if (account !== known) memory.keep(call, account);
      const waits = verdict.kind === 'refused' && verdict.code === 'in_flight_budget_exceeded';
      if (!waits || !(await waiters.room(call, { mark, untilMs }))) return final(options, call, verdict);
    }
    throw new Error(`The account of ${call.customer} changed ${JUDGED_MAX} times while it was judged.`);
  };

  /** What the ledger says of a call that was not judged. */
  const told = (visit: Visit, admission: Admission): Verdict | Promise<Verdict> => {
    if (admission.kind === 'guarded') return guarded(visit, rememberedOf(admission), true);
    if (admission.kind === 'short') throw new Error(`Call ${visit.call.id} was weighed without a guard.`);
    if (admission.kind === 'blocked') return blocked(options, visit.call, admission.block);
    return admission.kind === 'admitted'
      ? { kind: 'admitted', balancePico: null, hasCredit: false, plan: null }
      : admission;
  };

  return {
    admit(call, asked) {
      const known = memory.find(call);
      const visit = { call, asked, known };
      if (known !== undefined) return guarded(visit, known, false);
      // Where credit is required of everybody, who has no account has none.
      if (defaults.noCredit === 'refuse') return guarded(visit, null, false);
      return ledger.admit(call).then((admission) => told(visit, admission));
    },
    freed: waiters.freed,
  };
}

/** What a call may cost whose customer has that account, or why it is refused whatever is left of his money. */
function judgedFor(
  { assess, runtime }: BudgetsOptions,
  { call, asked }: Visit,
  account: Remembered,
): Judged | Refused {
  const nowMs = runtime.now();
  const refused = refusedByAccount(call.customer, account, nowMs);
  if (refused !== undefined) return refused;
  const assessed = assess(asked, { mode: account.policy.mode, plan: account.plan });
  const hold = judge(call, assessed, account.policy);
  if (hold.kind === 'refused') return hold;
  const guard = guardOf(account, { ...hold, nowMs, tells: tellsOf(call, account) });
  return { ...hold, account, guard };
}

/** What the ledger's word means for a call that was judged. */
function answerOf(
  options: BudgetsOptions,
  call: CallToOpen,
  { hold, admission }: { readonly hold: Judged; readonly admission: Admission },
): Verdict | Guarded {
  if (admission.kind === 'admitted') {
    if (admission.over === true) options.runtime.log('warn', 'budget_observed', overFields(call, admission));
    return { kind: 'admitted', hold, ...standing(hold.account, admission) };
  }
  if (admission.kind === 'blocked') return blocked(options, call, admission.block);
  if (admission.kind !== 'short') return admission;
  const topUpUrl = options.topUpUrl?.(call.customer) ?? null;
  return shortOf(call.customer, admission.money, { ...hold, policy: hold.account.policy, topUpUrl });
}

/** Credit lifts an alert's block, so there is told where to add some. */
const blocked = ({ topUpUrl }: BudgetsOptions, { customer }: CallToOpen, block: Block): Verdict => ({
  kind: 'blocked',
  block,
  topUpUrl: block.code === 'alert_triggered' ? (topUpUrl?.(customer) ?? null) : null,
});

function final({ doubted, refused }: BudgetsOptions, { customer }: CallToOpen, verdict: Verdict): Verdict {
  if (verdict.kind === 'refused') refused?.(customer);
  if (verdict.kind === 'refused' && isDoubtful(verdict)) doubted?.(customer);
  return verdict;
}

/** A call that asks, and the account that is remembered of its customer. */
interface Visit {
  readonly call: CallToOpen;
  readonly asked: Asked;
  readonly known: Remembered | null | undefined;
}

/** What is kept of an account, and whether calls under that customer and key fall under a budget. */
type Remembered = JudgedAccount & { readonly hasBudgets: boolean };

/** Who has no account, as far as anybody knows; perhaps his key has a budget. */
const strangerOf = (defaults: PolicyDefaults): Remembered => ({
  version: 0,
  plan: null,
  hasHadGrant: false,
  frozen: null,
  paymentBlock: null,
  period: null,
  policy: policyOf(null, defaults),
  hasBudgets: true,
});

type Admitted = Extract<Admission, { kind: 'admitted' }>;

type Guarded = Extract<Admission, { kind: 'guarded' }>;

/** What a call would hold, and the guard that it is to be opened under. */
interface Judged extends Hold {
  readonly kind: 'held';
  readonly account: Remembered;
  readonly guard: Guard;
}

/** What is held; or that the call cannot be weighed where it would have to be. */
function judge(
  { customer }: CallToOpen,
  assessed: Assessment,
  policy: Policy,
): ({ readonly kind: 'held' } & Hold) | Refused {
  if (assessed.kind === 'held') return assessed;
  const nothing = { kind: 'held', holdPico: 0n, fitPico: 0n, outputPico: null } as const;
  if (policy.mode === 'observe') return nothing;
  const refused = { kind: 'refused', balancePico: null, requiredPico: null, resetsAtMs: null } as const;
  if (assessed.kind === 'unpriced') {
    if (!policy.creditChecked) return nothing;
    return {
      ...refused,
      code: 'model_not_priced',
      source: assessed.model,
      topUpUrl: null,
      message: `${customer} pays from credit, and ${assessed.model} has no price to take from it.`,
      remedy: 'Use a model that has a price, or ask the operator to set one.',
    };
  }
  return {
    ...refused,
    code: 'request_exceeds_balance',
    source: assessed.reasons.join(', '),
    topUpUrl: null,
    message: `What this request costs has no bound (${assessed.reasons.join(', ')}), and the budget of ${customer} is strict.`,
    remedy: 'Leave that out, or name a limit on the output, such as max_tokens.',
  };
}

const guardOf = (
  { version, hasBudgets, period, policy }: Remembered,
  { holdPico, fitPico, nowMs, tells }: Hold & Pick<Guard, 'nowMs' | 'tells'>,
): Guard => ({
  nowMs,
  tells,
  version,
  hasBudgets,
  period,
  holdPico: String(holdPico),
  fitPico: String(fitPico),
  creditChecked: policy.creditChecked,
  gracePico: String(policy.gracePico),
  observe: policy.mode === 'observe',
});

/** No account has this version, so nothing is opened, and who has one is told by it. */
const NOBODYS_VERSION = -1;
const guardToAsk = (stranger: Remembered, nowMs: number): Guard =>
  guardOf(
    { ...stranger, version: NOBODYS_VERSION },
    { holdPico: 0n, fitPico: 0n, outputPico: null, nowMs, tells: 'nothing' },
  );

/** The head of a reply that waits for its bill tells what the call left; any other what it found. */
const tellsOf = ({ stream, endpoint }: CallToOpen, { hasHadGrant }: Remembered): Guard['tells'] =>
  hasHadGrant && (stream || endpoint === 'audio.speech') ? 'balance' : 'nothing';

const standing = ({ plan, hasHadGrant }: Remembered, { money, balancePico }: Admitted) => ({
  plan,
  hasCredit: hasHadGrant,
  balancePico: !hasHadGrant
    ? null
    : money === undefined
      ? (balancePico ?? null)
      : String(BigInt(money.creditPico) - BigInt(money.overdrawnPico)),
});

const overFields = ({ id, customer }: CallToOpen, { money }: { readonly money?: Money }) => ({
  request_id: id,
  customer,
  credit_pico: money?.creditPico,
  held_pico: money?.heldPico,
});
