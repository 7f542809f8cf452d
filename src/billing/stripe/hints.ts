/**
 * What events themselves said of a customer's money, kept for where Stripe's own lists cannot be read, or do not show
 * what its events tell of. Any list that shows it goes before. In memory, newest word first: after a restart the next
 * event, or a list that can be read, says it again.
 */
import type { Account } from '../../ledger/accounts-port.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import { isOwing, paymentOf, type SubscriptionState } from './payment.ts';
import { type CustomerReading, grantFact } from './reading.ts';
import type { Stripe } from 'stripe';

export interface Hint {
  /** Seconds, of the event. */
  readonly createdS: number;
  readonly subscription?: SubscriptionState | undefined;
  readonly grant?: Stripe.Billing.CreditGrant | undefined;
  /** An invoice of a subscription that was paid. */
  readonly paid?: { readonly invoice: string; readonly subscription: string } | undefined;
}

export interface Hints {
  add(customer: string, hint: Hint): void;
  of(customer: string): Told | undefined;
  /** Stripe's lists showed what these say. */
  forget(customer: string, told: Told | undefined): void;
}

type Word<Kind extends 'subscription' | 'grant' | 'paid'> =
  { readonly createdS: number; readonly says: NonNullable<Hint[Kind]> } | undefined;

/** The latest word on each. */
export interface Told {
  readonly subscription: Word<'subscription'>;
  readonly grant: Word<'grant'>;
  readonly paid: Word<'paid'>;
}

const HINTS_MAX = 1_000;

export function createHints(): Hints {
  const hints = new Map<string, Told>();
  return {
    add(customer, hint) {
      const before = hints.get(customer);
      if (before === undefined && hints.size >= HINTS_MAX) hints.clear();
      hints.set(customer, {
        subscription: later(before?.subscription, hint.createdS, hint.subscription),
        grant: later(before?.grant, hint.createdS, hint.grant),
        paid: later(before?.paid, hint.createdS, hint.paid),
      });
    },
    of: (customer) => hints.get(customer),
    forget(customer, told) {
      if (hints.get(customer) === told) hints.delete(customer);
    },
  };
}

/** Of one moment, the one that came later. */
function later<T>(
  before: { readonly createdS: number; readonly says: T } | undefined,
  createdS: number,
  says: T | undefined,
): { readonly createdS: number; readonly says: T } | undefined {
  return says === undefined || (before !== undefined && before.createdS > createdS)
    ? before
    : { createdS, says };
}

/**
 * The reading without what cannot be: Stripe lists ended subscriptions too, so a list that lacks the one it told of, then
 * or now, is not the list.
 */
export function trusted(
  reading: CustomerReading,
  told: Told | undefined,
  account: Pick<Account, 'subscription'> | undefined,
): CustomerReading {
  const listed = reading.payment?.listed;
  if (listed === undefined) return reading;
  const known = [told?.subscription?.says.id, account?.subscription?.id];
  return known.every((id) => id === undefined || listed.includes(id))
    ? reading
    : { ...reading, payment: undefined };
}

type Recording = Pick<Ledger, 'account' | 'recordGrants' | 'recordSubscription'>;

/** What the events said counts as read when they were made; any reading of Stripe's since goes before it. */
export async function recordTold(
  ledger: Recording,
  of: { customer: string; told: Told | undefined; reading: CustomerReading; graceMs: number },
): Promise<void> {
  const { customer, told, reading, graceMs } = of;
  if (told === undefined) return;
  const { grant } = told;
  if (grant !== undefined && reading.credit?.grants.every(({ id }) => id !== grant.says.id) !== false) {
    const fact = grantFact(grant.says, BigInt(grant.says.amount.monetary?.value ?? 0));
    await ledger.recordGrants({ customer, readAtMs: grant.createdS * 1_000, grants: [fact] });
  }
  if (reading.payment === undefined) await recordPayment(ledger, customer, { told, graceMs });
}

async function recordPayment(
  ledger: Recording,
  customer: string,
  { told: { subscription, paid }, graceMs }: { told: Told; graceMs: number },
): Promise<void> {
  if (subscription !== undefined) {
    const isOf = paid?.says.subscription === subscription.says.id;
    const invoices = isOf ? [{ id: paid.says.invoice, status: 'paid' }] : [];
    const payment = paymentOf([subscription.says], invoices, graceMs);
    // The payment is the later word only where it settles what the subscription owes.
    const readS =
      isOf && payment.paymentBlock === null
        ? Math.max(paid.createdS, subscription.createdS)
        : subscription.createdS;
    await ledger.recordSubscription({ customer, readAtMs: readS * 1_000, ...payment });
    return;
  }
  const account = paid === undefined ? undefined : await ledger.account(customer);
  if (paid === undefined || account?.subscription?.id !== paid.says.subscription) return;
  if (!isOwing(account.subscription.state)) return;
  const { subscription: known, period } = account;
  const readAtMs = paid.createdS * 1_000;
  await ledger.recordSubscription({ customer, readAtMs, subscription: known, paymentBlock: null, period });
}
