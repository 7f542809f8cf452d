/** Events on order: a real snapshot object of each type, built around a customer, changed as the order says. */
import { alertTriggered, createAlert } from './alerts.ts';
import { completeSession, createSession, expireSession, settleSession } from './checkout.ts';
import { applyCredits, createGrant, grantChanged, parseGrantParams } from './credits.ts';
import { createCustomer, deleteCustomer, existingCustomer } from './customers.ts';
import { invalid, missing } from './http.ts';
import { THIN_TYPES } from './late-errors.ts';
import { createMeter } from './meters.ts';
import { fail, newIntent, succeed } from './payments.ts';
import {
  newestFirst,
  stripeId,
  type Account,
  type Alert,
  type CreditGrant,
  type PaymentIntent,
  type Told,
} from './world.ts';

type Fields = Record<string, unknown>;
interface TriggerCall {
  readonly account: Account;
  readonly type: string;
  readonly customer: string;
  /** Laid over the event's object, deeply. */
  readonly overrides: Fields;
}

const MONTH_SECONDS = 30 * 86_400;

/** Each type's maker. It does what the type says, and emits the event. */
const MAKERS: Readonly<Record<string, (call: TriggerCall) => unknown>> = {
  'billing.alert.triggered': alertEvent,
  'billing.alert.recovered': alertEvent,
  'billing.credit_grant.created': grantCreated,
  'billing.credit_grant.updated': grantUpdated,
  'checkout.session.completed': (call) =>
    completeSession(call.account, sessionOf(call, 'open').id, call.overrides['payment_status'] as 'unpaid'),
  'checkout.session.expired': (call) => expireSession(call.account, sessionOf(call, 'open').id),
  'checkout.session.async_payment_succeeded': (call) =>
    settleSession(call.account, sessionOf(call, 'complete').id, 'succeeded'),
  'checkout.session.async_payment_failed': (call) =>
    settleSession(call.account, sessionOf(call, 'complete').id, 'failed'),
  'payment_intent.succeeded': (call) => succeed(call.account, intentOf(call)),
  'payment_intent.payment_failed': (call) => fail(call.account, intentOf(call), 'generic_decline'),
  'customer.created': customerEvent,
  'customer.updated': customerEvent,
  'customer.deleted': ({ account, customer }) => {
    deleteCustomer(account, customer);
  },
  'customer.subscription.created': (call) => subscriptionEvent(call, { status: 'active' }),
  'customer.subscription.updated': (call) => subscriptionEvent(call, { status: 'past_due' }),
  'customer.subscription.deleted': (call) => subscriptionEvent(call, { status: 'canceled' }),
  'customer.subscription.paused': (call) => subscriptionEvent(call, { status: 'paused' }),
  'customer.subscription.resumed': (call) => subscriptionEvent(call, { status: 'active' }),
  'invoice.created': (call) => invoiceEvent(call, { status: 'draft' }),
  'invoice.finalized': invoiceFinalized,
  'invoice.paid': (call) => invoiceEvent(call, { status: 'paid', attempted: true, amount_remaining: 0 }),
  'invoice.payment_failed': (call) =>
    invoiceEvent(call, { status: 'open', attempted: true, attempt_count: 1 }),
  'invoice.overdue': (call) => invoiceEvent(call, { status: 'open', attempted: true }),
  'invoice.voided': (call) => invoiceEvent(call, { status: 'void' }),
  'invoice.marked_uncollectible': (call) => invoiceEvent(call, { status: 'uncollectible' }),
};

/** The event types that can be ordered. */
export const TRIGGER_TYPES: readonly string[] = Object.keys(MAKERS);

/**
 * Makes the event. `overrides.customer` says whose; without it the newest customer's, or a new one's. Throws a 400
 * for a type not in `TRIGGER_TYPES` and a 404 for a customer that does not exist.
 */
export function makeEvent(account: Account, type: string, overrides: Fields): void {
  const make = Object.hasOwn(MAKERS, type) ? MAKERS[type] : undefined;
  if (make === undefined) {
    throw invalid(
      `The simulator cannot trigger ${type}. It can: ${[...TRIGGER_TYPES, ...THIN_TYPES].join(', ')}.`,
      {
        param: 'type',
      },
    );
  }
  const asked = overrides['customer'];
  if (type === 'customer.created' && typeof asked === 'string' && !account.world.customers.has(asked)) {
    createCustomer(account, { id: asked });
    return;
  }
  const customer =
    typeof asked === 'string'
      ? existingCustomer(account, asked).id
      : (newestFirst(account.world.customers.values())[0]?.id ?? createCustomer(account, {}).id);
  make({ account, type, customer, overrides });
}

/** Alerts are told with the alert whole. `alert` names one by id, or describes one that is then made. */
function alertEvent({ account, type, customer, overrides }: TriggerCall): void {
  const alert = alertFor(account, customer, overrides['alert']);
  const { alert: _named, ...rest } = overrides;
  const value = alert.usage_threshold?.gte ?? 0;
  const object = merged(alertTriggered(account, alert, customer, value), rest);
  if (type === 'billing.alert.recovered') {
    account.world.fired.delete(`${alert.id}|${customer}`);
    object['object'] = 'billing.alert_recovered';
  } else {
    account.world.fired.add(`${alert.id}|${customer}`);
  }
  account.emit(type, object);
}

function alertFor(account: Account, customer: string, named: unknown): Alert {
  const { alerts, fired } = account.world;
  if (typeof named === 'string') {
    const alert = alerts.get(named);
    if (alert === undefined) throw missing('billing alert', named, 'alert');
    return alert;
  }
  if (isFields(named)) {
    const known = typeof named['id'] === 'string' ? alerts.get(named['id']) : undefined;
    const alert = merged(known ?? newAlert(account, customer), named) as Alert;
    if (known === undefined) alerts.delete(newestFirst(alerts.keys())[0] ?? '');
    alerts.set(alert.id, alert);
    return alert;
  }
  const all = newestFirst(alerts.values());
  const own = all.find((alert) => alert.usage_threshold?.filters?.[0]?.customer === customer);
  const everyones = all.find((alert) => alert.usage_threshold?.filters === null && alert.status === 'active');
  const last = all.find(({ id }) => fired.has(`${id}|${customer}`));
  return last ?? own ?? everyones ?? newAlert(account, customer);
}

function newAlert(account: Account, customer: string): Alert {
  const meter =
    newestFirst(account.world.meters.values()).find(({ status }) => status === 'active') ??
    createMeter(account, {
      default_aggregation: { formula: 'sum' },
      display_name: 'Tokens',
      event_name: 'token-billing-tokens',
    });
  return createAlert(account, {
    alert_type: 'usage_threshold',
    title: 'Usage alert of the sandbox',
    usage_threshold: {
      filters: [{ customer, type: 'customer' }],
      gte: 1_000_000,
      meter: meter.id,
      recurrence: 'one_time',
    },
  });
}

function grantCreated({ account, customer, overrides }: TriggerCall): void {
  const params = merged(
    {
      amount: { type: 'monetary', monetary: { currency: 'usd', value: 500 } },
      applicability_config: { scope: { price_type: 'metered' } },
      category: 'paid',
      name: 'Credit of the sandbox',
    },
    { ...overrides, customer },
  );
  createGrant(account, parseGrantParams(params));
}

/** The session that is named, or the customer's newest of that status; where he has none, one of $5.00. */
function sessionOf({ account, customer, overrides }: TriggerCall, status: string): { id: string } {
  if (typeof overrides['id'] === 'string') return { id: overrides['id'] };
  const newest = newestFirst(account.world.sessions.values()).find(
    (one) => one.customer === customer && one.status === status,
  );
  if (newest !== undefined) return newest;
  const price = { currency: 'usd', unit_amount: 500, product_data: { name: 'Credit of the sandbox' } };
  const made = createSession({
    account,
    body: {
      mode: 'payment',
      customer,
      line_items: [{ quantity: 1, price_data: price }],
      success_url: 'https://sandbox.example/paid',
    },
  });
  return status === 'open' ? made : completeSession(account, made.id, 'unpaid');
}

/** The intent that is named, or the customer's newest that is under way; where he has none, one of $5.00. */
function intentOf({ account, customer, overrides }: TriggerCall): PaymentIntent {
  const all = newestFirst(account.world.paymentIntents.values());
  const named = all.find(({ id }) => id === overrides['id']);
  const newest = all.find((one) => one.customer === customer && one.status === 'processing');
  return named ?? newest ?? newIntent(account, { amount: 500, currency: 'usd', customer, metadata: {} });
}

function grantUpdated({ account, customer, overrides }: TriggerCall): void {
  const grants = newestFirst(account.world.grants.values()).filter((one) => one.customer === customer);
  const id = overrides['id'];
  const grant = typeof id === 'string' ? grants.find((one) => one.id === id) : grants[0];
  if (grant === undefined) throw missing('billing credit grant of the customer', customer, 'customer');
  const changed = merged(grant, { updated: account.seconds(), ...overrides }) as unknown as CreditGrant;
  account.world.grants.set(changed.id, changed);
  grantChanged(account, grant, changed);
}

function customerEvent({ account, type, customer, overrides }: TriggerCall): void {
  const { customer: _id, ...changes } = overrides;
  const changed = Object.assign(existingCustomer(account, customer), changes);
  account.emit(type, changed);
}

function subscriptionEvent({ account, type, customer, overrides }: TriggerCall, state: Fields): void {
  const now = account.seconds();
  const id = subscriptionId(customer);
  const ended = state['status'] === 'canceled' ? now : null;
  const subscription: Fields = {
    id,
    object: 'subscription',
    billing_cycle_anchor: now,
    billing_thresholds: null,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: ended,
    collection_method: 'charge_automatically',
    created: now,
    currency: 'usd',
    customer,
    customer_account: null,
    ended_at: ended,
    items: {
      object: 'list',
      data: [
        {
          id: `si_${id.slice(4)}`,
          object: 'subscription_item',
          current_period_end: now + MONTH_SECONDS,
          current_period_start: now,
          subscription: id,
        },
      ],
      has_more: false,
      url: `/v1/subscription_items?subscription=${id}`,
    },
    latest_invoice: null,
    livemode: false,
    metadata: {},
    pause_collection: null,
    start_date: now,
    test_clock: null,
    trial_end: null,
    trial_start: null,
    ...state,
  };
  const previous = type === 'customer.subscription.updated' ? { status: 'active' } : undefined;
  const told = merged(subscription, overrides) as Told;
  account.world.subscriptions.set(told.id, told);
  account.emit(type, told, previous);
}

/** Finalizing is when credit is applied: `total` says how much the invoice comes to before credit. */
function invoiceFinalized(call: TriggerCall): void {
  const { account, customer, overrides } = call;
  const total = typeof overrides['total'] === 'number' ? overrides['total'] : 0;
  const currency = typeof overrides['currency'] === 'string' ? overrides['currency'] : 'usd';
  const covered = applyCredits(account, { customer, currency, amount: total });
  const due = total - covered;
  invoiceEvent(call, { status: 'open', amount_due: due, amount_remaining: due });
}

function invoiceEvent({ account, type, customer, overrides }: TriggerCall, state: Fields): void {
  const now = account.seconds();
  const subscription = subscriptionId(customer);
  const open = newestFirst(account.world.invoices.values()).find(
    (one) => one.customer === customer && (one.status === 'open' || one.status === 'draft'),
  );
  const invoice: Fields = {
    // What happens to an invoice happens to the one that is open.
    id: type === 'invoice.created' || open === undefined ? stripeId('in') : open.id,
    object: 'invoice',
    amount_due: 0,
    amount_paid: 0,
    amount_remaining: 0,
    attempt_count: 0,
    attempted: false,
    auto_advance: false,
    billing_reason: 'subscription_cycle',
    collection_method: 'charge_automatically',
    created: now,
    currency: 'usd',
    customer,
    customer_account: null,
    lines: { object: 'list', data: [], has_more: false, url: '/v1/invoices/lines' },
    livemode: false,
    metadata: {},
    next_payment_attempt: null,
    parent: {
      quote_details: null,
      subscription_details: { metadata: {}, subscription },
      type: 'subscription_details',
    },
    period_end: now,
    period_start: now - MONTH_SECONDS,
    status_transitions: {
      finalized_at: state['status'] === 'draft' ? null : now,
      marked_uncollectible_at: state['status'] === 'uncollectible' ? now : null,
      paid_at: state['status'] === 'paid' ? now : null,
      voided_at: state['status'] === 'void' ? now : null,
    },
    subtotal: 0,
    test_clock: null,
    total: 0,
    ...state,
  };
  const told = merged(invoice, overrides) as Told;
  // The newest stands last.
  account.world.invoices.delete(told.id);
  account.world.invoices.set(told.id, told);
  account.emit(type, told);
}

/** A customer's events speak of one and the same subscription. */
const subscriptionId = (customer: string): string => `sub_${customer.replace(/^cus_/, '')}`;

/** A copy of the object with the changes laid over it; maps are merged, anything else is replaced. */
function merged(base: object, changes: Fields): Fields {
  const result: Fields = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const before = result[key];
    result[key] = isFields(before) && isFields(value) ? merged(before, value) : structuredClone(value);
  }
  return result;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
