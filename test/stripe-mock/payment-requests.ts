/** The v1 requests by which customers buy credit. */
import type { Stripe } from 'stripe';
import { createStripePayments, type StripePayments } from '../../src/billing/top-ups/payments.ts';
import type { TopUp } from '../../src/ledger/top-ups.ts';
import type { RequestToProve } from './requests.ts';

const topUpOf = (nowMs: number): TopUp => ({
  id: 'top_00000000000000000000000000',
  customer: 'cus_1',
  kind: 'auto',
  cents: 1_000,
  createdAtMs: nowMs,
  state: 'charging',
  paymentMethod: 'pm_1',
  payment: null,
  url: null,
  creditGrant: null,
  attempts: 0,
  grantTries: 0,
  failure: null,
  lastError: null,
  expiresAtMs: null,
  paidAtMs: null,
  endedAtMs: null,
  notBeforeMs: nowMs,
});

const paying =
  (work: (payments: StripePayments, topUp: TopUp) => Promise<unknown>): RequestToProve['make'] =>
  (stripe: Stripe, nowMs) =>
    work(createStripePayments({ stripe }), topUpOf(nowMs));

const page = (topUp: TopUp) => ({
  expiresAtS: Math.floor(topUp.createdAtMs / 1000) + 3_600,
  successUrl: 'https://billing.example/paid',
});

export const PAYMENT_REQUESTS: readonly RequestToProve[] = [
  {
    call: 'paymentIntents.create',
    request: /^POST \/v1\/payment_intents$/,
    make: paying((payments, topUp) => payments.charge(topUp)),
  },
  {
    call: 'paymentIntents.list',
    request: /^GET \/v1\/payment_intents$/,
    make: paying((payments, topUp) => payments.findCharge(topUp)),
  },
  {
    call: 'paymentIntents.retrieve',
    request: /^GET \/v1\/payment_intents\/pi_1$/,
    make: paying((payments, topUp) => payments.findCharge({ ...topUp, payment: 'pi_1' })),
  },
  {
    call: 'paymentIntents.cancel',
    request: /^POST \/v1\/payment_intents\/pi_1\/cancel$/,
    make: paying((payments) => payments.cancel('pi_1')),
  },
  {
    call: 'checkout.sessions.create',
    request: /^POST \/v1\/checkout\/sessions$/,
    make: paying((payments, topUp) => payments.checkout(topUp, page(topUp))),
  },
  {
    call: 'checkout.sessions.list',
    request: /^GET \/v1\/checkout\/sessions$/,
    make: paying((payments, topUp) => payments.findSession(topUp)),
  },
  {
    call: 'checkout.sessions.retrieve',
    request: /^GET \/v1\/checkout\/sessions\/cs_1$/,
    make: paying((payments) => payments.session('cs_1')),
  },
  {
    call: 'billing.creditGrants.create, of a purchase',
    request: /^POST \/v1\/billing\/credit_grants$/,
    make: paying((payments, topUp) => payments.grant({ ...topUp, payment: 'pi_1' })),
  },
];
