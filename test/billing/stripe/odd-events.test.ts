/** Signed events whose members are absent, null or of another type than Stripe documents: each member, each way. */
import { expect, it } from 'vitest';
import { UnreadableEvent } from '../../../src/billing/stripe/event.ts';
import { createHints, type Hint, recordTold } from '../../../src/billing/stripe/hints.ts';
import { createWebhooks } from '../../../src/billing/stripe/webhooks.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime } from '../support.ts';

const NOW_S = 1_795_262_400;
const CUSTOMER = 'cus_a';

const grant = {
  id: 'credgr_1',
  amount: { type: 'monetary', monetary: { currency: 'usd', value: 500 } },
  applicability_config: { scope: { price_type: 'metered' } },
  category: 'paid',
  created: NOW_S,
  customer: CUSTOMER,
  effective_at: NOW_S,
  expires_at: null,
  name: 'Credit',
  priority: 50,
  voided_at: null,
};
const items = { data: [{ current_period_start: NOW_S, current_period_end: NOW_S + 60 }] };
const subscription = {
  id: 'sub_1',
  customer: CUSTOMER,
  status: 'past_due',
  created: NOW_S,
  canceled_at: null,
  ended_at: null,
  latest_invoice: 'in_1',
  items,
};
const invoice = {
  id: 'in_1',
  customer: CUSTOMER,
  billing_reason: 'subscription_cycle',
  period_end: NOW_S,
  parent: { subscription_details: { subscription: 'sub_1' } },
};
const alert = { alert: { id: 'alrt_1', title: 'Used up' }, customer: CUSTOMER, value: 3 };

const EVENTS: readonly (readonly [type: string, object: object, previous?: object])[] = [
  ['billing.credit_grant.created', grant],
  ['billing.credit_grant.updated', grant, { amount: { monetary: { value: 1 } } }],
  ['billing.credit_balance_transaction.created', { id: 'cbtxn_1', credit_grant: 'credgr_1' }],
  ['customer.subscription.created', subscription],
  ['customer.subscription.updated', { ...subscription, status: 'active' }, { status: 'past_due' }],
  ['customer.subscription.deleted', { ...subscription, status: 'canceled' }],
  ['invoice.created', invoice],
  ['invoice.paid', invoice],
  ['billing.alert.triggered', alert],
  ['billing.alert.recovered', alert],
  ['customer.deleted', { id: CUSTOMER }],
];
/** `undefined` is left out when it is written. */
const ODD = [null, undefined, 0, -1, 1.5, 1e300, '', 'x', true, [], [null], {}, { id: null }, { data: {} }];

type Json = Record<string, unknown>;

function* oddOnes(event: Json, at: readonly string[] = []): Generator<Json> {
  const members = at.reduce<unknown>((value, name) => (value as Json)[name], event);
  if (typeof members !== 'object' || members === null) return;
  for (const name of Object.keys(members)) {
    for (const value of ODD) {
      const copy = structuredClone(event);
      (at.reduce<unknown>((of, one) => (of as Json)[one], copy) as Json)[name] = value;
      yield copy;
    }
    yield* oddOnes(event, [...at, name]);
  }
}

it.each(EVENTS)('%s is applied, or said to be unreadable, whatever its members are', async (...of) => {
  const [type, object, previous] = of;
  const event = { id: 'evt_1', type, created: NOW_S, data: { object, previous_attributes: previous } };
  const runtime = createTestRuntime(NOW_S * 1_000);
  const database = openMemory();
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot' });
  const hints: Hint[] = [];
  const webhooks = createWebhooks({
    secret: 'whsec_test',
    ledger,
    account: { hasAvailableCredit: () => Promise.resolve(undefined) },
    runtime,
    alerts: { default: 'block', notifyOnly: [] },
    refresher: { told: (_customer, hint) => void (hint === undefined || hints.push(hint)) },
  });
  let events = 0;
  for (const odd of oddOnes(event)) {
    events += 1;
    const text = JSON.stringify({ ...odd, ...(odd['id'] === 'evt_1' ? { id: `evt_${events}` } : {}) });
    const outcome = await webhooks.apply(text).then(
      () => null,
      (error: unknown) => error,
    );
    if (outcome !== null) expect(outcome, text).toBeInstanceOf(UnreadableEvent);
    // What it said of money is put on record where Stripe's own lists cannot be read.
    for (const hint of hints.splice(0)) {
      const known = createHints();
      known.add(CUSTOMER, hint);
      const reading = { credit: undefined, payment: undefined };
      const told = { customer: CUSTOMER, told: known.of(CUSTOMER), reading, graceMs: 0 };
      await expect(recordTold(ledger, told), text).resolves.toBeUndefined();
    }
  }
  expect(events).toBeGreaterThan(50);
});
