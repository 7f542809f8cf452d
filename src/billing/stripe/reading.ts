/**
 * A customer's money as Stripe has it now: grants and what finalised invoices left of them, his subscription, whether a
 * payment is missing. Events only say that there is news; this says how things stand, so their order cannot matter.
 *
 * A grant counts when it pays for metered usage in US dollars: one that names single prices, or has another currency, is
 * left out. Requires Credit grants, Credit balance summary, Subscriptions and Invoices, read, of a restricted key.
 */
import { Stripe } from 'stripe';
import type { GrantFact, SubscriptionReading } from '../../ledger/accounts-port.ts';
import { realDeadline, within } from './deadline.ts';
import type { Deadline } from './deadline.ts';
import { paymentOf } from './payment.ts';
import { StripeUnreachable } from '../ports.ts';

export interface CustomerReading {
  /** Undefined where Stripe does not let this key read it. */
  readonly credit:
    | {
        readonly grants: readonly GrantFact[];
        readonly finalisedThroughMs: number | undefined;
        readonly availablePico: string;
      }
    | undefined;
  readonly payment:
    | (Pick<SubscriptionReading, 'subscription' | 'paymentBlock' | 'period'> & {
        /** Every subscription that he has or had; undefined where there may be more. */
        readonly listed: readonly string[] | undefined;
      })
    | undefined;
}

export interface StripeReader {
  /** Throws `StripeUnreachable` when Stripe gave no answer in time: 8 s unless said otherwise. */
  read(customer: string, msMax?: number): Promise<CustomerReading>;
}

export interface StripeReaderOptions {
  readonly stripe: Stripe;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly deadline?: Deadline | undefined;
  /** How long a customer is served after a payment is missing, milliseconds. */
  readonly graceMs: number;
}

const READ_MS = 8_000;
const PAGE_ROWS_MAX = 100;
/** A customer with more grants than this has the oldest left out. */
const PAGES_MAX = 10;
/** The latest invoices looked at: for the last one that was finalised, and those that are open. */
const INVOICES_MAX = 20;
/** Balances change while an invoice is finalised: then all is read again. */
const TRIES_MAX = 3;
/** No call runs longer than a day, no response in the background than a few. */
const LATELY_S = 604_800;
/** Stripe counts in cents. */
const PICO_PER_CENT = 10_000_000_000n;
const OPTIONS = { timeout: READ_MS, maxNetworkRetries: 0 } as const;

export function createStripeReader({
  stripe,
  now,
  deadline = realDeadline,
  graceMs,
}: StripeReaderOptions): StripeReader {
  const invoices = (customer: string): Promise<Stripe.Invoice[] | undefined> =>
    readable(async () => (await stripe.invoices.list({ customer, limit: INVOICES_MAX }, OPTIONS)).data);

  const credit = async (customer: string): Promise<CustomerReading['credit']> => {
    for (let left = TRIES_MAX; left > 0; left -= 1) {
      const before = finalisedThrough((await invoices(customer)) ?? []);
      const read = await readable(() =>
        readCredit(stripe, customer, { nowS: now() / 1_000, finalised: before }),
      );
      if (read === undefined) return undefined;
      const after = finalisedThrough((await invoices(customer)) ?? []);
      if (before === after) return { ...read, finalisedThroughMs: after };
    }
    throw new StripeUnreachable(`The invoices of ${customer} were changing while they were read.`);
  };
  const payment = async (customer: string): Promise<CustomerReading['payment']> => {
    const list = { customer, status: 'all', limit: PAGE_ROWS_MAX } as const;
    const page = await readable(() => stripe.subscriptions.list(list, OPTIONS));
    if (page === undefined) return undefined;
    const listed = page.has_more ? undefined : page.data.map(({ id }) => id);
    return { ...paymentOf(page.data, (await invoices(customer)) ?? [], graceMs), listed };
  };
  return {
    async read(customer, msMax = READ_MS) {
      const [creditNow, paymentNow] = await within(
        Promise.all([credit(customer), payment(customer)]),
        deadline(msMax),
      ).catch((error: unknown) => {
        if (error instanceof StripeUnreachable) throw error;
        throw new StripeUnreachable(`Stripe could not be read: ${textOf(error)}`, { cause: error });
      });
      return { credit: creditNow, payment: paymentNow };
    },
  };
}

/**
 * Undefined where Stripe says that this cannot be read: the key may not, or there is no such thing. What may pass (no
 * answer, too many requests, a key that is refused altogether) is thrown.
 */
async function readable<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
    if (status === 400 || status === 403 || status === 404 || status === 501) return undefined;
    throw error;
  }
}

async function readCredit(
  stripe: Stripe,
  customer: string,
  { nowS, finalised }: { readonly nowS: number; readonly finalised: number | undefined },
): Promise<{ grants: readonly GrantFact[]; availablePico: string }> {
  const grants = (await allGrants(stripe, customer)).filter(counts);
  const available = grants.length === 0 ? 0n : await balanceOf(stripe, customer);
  const live = grants.filter((grant) => isLive(grant, nowS));
  const balances = await balancesOf(live, available, (grant) => balanceOf(stripe, customer, grant));
  const facts: GrantFact[] = [];
  for (const grant of grants) {
    const amount = centsOf(grant);
    const isOver = isLately(grant, nowS) && finalised !== undefined;
    const left = isOver ? amount - (await appliedOf(stripe, customer, grant.id)) : balances.get(grant.id);
    facts.push(grantFact(grant, left ?? amount));
  }
  return { grants: facts, availablePico: (available * PICO_PER_CENT).toString() };
}

const centsOf = ({ amount }: Stripe.Billing.CreditGrant): bigint => BigInt(amount.monetary?.value ?? 0);

/**
 * Cents left of each grant. They are asked about one by one only until what is available is all accounted for: then the
 * rest is spent, or, where it is as much as the rest was granted, whole. So a customer with a hundred of them is read in a
 * few requests: Stripe spends them in their order, and the end is asked first at which fewer lie before the one begun.
 */
async function balancesOf(
  grants: readonly Stripe.Billing.CreditGrant[],
  available: bigint,
  ask: (grant: string) => Promise<bigint>,
): Promise<ReadonlyMap<string, bigint>> {
  const balances = new Map<string, bigint>();
  let left = available;
  let unread = grants.reduce((sum, grant) => sum + centsOf(grant), 0n);
  const inTurn = grants.toSorted(byTurn);
  for (const grant of wholeAtEnd(inTurn, available) * 2 > grants.length ? inTurn : inTurn.toReversed()) {
    const amount = centsOf(grant);
    const isPlain = left === 0n || left === unread;
    const balance = isPlain ? (left === 0n ? 0n : amount) : await ask(grant.id);
    balances.set(grant.id, balance);
    left -= balance;
    unread -= amount;
  }
  return balances;
}

/** How many of the last are whole, if they were spent in turn. */
function wholeAtEnd(inTurn: readonly Stripe.Billing.CreditGrant[], available: bigint): number {
  let left = available;
  const begun = inTurn.findLastIndex((grant) => (left -= centsOf(grant)) < 0n);
  return inTurn.length - 1 - begun;
}

/** The order Stripe applies grants in: priority, then what expires first, promotional first, effective, created. */
const byTurn = (a: Stripe.Billing.CreditGrant, b: Stripe.Billing.CreditGrant): number =>
  (a.priority ?? 50) - (b.priority ?? 50) ||
  (a.expires_at ?? Number.MAX_SAFE_INTEGER) - (b.expires_at ?? Number.MAX_SAFE_INTEGER) ||
  Number(a.category !== 'promotional') - Number(b.category !== 'promotional') ||
  (msOf(a.effective_at) ?? 0) - (msOf(b.effective_at) ?? 0) ||
  (msOf(a.created) ?? 0) - (msOf(b.created) ?? 0);

async function allGrants(stripe: Stripe, customer: string): Promise<Stripe.Billing.CreditGrant[]> {
  const all: Stripe.Billing.CreditGrant[] = [];
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const last = all.at(-1)?.id;
    const after = last === undefined ? {} : { starting_after: last };
    const params = { customer, limit: PAGE_ROWS_MAX, ...after };
    const { data, has_more: more } = await stripe.billing.creditGrants.list(params, OPTIONS);
    all.push(...data);
    if (!more) break;
  }
  return all;
}

/** Also asked of what an event brought, whose parts may be missing. */
export const counts = (grant: Partial<Stripe.Billing.CreditGrant>): boolean =>
  grant.amount?.monetary?.currency === 'usd' && grant.applicability_config?.scope?.price_type === 'metered';

/** In effect at that second. */
export const isLive = (grant: Partial<Stripe.Billing.CreditGrant>, nowS: number): boolean =>
  (grant.voided_at ?? null) === null &&
  (grant.effective_at ?? 0) <= nowS &&
  (grant.expires_at ?? Infinity) > nowS;

/** It expired, and a call that was opened before may still run. */
const isLately = (
  { voided_at: voided, expires_at: end }: Stripe.Billing.CreditGrant,
  nowS: number,
): boolean => (voided ?? null) === null && (end ?? Infinity) <= nowS && (end ?? 0) > nowS - LATELY_S;

/**
 * Cents that invoices took of a grant that has expired, of which Stripe's balance says nothing any more. Nothing where the
 * key may not read it.
 */
export async function appliedOf(stripe: Stripe, customer: string, grant: string): Promise<bigint> {
  const params = { customer, credit_grant: grant, limit: PAGE_ROWS_MAX };
  const list = await readable(() => stripe.billing.creditBalanceTransactions.list(params, OPTIONS));
  let applied = 0n;
  for (const { debit, credit } of list?.data ?? []) {
    if (debit?.type === 'credits_applied') applied += BigInt(debit.amount.monetary?.value ?? 0);
    if (credit?.type === 'credits_application_invoice_voided')
      applied -= BigInt(credit.amount.monetary?.value ?? 0);
  }
  return applied;
}

/** Cents that are available of one grant, or of all that pay for metered usage. */
async function balanceOf(stripe: Stripe, customer: string, grant?: string): Promise<bigint> {
  const filter =
    grant === undefined
      ? ({ type: 'applicability_scope', applicability_scope: { price_type: 'metered' } } as const)
      : ({ type: 'credit_grant', credit_grant: grant } as const);
  const { balances } = await stripe.billing.creditBalanceSummaries.retrieve({ customer, filter }, OPTIONS);
  const dollars = balances.find(({ available_balance: of }) => of.monetary?.currency === 'usd');
  return BigInt(dollars?.available_balance.monetary?.value ?? 0);
}

export const grantFact = (grant: Stripe.Billing.CreditGrant, balance: bigint): GrantFact => ({
  id: grant.id,
  name: grant.name ?? null,
  category: grant.category === 'promotional' ? 'promotional' : 'paid',
  priority: grant.priority ?? 50,
  amountPico: (BigInt(grant.amount.monetary?.value ?? 0) * PICO_PER_CENT).toString(),
  balancePico: (balance * PICO_PER_CENT).toString(),
  applies: true,
  effectiveAtMs: msOf(grant.effective_at) ?? msOf(grant.created) ?? 0,
  expiresAtMs: msOf(grant.expires_at),
  createdAtMs: msOf(grant.created) ?? 0,
  voidedAtMs: msOf(grant.voided_at),
});

/** Absent is as good as null. */
const msOf = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : seconds * 1_000;

/** Invoices that bill the usage of a period that is over. */
const PERIOD_ENDS: ReadonlySet<string> = new Set(['subscription_cycle', 'subscription_threshold']);

function finalisedThrough(invoices: readonly Stripe.Invoice[]): number | undefined {
  const ends = invoices
    .filter(({ status, billing_reason: why }) => status !== 'draft' && PERIOD_ENDS.has(why ?? ''))
    .map(({ period_end: end }) => end * 1_000)
    .filter(Number.isSafeInteger);
  return ends.length === 0 ? undefined : Math.max(...ends);
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
