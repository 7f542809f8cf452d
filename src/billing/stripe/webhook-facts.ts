/** What a Stripe event says of a customer, as far as it decides who is served. */
import type { CustomerFact } from '../../ledger/ledger.ts';
import type { Stripe } from 'stripe';
import { isOwing, isPaid, isPending, periodStart } from './payment.ts';
import type { SubscriptionState } from './payment.ts';
import type { StripeAccount } from '../ports.ts';
import { counts, isLive } from './reading.ts';
import type { Hint } from './hints.ts';
import { customerOf, referenceOf, UnreadableEvent } from './event.ts';
import type { Members, StripeEvent } from './event.ts';

/** What an alert does when it fires: the default, and the alerts, by id or title, that only notify. */
export interface AlertPolicy {
  readonly default: 'block' | 'notify';
  readonly notifyOnly: readonly string[];
}

/**
 * The events that are applied: 20, as many as Stripe's list of events may be asked for at once. Those that are no facts
 * in themselves are news that the customer's money is to be read.
 */
export const APPLIED_TYPES: ReadonlySet<string> = new Set([
  'billing.alert.triggered',
  'billing.alert.recovered',
  'billing.credit_grant.created',
  'billing.credit_grant.updated',
  'billing.credit_balance_transaction.created',
  'customer.deleted',
  'customer.subscription.created',
  'customer.subscription.updated',
  'customer.subscription.deleted',
  'customer.subscription.paused',
  'customer.subscription.resumed',
  'entitlements.active_entitlement_summary.updated',
  'invoice.created',
  'invoice.finalized',
  'invoice.paid',
  'invoice.payment_succeeded',
  'invoice.payment_failed',
  'invoice.overdue',
  'invoice.voided',
  'invoice.marked_uncollectible',
]);

/** The customer whose money an event is news of; undefined for none. */
export function newsOf({ type, object }: Snapshot): string | undefined {
  if (!APPLIED_TYPES.has(type) || !/^(billing\.credit_|customer\.subscription\.|invoice\.)/.test(type))
    return undefined;
  // An invoice that is only drafted takes nothing and asks for nothing.
  return type === 'invoice.created' ? undefined : (customerOf(object) ?? undefined);
}

/** What the event itself says, for where the present state cannot be read. */
export function hintOf({ type, object, createdS }: Snapshot): Hint | undefined {
  const { status } = object;
  if (type.startsWith('customer.subscription.') && typeof status === 'string') {
    const { id, created, canceled_at: canceled, ended_at: ended } = object;
    if (typeof id !== 'string' || ![created, canceled, ended].every(isTime)) return undefined;
    // One that only waits for its first payment must not take the place of one that owes.
    return isPending(status) ? undefined : { createdS, subscription: object as unknown as SubscriptionState };
  }
  if (type === 'invoice.paid' || type === 'invoice.payment_succeeded') return paidHint(object, createdS);
  if (type !== 'billing.credit_grant.created') return undefined;
  const grant = object as unknown as Stripe.Billing.CreditGrant;
  return counts(grant) && isWhole(object) ? { createdS, grant } : undefined;
}

const isTime = (value: unknown): boolean =>
  value === undefined || value === null || Number.isSafeInteger(value);

/** Whether a grant can be put on record as the event has it; Stripe's list has the last word either way. */
function isWhole({ id, name, created, amount, priority, ...times }: Members): boolean {
  const cents = (amount as Stripe.Billing.CreditGrant['amount'] | null)?.monetary?.value;
  return (
    typeof id === 'string' &&
    (typeof name === 'string' || (name ?? null) === null) &&
    Number.isSafeInteger(cents) &&
    [created, priority, times['effective_at'], times['expires_at'], times['voided_at']].every(isTime)
  );
}

function paidHint(object: Members, createdS: number): Hint | undefined {
  const invoice = referenceOf(object['id'], 'id');
  const subscription = subscriptionOf(object);
  if (invoice === null || subscription === null) return undefined;
  return { createdS, paid: { invoice, subscription } };
}

interface FactsOptions {
  readonly account: Pick<StripeAccount, 'hasAvailableCredit'>;
  readonly alerts: AlertPolicy;
  /** Seconds since the epoch. */
  readonly nowS: number;
}

type Snapshot = Extract<StripeEvent, { kind: 'snapshot' }>;

/** Throws `UnreadableEvent`, and `StripeUnreachable` where the event is only news that something must be asked. */
export async function factsOf(event: Snapshot, options: FactsOptions): Promise<readonly CustomerFact[]> {
  const { object } = event;
  switch (event.type) {
    case 'billing.alert.triggered':
      return triggered(object, options.alerts);
    case 'billing.alert.recovered':
      return recovered(object);
    case 'billing.credit_grant.created':
    case 'billing.credit_grant.updated':
      return granted(event, options);
    case 'invoice.created':
    case 'invoice.finalized':
    case 'invoice.payment_failed':
    case 'invoice.payment_succeeded':
    case 'invoice.paid':
      return invoiced(event);
    case 'customer.subscription.created':
    case 'customer.subscription.updated':
      return subscribed(event);
    case 'customer.deleted': {
      const customer = customerOf(object, 'id');
      return customer === null ? [] : [{ kind: 'deleted', customer }];
    }
    default:
      return [];
  }
}

function triggered(object: Members, policy: AlertPolicy): readonly CustomerFact[] {
  const customer = customerOf(object);
  const { alert, title } = alertOf(object);
  const isNotice =
    policy.default === 'notify' || policy.notifyOnly.includes(alert) || policy.notifyOnly.includes(title);
  return customer === null || isNotice ? [] : [{ kind: 'alert_triggered', customer, alert, title }];
}

function recovered(object: Members): readonly CustomerFact[] {
  const customer = customerOf(object);
  return customer === null ? [] : [{ kind: 'alert_recovered', customer, alert: alertOf(object).alert }];
}

/** Stripe sends the alert whole or as its id; without a title the id stands for it. */
function alertOf(object: Members): { alert: string; title: string } {
  const alert = referenceOf(object['alert'], 'alert');
  if (alert === null) throw new UnreadableEvent('alert is absent');
  const { title } =
    typeof object['alert'] === 'object' ? { title: undefined, ...object['alert'] } : { title: undefined };
  return { alert, title: typeof title === 'string' && title !== '' ? title : alert };
}

/**
 * A grant lifts unless it shows itself that it gave nothing: it is over, voided, to come or of nothing, in other money, for
 * other prices, or an update of it took away. It may be spent by now, so Stripe is asked whether credit is left; where the
 * key may not read the balance, the grant must show that it counts.
 */
async function granted(
  { type, object, previous, createdS }: Snapshot,
  { account, nowS }: FactsOptions,
): Promise<readonly CustomerFact[]> {
  const customer = customerOf(object);
  const grant = object as unknown as Stripe.Billing.CreditGrant;
  // Stripe's clock may be ahead of this one: what began with the event has begun.
  if (customer === null || !mayPay(grant, Math.max(nowS, createdS))) return [];
  const isChange = type === 'billing.credit_grant.updated' && Object.keys(previous).length > 0;
  if (isChange && !gaveMore(grant, previous, createdS)) return [];
  if (!((await account.hasAvailableCredit(customer)) ?? counts(grant))) return [];
  return [{ kind: 'alerts_lifted', customer, why: 'credit is available' }];
}

const centsOf = (grant: Partial<Stripe.Billing.CreditGrant>): number => grant.amount?.monetary?.value ?? 0;

/** What an event leaves out speaks for the grant: Stripe's balance has the last word. */
function mayPay(grant: Partial<Stripe.Billing.CreditGrant>, atS: number): boolean {
  const { amount, applicability_config: applies } = grant;
  return (
    isLive(grant, atS) &&
    ((amount ?? null) === null || (amount?.monetary?.currency === 'usd' && centsOf(grant) > 0)) &&
    ((applies ?? null) === null || counts(grant))
  );
}

/** Whether an update added credit: before it the grant was not in effect, was of less, or was to end sooner. */
function gaveMore(grant: Stripe.Billing.CreditGrant, previous: Members, atS: number): boolean {
  const before = { ...grant, ...previous };
  return (
    !isLive(before, atS) ||
    centsOf(before) < centsOf(grant) ||
    (before.expires_at ?? Infinity) < (grant.expires_at ?? Infinity)
  );
}

/**
 * A renewal's invoice is made as the new period begins, paid or not; a subscription's first period begins when its first
 * invoice is paid. The period begins when the invoice's own `period_end` is over, which for an invoice paid late is long
 * before the payment: what fired since then is of the new period and stays.
 */
function invoiced({ type, object, createdS }: Snapshot): readonly CustomerFact[] {
  const wasPaid = type === 'invoice.paid' || type === 'invoice.payment_succeeded';
  const { billing_reason: reason, period_end: end } = object;
  if (reason !== 'subscription_cycle' && !(reason === 'subscription_create' && wasPaid)) return [];
  const isKnown = typeof end === 'number' && Number.isSafeInteger(end);
  if (!isKnown && !wasPaid && type !== 'invoice.created') return [];
  return begun(object, subscriptionOf(object), isKnown ? Math.min(end, createdS) : createdS);
}

/** A subscription says when its present period began, whatever else of it has changed. */
function subscribed({ object, createdS }: Snapshot): readonly CustomerFact[] {
  const { id, status } = object;
  if (typeof status !== 'string' || !(isPaid(status) || isOwing(status))) return [];
  const startS = periodStart(object as unknown as SubscriptionState);
  return startS === undefined ? [] : begun(object, referenceOf(id, 'id'), Math.min(startS, createdS));
}

function begun(object: Members, subscription: string | null, beforeS: number): readonly CustomerFact[] {
  const customer = customerOf(object);
  const why = `a billing period began${subscription === null ? '' : ` for ${subscription}`}`;
  return customer === null ? [] : [{ kind: 'alerts_lifted', customer, why, beforeS }];
}

/** `parent.subscription_details.subscription` since API version 2025-03-31, `subscription` before. */
function subscriptionOf(object: Members): string | null {
  const parent = object['parent'];
  if (typeof parent !== 'object' || parent === null || !('subscription_details' in parent)) {
    return referenceOf(object['subscription'], 'subscription');
  }
  const details = parent.subscription_details;
  if (typeof details !== 'object' || details === null || !('subscription' in details)) return null;
  return referenceOf(details.subscription, 'parent.subscription_details.subscription');
}
