/**
 * Cards and payments: as much as credit is bought with. A test card is attached by Stripe's own names (`pm_card_visa`), and
 * does what Stripe's does: pays, is declined, or wants its owner, who is not there when he is charged off session.
 */
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { invalid, missing, StripeFailure } from './http.ts';
import { existingMethod, methodOf } from './payment-methods.ts';
import { expand, integer, metadata, page, paging, parseParams } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type Account, type PaymentIntent, type PaymentMethod } from './world.ts';

/** By the names that Stripe's documentation gives test cards; the last four digits are those of its table too. */
const TEST_METHODS: Readonly<Record<string, Pick<PaymentMethod, 'type' | 'does'> & { last4: string }>> = {
  pm_card_visa: { type: 'card', does: 'pays', last4: '4242' },
  pm_card_mastercard: { type: 'card', does: 'pays', last4: '4444' },
  pm_card_chargeCustomerFail: { type: 'card', does: 'generic_decline', last4: '0341' },
  pm_card_visa_chargeDeclinedInsufficientFunds: { type: 'card', does: 'insufficient_funds', last4: '9995' },
  pm_card_authenticationRequired: { type: 'card', does: 'authentication_required', last4: '3184' },
  pm_usBankAccount: { type: 'us_bank_account', does: 'takes_days', last4: '6789' },
};

const attachSchema = z.strictObject({ customer: z.string(), ...expand });
const boolean = z
  .union([z.enum(['true', 'false']), z.boolean()])
  .transform((value) => String(value) === 'true');
const createSchema = z.strictObject({
  amount: integer.refine((value) => value >= 50, 'must be at least $0.50 usd'),
  currency: z.string().length(3),
  customer: z.string().optional(),
  payment_method: z.string().optional(),
  confirm: boolean.optional(),
  off_session: boolean.optional(),
  automatic_payment_methods: z
    .strictObject({ enabled: boolean, allow_redirects: z.enum(['always', 'never']).optional() })
    .optional(),
  description: z.string().max(1_000).optional(),
  metadata: metadata.optional(),
  return_url: z.url().optional(),
  ...expand,
});
const cancelSchema = z.strictObject({ cancellation_reason: z.string().optional(), ...expand });
const listSchema = z.strictObject({
  customer: z.string().optional(),
  created: z.strictObject({ gte: integer.optional() }).optional(),
  ...paging,
});

export const paymentRoutes: readonly Route[] = [
  ['POST', '/v1/payment_methods/:id/attach', attach],
  ['GET', '/v1/payment_methods/:id', ({ account, id }) => shownMethod(existingMethod(account, id))],
  ['POST', '/v1/payment_intents', createIntent],
  ['GET', '/v1/payment_intents', listIntents],
  ['GET', '/v1/payment_intents/:id', ({ account, id }) => existingIntent(account, id)],
  ['POST', '/v1/payment_intents/:id/cancel', cancelIntent],
];

export function newIntent(
  account: Account,
  wanted: Pick<PaymentIntent, 'amount' | 'currency' | 'customer' | 'metadata'> & { payment_method?: string },
): PaymentIntent {
  const intent: PaymentIntent = {
    id: stripeId('pi_test'),
    object: 'payment_intent',
    amount: wanted.amount,
    amount_received: 0,
    canceled_at: null,
    capture_method: 'automatic_async',
    created: account.seconds(),
    currency: wanted.currency,
    customer: wanted.customer,
    last_payment_error: null,
    latest_charge: null,
    livemode: false,
    metadata: wanted.metadata,
    next_action: null,
    payment_method: wanted.payment_method ?? null,
    status: wanted.payment_method === undefined ? 'requires_payment_method' : 'requires_confirmation',
  };
  account.world.paymentIntents.set(intent.id, intent);
  account.changed();
  return intent;
}

/** The money came, now or days later. */
export function succeed(account: Account, intent: PaymentIntent): PaymentIntent {
  Object.assign(intent, {
    status: 'succeeded',
    amount_received: intent.amount,
    latest_charge: stripeId('ch_test'),
    last_payment_error: null,
  });
  account.emit('payment_intent.succeeded', intent);
  return intent;
}

/** It did not: the intent is open for another method, and says why. */
export function fail(account: Account, intent: PaymentIntent, decline: string): PaymentIntent {
  const code = decline === 'authentication_required' ? decline : 'card_declined';
  const message =
    code === 'card_declined'
      ? 'Your card was declined.'
      : 'Your card was declined. This transaction requires authentication.';
  const method = intent.payment_method;
  intent.last_payment_error = {
    type: 'card_error',
    code,
    decline_code: decline,
    message,
    payment_method: method,
  };
  Object.assign(intent, { status: 'requires_payment_method', payment_method: null });
  account.emit('payment_intent.payment_failed', intent);
  return intent;
}

function attach({ account, id, body }: RouteCall): unknown {
  const { customer } = parseParams(attachSchema, body);
  existingCustomer(account, customer);
  if (id === 'pm_card_chargeDeclined') throw declined('Your card was declined.', 'generic_decline');
  const test = TEST_METHODS[id];
  if (test === undefined) {
    const known = existingMethod(account, id);
    known.customer = customer;
    account.changed();
    return shownMethod(known);
  }
  const { last4, ...kind } = test;
  const method: PaymentMethod = {
    id: stripeId('pm_test'),
    object: 'payment_method',
    created: account.seconds(),
    customer,
    livemode: false,
    metadata: {},
    [kind.type]: { last4 },
    ...kind,
  };
  account.world.paymentMethods.set(method.id, method);
  account.emit('payment_method.attached', shownMethod(method));
  return shownMethod(method);
}

/** What the card will do is not Stripe's to show. */
const shownMethod = ({ does: _does, ...shown }: PaymentMethod): object => shown;

export function existingIntent(account: Account, id: string): PaymentIntent {
  const intent = account.world.paymentIntents.get(id);
  if (intent === undefined) throw missing('payment_intent', id, 'intent');
  return intent;
}

function createIntent({ account, body }: RouteCall): PaymentIntent {
  const params = parseParams(createSchema, body);
  if (params.customer !== undefined) existingCustomer(account, params.customer);
  if (params.off_session === true && params.confirm !== true)
    throw invalid('off_session can only be set when confirm is true.', { param: 'off_session' });
  const method =
    params.payment_method === undefined
      ? undefined
      : methodOf(account, params.payment_method, params.customer);
  if (params.confirm === true && method === undefined)
    throw invalid('You cannot confirm this PaymentIntent because it’s missing a payment method.', {
      code: 'payment_intent_unexpected_state',
    });
  const redirects = params.automatic_payment_methods?.allow_redirects !== 'never';
  if (params.confirm === true && redirects && params.return_url === undefined)
    throw invalid(
      'This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might redirect your customer off of your page, you must provide a `return_url`.',
      { param: 'return_url' },
    );
  const intent = newIntent(account, {
    amount: params.amount,
    currency: params.currency.toLowerCase(),
    customer: params.customer ?? null,
    metadata: params.metadata === '' || params.metadata === undefined ? {} : params.metadata,
    ...(method === undefined ? {} : { payment_method: method.id }),
  });
  return params.confirm === true && method !== undefined ? confirmed(account, intent, method) : intent;
}

function confirmed(account: Account, intent: PaymentIntent, { does }: PaymentMethod): PaymentIntent {
  if (does === 'pays') return succeed(account, intent);
  if (does === 'takes_days') {
    intent.status = 'processing';
    account.emit('payment_intent.processing', intent);
    return intent;
  }
  fail(account, intent, does);
  throw declined(intent.last_payment_error?.message ?? '', does, structuredClone(intent));
}

const declined = (message: string, decline: string, intent?: PaymentIntent): StripeFailure =>
  new StripeFailure({
    status: 402,
    type: 'card_error',
    code: decline === 'authentication_required' ? decline : 'card_declined',
    message,
    more: { decline_code: decline, ...(intent === undefined ? {} : { payment_intent: intent }) },
  });

function listIntents({ account, query }: RouteCall): unknown {
  const params = parseParams(listSchema, query);
  const all = newestFirst(account.world.paymentIntents.values()).filter(
    ({ customer, created }) =>
      (params.customer === undefined || customer === params.customer) &&
      created >= (params.created?.gte ?? 0),
  );
  return page(all, params, '/v1/payment_intents');
}

function cancelIntent({ account, id, body }: RouteCall): PaymentIntent {
  parseParams(cancelSchema, body);
  const intent = existingIntent(account, id);
  if (intent.status === 'succeeded' || intent.status === 'canceled')
    throw invalid(
      `You cannot cancel this PaymentIntent because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, requires_action, processing.`,
      { code: 'payment_intent_unexpected_state' },
    );
  Object.assign(intent, { status: 'canceled', canceled_at: account.seconds() });
  account.emit('payment_intent.canceled', intent);
  return intent;
}
