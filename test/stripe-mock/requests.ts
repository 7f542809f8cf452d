/**
 * Every request to Stripe's v1 API that the product makes, made by the product's own code: for a server that holds each
 * against Stripe's published description. test/stripe-mock/requests.test.ts says when one is missing here.
 */
import type { Stripe } from 'stripe';
import { meterWarnings } from '../../src/billing/delivery/meter-check.ts';
import { createStripeAccount } from '../../src/billing/stripe/account.ts';
import { createStripeMoney } from '../../src/billing/stripe/money.ts';
import { createEventPoll } from '../../src/billing/stripe/poll.ts';
import { appliedOf, createStripeReader } from '../../src/billing/stripe/reading.ts';
import { createStripeV1Sink } from '../../src/billing/delivery/v2-sink.ts';
import { createStripeSums } from '../../src/billing/reconcile/summaries.ts';
import { createWithdrawals } from '../../src/billing/delivery/withdrawals.ts';
import { PERMISSIONS, webhookFindings } from '../../src/cli/doctor.ts';
import type { EventView, MeterEvent } from '../../src/ledger/ledger.ts';
import { PAYMENT_REQUESTS } from './payment-requests.ts';

export interface RequestToProve {
  /** As the official package names it. */
  readonly call: string;
  /** Method and path. */
  readonly request: RegExp;
  /** Makes it, and whatever the product asks with it. */
  readonly make: (stripe: Stripe, nowMs: number) => Promise<unknown>;
}

const CUSTOMER = 'cus_1';

const eventOf = (nowMs: number): MeterEvent => ({
  identifier: `fg_${'0'.repeat(64)}`,
  destination: 'dimensions',
  eventName: 'token-billing-tokens',
  customer: CUSTOMER,
  model: 'openai/gpt-4o-mini',
  tokenType: 'input',
  value: '12',
  timestampMs: nowMs,
});

const silent = { log: () => undefined };

const read = (stripe: Stripe, nowMs: number): Promise<unknown> =>
  createStripeReader({ stripe, now: () => nowMs, graceMs: 0 }).read(CUSTOMER);

const accepted = (nowMs: number): EventView => ({
  ...eventOf(nowMs),
  state: 'accepted',
  attempts: 1,
  notBeforeMs: 0,
  acceptedAtMs: nowMs,
  lastError: null,
  transport: 'v1',
  replaces: null,
  calls: [],
});

export const REQUESTS: readonly RequestToProve[] = [
  {
    call: 'customers.retrieve',
    request: /^GET \/v1\/customers\/cus_1$/,
    make: (stripe) => createStripeAccount({ stripe }).customerExists(CUSTOMER),
  },
  {
    call: 'billing.creditBalanceSummaries.retrieve',
    request: /^GET \/v1\/billing\/credit_balance_summary$/,
    make: (stripe) => createStripeAccount({ stripe }).hasAvailableCredit(CUSTOMER),
  },
  {
    call: 'billing.meterEvents.create',
    request: /^POST \/v1\/billing\/meter_events$/,
    make: (stripe, nowMs) =>
      createStripeV1Sink({ stripe, runtime: { now: () => nowMs } }).send([eventOf(nowMs)]),
  },
  {
    call: 'billing.meterEventAdjustments.create',
    request: /^POST \/v1\/billing\/meter_event_adjustments$/,
    make: (stripe, nowMs) =>
      createWithdrawals({
        stripe,
        runtime: { now: () => nowMs, ...silent },
        ledger: {
          events: () => Promise.resolve({ data: [accepted(nowMs)], nextCursor: null }),
          cancelAccepted: () => Promise.resolve(true),
        },
      })('fg_0'),
  },
  {
    call: 'billing.meters.list',
    request: /^GET \/v1\/billing\/meters$/,
    make: (stripe) =>
      meterWarnings({
        stripe,
        layouts: ['dimensions'],
        eventName: 'tokens',
        classes: [],
        tokenTypes: ['input'],
      }),
  },
  {
    call: 'billing.meters.listEventSummaries',
    request: /^GET \/v1\/billing\/meters\/mtr_1\/event_summaries$/,
    make(stripe, nowMs) {
      const toMs = nowMs - (nowMs % 3_600_000);
      const hours = { meter: 'mtr_1', customer: CUSTOMER, fromMs: toMs - 86_400_000, toMs };
      return createStripeSums({ stripe }).hours(hours);
    },
  },
  { call: 'invoices.list', request: /^GET \/v1\/invoices$/, make: read },
  { call: 'subscriptions.list', request: /^GET \/v1\/subscriptions$/, make: read },
  { call: 'billing.creditGrants.list', request: /^GET \/v1\/billing\/credit_grants$/, make: read },
  {
    call: 'invoices.createPreview',
    request: /^POST \/v1\/invoices\/create_preview$/,
    make: (stripe, nowMs) => createStripeMoney({ stripe, now: () => nowMs }).preview(CUSTOMER),
  },
  {
    call: 'billing.creditGrants.create',
    request: /^POST \/v1\/billing\/credit_grants$/,
    make: (stripe, nowMs) =>
      createStripeMoney({ stripe, now: () => nowMs }).grant({
        customer: CUSTOMER,
        cents: 1_000,
        category: 'paid',
        name: 'A test',
        priority: 10,
        expiresAtS: Math.floor(nowMs / 1000) + 86_400,
        idempotencyKey: 'prove-1',
      }),
  },
  {
    call: 'events.list',
    request: /^GET \/v1\/events$/,
    make: (stripe, nowMs) =>
      createEventPoll({
        stripe,
        runtime: { now: () => nowMs, ...silent },
        ledger: {
          eventCursor: () => Promise.resolve(undefined),
          setEventCursor: () => Promise.resolve(),
          appliedEvents: () => Promise.resolve(new Set<string>()),
        },
        apply: () => Promise.resolve(),
      })(),
  },
  {
    call: 'customers.list',
    request: /^GET \/v1\/customers$/,
    make: async (stripe) => PERMISSIONS.find(({ name }) => name.startsWith('Customers'))?.ask(stripe),
  },
  {
    call: 'webhookEndpoints.list',
    request: /^GET \/v1\/webhook_endpoints$/,
    make: (stripe) => webhookFindings(stripe, 'whsec_mock'),
  },
  {
    call: 'billing.creditBalanceTransactions.list',
    request: /^GET \/v1\/billing\/credit_balance_transactions$/,
    make: (stripe) => appliedOf(stripe, CUSTOMER, 'credgr_1'),
  },
  ...PAYMENT_REQUESTS,
];
