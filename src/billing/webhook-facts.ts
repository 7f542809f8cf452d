/** What a Stripe event says of a customer, as far as it decides who is served. */
import type { CustomerFact } from '../ledger/ledger.ts';
import type { Stripe } from 'stripe';
import type { SubscriptionState } from './payment.ts';
import type { StripeAccount } from './ports.ts';
import { counts } from './stripe-reading.ts';
import type { Hint } from './stripe-refresh.ts';
import { customerOf, referenceOf, UnreadableEvent } from './stripe-event.ts';
import type { Members, StripeEvent } from './stripe-event.ts';

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
  if (type.startsWith('customer.subscription.') && typeof object['status'] === 'string')
    return { createdS, subscription: object as unknown as SubscriptionState };
  if (type !== 'billing.credit_grant.created') return undefined;
  const grant = object as unknown as Stripe.Billing.CreditGrant;
  return counts(grant) ? { createdS, grant } : undefined;
}

interface FactsOptions {
  readonly account: Pick<StripeAccount, 'hasAvailableCredit'>;
  readonly alerts: AlertPolicy;
}

type Snapshot = Extract<StripeEvent, { kind: 'snapshot' }>;

/** Throws `UnreadableEvent`, and `StripeUnreachable` where the event is only news that something must be asked. */
export async function factsOf(
  event: Snapshot,
  { account, alerts }: FactsOptions,
): Promise<readonly CustomerFact[]> {
  const { object } = event;
  switch (event.type) {
    case 'billing.alert.triggered':
      return triggered(object, alerts);
    case 'billing.alert.recovered':
      return recovered(object);
    case 'billing.credit_grant.created':
    case 'billing.credit_grant.updated':
      return granted(object, account);
    case 'invoice.paid':
      return paid(object, event.createdS);
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

/** The grant itself says little (it may be spent, expired, or not yet in effect): Stripe is asked what is left. */
async function granted(object: Members, account: FactsOptions['account']): Promise<readonly CustomerFact[]> {
  const customer = customerOf(object);
  if (customer === null || !(await account.hasAvailableCredit(customer))) return [];
  return [{ kind: 'alerts_lifted', customer, why: 'credit is available' }];
}

/** The invoices that stand at the beginning of a billing period: a subscription's first and each renewal. */
const PERIOD_REASONS: ReadonlySet<unknown> = new Set(['subscription_create', 'subscription_cycle']);

/**
 * The period begins when the invoice's own `period_end` is over, which for an invoice paid late is long before the
 * payment: what fired since then is of the new period and stays.
 */
function paid(object: Members, createdS: number): readonly CustomerFact[] {
  const customer = customerOf(object);
  if (customer === null || !PERIOD_REASONS.has(object['billing_reason'])) return [];
  const { period_end: end } = object;
  const beforeS = typeof end === 'number' && Number.isSafeInteger(end) ? Math.min(end, createdS) : createdS;
  const subscription = subscriptionOf(object);
  const why = `a billing period began${subscription === null ? '' : ` for ${subscription}`}`;
  return [{ kind: 'alerts_lifted', customer, why, beforeS }];
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
