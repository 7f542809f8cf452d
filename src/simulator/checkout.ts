/**
 * Checkout sessions for a single payment, and the page that pays one: a form with a button in place of Stripe's. A session
 * is completed there or to order, expires, and tells both by webhook.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { invalid, missing } from './http.ts';
import { expand, integer, metadata, page, paging, parseParams, seconds } from './params.ts';
import { newIntent, succeed } from './payments.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type Account, type CheckoutSession } from './world.ts';

const DAY_S = 86_400;
const EXPIRES_S_MIN = 1_800;

const createSchema = z.strictObject({
  mode: z.literal('payment'),
  customer: z.string(),
  client_reference_id: z.string().max(200).optional(),
  line_items: z
    .array(
      z.strictObject({
        quantity: integer.refine((value) => value >= 1, 'must be at least 1'),
        price_data: z.strictObject({
          currency: z.string().length(3),
          unit_amount: integer.refine((value) => value >= 0, 'must be at least 0'),
          product_data: z.strictObject({ name: z.string().min(1), description: z.string().optional() }),
        }),
      }),
    )
    .min(1)
    .max(100),
  metadata: metadata.optional(),
  payment_intent_data: z
    .strictObject({ metadata: metadata.optional(), description: z.string().optional() })
    .optional(),
  success_url: z.url(),
  cancel_url: z.url().optional(),
  submit_type: z.enum(['auto', 'book', 'donate', 'pay', 'subscribe']).optional(),
  expires_at: seconds.optional(),
  ...expand,
});
const listSchema = z.strictObject({
  customer: z.string().optional(),
  payment_intent: z.string().optional(),
  status: z.enum(['open', 'complete', 'expired']).optional(),
  created: z.strictObject({ gte: integer.optional() }).optional(),
  ...paging,
});

export const checkoutRoutes: readonly Route[] = [
  ['POST', '/v1/checkout/sessions', createSession],
  ['GET', '/v1/checkout/sessions', listSessions],
  ['GET', '/v1/checkout/sessions/:id', ({ account, id }) => existingSession(account, id)],
  ['POST', '/v1/checkout/sessions/:id/expire', ({ account, id }) => expireSession(account, id)],
];

export type SessionParams = z.input<typeof createSchema>;

export function createSession({ account, body }: Pick<RouteCall, 'account' | 'body'>): CheckoutSession {
  const params = parseParams(createSchema, body);
  existingCustomer(account, params.customer);
  const now = account.seconds();
  const expires = params.expires_at ?? now + DAY_S;
  if (expires < now + EXPIRES_S_MIN - 60 || expires > now + DAY_S)
    throw invalid('The `expires_at` timestamp must be less than 24 hours and at least 30 minutes from now.', {
      param: 'expires_at',
    });
  const amount = params.line_items.reduce(
    (sum, { quantity, price_data: price }) => sum + quantity * price.unit_amount,
    0,
  );
  if (amount < 50)
    throw invalid('The Checkout Session’s total amount due must add up to at least $0.50 usd', {
      code: 'amount_too_small',
    });
  const id = stripeId('cs_test');
  const session: CheckoutSession = {
    id,
    object: 'checkout.session',
    amount_subtotal: amount,
    amount_total: amount,
    cancel_url: params.cancel_url ?? null,
    client_reference_id: params.client_reference_id ?? null,
    created: now,
    currency: params.line_items[0]?.price_data.currency.toLowerCase() ?? 'usd',
    customer: params.customer,
    expires_at: expires,
    livemode: false,
    metadata: textOf(params.metadata),
    mode: 'payment',
    payment_intent: null,
    payment_status: 'unpaid',
    status: 'open',
    success_url: params.success_url,
    url: `${account.url()}/checkout/${id}`,
    // Not Stripe's to show; kept for the payment intent that paying makes.
    payment_intent_metadata: textOf(params.payment_intent_data?.metadata),
  };
  account.world.sessions.set(id, session);
  account.changed();
  return session;
}

const textOf = (given: z.output<typeof metadata> | undefined): Record<string, string> =>
  given === undefined || given === '' ? {} : given;

/** Throws Stripe's 404 for a session that never was. Looking at it past its time ends it. */
export function existingSession(account: Account, id: string): CheckoutSession {
  const session = account.world.sessions.get(id);
  if (session === undefined) throw missing('checkout.session', id, 'session');
  if (session.status === 'open' && session.expires_at <= account.seconds()) return ended(account, session);
  return session;
}

/** The customer paid. `unpaid`: by a way that takes days, so that the session is complete before the money came. */
export function completeSession(
  account: Account,
  id: string,
  paid: 'paid' | 'unpaid' = 'paid',
): CheckoutSession {
  const session = existingSession(account, id);
  if (session.status !== 'open') throw invalid(`The session ${id} is ${session.status}.`);
  const intent = newIntent(account, {
    amount: session.amount_total,
    currency: session.currency,
    customer: session.customer,
    metadata: session.payment_intent_metadata,
  });
  if (paid === 'paid') succeed(account, intent);
  else intent.status = 'processing';
  Object.assign(session, {
    status: 'complete',
    payment_status: paid,
    payment_intent: intent.id,
    url: null,
  });
  account.emit('checkout.session.completed', session);
  return session;
}

/** The money of a complete session came at last, or did not. */
export function settleSession(
  account: Account,
  id: string,
  outcome: 'succeeded' | 'failed',
): CheckoutSession {
  const session = existingSession(account, id);
  if (outcome === 'succeeded') session.payment_status = 'paid';
  account.emit(`checkout.session.async_payment_${outcome}`, session);
  return session;
}

function listSessions({ account, query }: RouteCall): unknown {
  const params = parseParams(listSchema, query);
  const all = newestFirst(account.world.sessions.values()).filter(
    ({ customer, payment_intent: intent, status, created }) =>
      created >= (params.created?.gte ?? 0) &&
      (params.customer === undefined || customer === params.customer) &&
      (params.payment_intent === undefined || intent === params.payment_intent) &&
      (params.status === undefined || status === params.status),
  );
  return page(all, params, '/v1/checkout/sessions');
}

export function expireSession(account: Account, id: string): CheckoutSession {
  const session = existingSession(account, id);
  if (session.status !== 'open')
    throw invalid(
      `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of ${session.status}.`,
    );
  return ended(account, session);
}

function ended(account: Account, session: CheckoutSession): CheckoutSession {
  Object.assign(session, { status: 'expired', url: null });
  account.emit('checkout.session.expired', session);
  return session;
}

/** `GET` shows the page of a session, `POST` pays it and sends the customer back. */
export function checkoutPage(account: Account, request: IncomingMessage, response: ServerResponse): void {
  const id = (request.url ?? '').split('/')[2] ?? '';
  request.resume();
  try {
    const session = existingSession(account, id);
    if (request.method === 'POST') {
      completeSession(account, id);
      response.writeHead(303, { location: session.success_url }).end();
      return;
    }
    const form =
      session.status === 'open'
        ? `<form method="post"><button>Pay $${dollars(session.amount_total)}</button></form>`
        : `<p>This session is ${session.status}.</p>`;
    const html = `<!doctype html><title>Checkout of the sandbox</title><p>${session.customer} buys credit. Nobody is charged.</p>${form}`;
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
  } catch (error) {
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end(error instanceof Error ? error.message : String(error));
  }
}

const dollars = (cents: number): string =>
  `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
