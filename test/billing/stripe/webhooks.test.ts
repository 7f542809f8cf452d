import { Stripe } from 'stripe';
import { describe, expect, it } from 'vitest';
import { StripeUnreachable } from '../../../src/billing/ports.ts';
import { createWebhooks } from '../../../src/billing/stripe/webhooks.ts';
import type { AlertPolicy } from '../../../src/billing/stripe/webhook-facts.ts';
import { LedgerUnavailable } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, MemoryLedger } from '../support.ts';

const SECRET = 'whsec_test';
const BLOCK: AlertPolicy = { default: 'block', notifyOnly: [] };

function setUp({ secret = SECRET, alerts = BLOCK } = {}) {
  const runtime = createTestRuntime();
  const ledger = new MemoryLedger();
  const deleted: string[] = [];
  const account = { credit: true as boolean | Error | undefined, asked: 0 };
  const webhooks = createWebhooks({
    secret,
    ledger,
    runtime,
    alerts,
    customers: { deleted: (customer) => void deleted.push(customer) },
    account: {
      hasAvailableCredit: () => {
        account.asked += 1;
        return account.credit instanceof Error
          ? Promise.reject(account.credit)
          : Promise.resolve(account.credit);
      },
    },
  });
  const nowS = runtime.nowMs / 1000;
  const sign = (body: string, timestamp = nowS, by = SECRET): string =>
    Stripe.webhooks.generateTestHeaderString({ payload: body, secret: by, timestamp });
  const receive = (event: unknown) => {
    const body = JSON.stringify(event);
    return webhooks.receive(new TextEncoder().encode(body), sign(body));
  };
  return { webhooks, runtime, ledger, deleted, account, nowS, sign, receive };
}

const eventOf = (type: string, object: object, more: object = {}) => ({
  id: 'evt_1',
  object: 'event',
  type,
  created: 1_763_726_000,
  data: { object },
  ...more,
});
const alert = { id: 'alrt_1', object: 'billing.alert', title: 'Credit used up' };
const triggered = eventOf('billing.alert.triggered', { alert, customer: 'cus_a', value: 5 });

describe('a webhook is believed', () => {
  it('when Stripe signed these very bytes', async () => {
    const { receive, ledger } = setUp();
    expect(await receive(triggered)).toMatchObject({ status: 200, outcome: 'applied' });
    expect(ledger.receipts.size).toBe(1);
  });

  it('once: the second time it is only seen', async () => {
    const { receive } = setUp();
    await receive(triggered);
    expect(await receive(triggered)).toMatchObject({ status: 200, outcome: 'seen' });
  });

  it.each([300, -300])('up to 300 s off (%s)', async (offS) => {
    const { webhooks, sign, nowS } = setUp();
    const body = JSON.stringify(triggered);
    expect(await webhooks.receive(body, sign(body, nowS + offS))).toMatchObject({ status: 200 });
  });

  it.each([301, -301])('no more than 300 s off (%s)', async (offS) => {
    const { webhooks, sign, nowS, ledger } = setUp();
    const body = JSON.stringify(triggered);
    expect(await webhooks.receive(body, sign(body, nowS + offS))).toMatchObject({ status: 400 });
    expect(ledger.receipts.size).toBe(0);
  });

  it.each(['whsec_other,whsec_test', 'whsec_test, whsec_other', ' whsec_test '])(
    'when signed by any of the secrets that there are ("%s")',
    async (secret) => {
      const { receive } = setUp({ secret });
      expect(await receive(triggered)).toMatchObject({ status: 200 });
    },
  );

  it('not when signed by all of two secrets as if they were one', async () => {
    const secret = 'whsec_other,whsec_test';
    const { webhooks, sign, nowS } = setUp({ secret });
    const body = JSON.stringify(triggered);
    expect(await webhooks.receive(body, sign(body, nowS, secret))).toMatchObject({ status: 400 });
  });

  it('not when a byte was changed', async () => {
    const { webhooks, sign } = setUp();
    const body = JSON.stringify(triggered);
    expect(await webhooks.receive(body.replace('cus_a', 'cus_b'), sign(body))).toMatchObject({ status: 400 });
  });

  it('not when signed by another secret', async () => {
    const { webhooks, sign, nowS } = setUp();
    const body = JSON.stringify(triggered);
    expect(await webhooks.receive(body, sign(body, nowS, 'whsec_other'))).toMatchObject({ status: 400 });
  });

  it.each(['', '   ', '\n', ',', ' , '])('never while the secret is blank ("%s")', async (secret) => {
    const { webhooks, nowS } = setUp({ secret });
    const body = JSON.stringify(triggered);
    const { createHmac } = await import('node:crypto');
    const v1 = createHmac('sha256', secret)
      .update(`${String(nowS)}.${body}`)
      .digest('hex');
    expect(await webhooks.receive(body, `t=${String(nowS)},v1=${v1}`)).toMatchObject({ status: 400 });
  });

  it.each([
    null,
    undefined,
    '',
    'x',
    't=1',
    't=,v1=',
    't=NaN,v1=aa',
    't=1,t=2,v1=aa',
    'v1=aa',
    `t=${'9'.repeat(40)},v1=a`,
  ])('not with the header %s', async (header) => {
    const { webhooks } = setUp();
    expect(await webhooks.receive(JSON.stringify(triggered), header)).toMatchObject({ status: 400 });
  });

  it('not with an empty signature at the right time', async () => {
    const { webhooks, nowS } = setUp();
    const header = `t=${String(nowS)},v1=`;
    expect(await webhooks.receive(JSON.stringify(triggered), header)).toMatchObject({ status: 400 });
  });

  it('not over 1 MiB', async () => {
    const { webhooks, sign } = setUp();
    const body = JSON.stringify({ ...triggered, padding: 'x'.repeat(1_048_576) });
    expect(await webhooks.receive(body, sign(body))).toMatchObject({ status: 400 });
  });
});

const factsFor = async (event: object, options?: { alerts: AlertPolicy }) => {
  const { receive, ledger } = setUp(options);
  expect(await receive(event)).toMatchObject({ status: 200 });
  return ledger.receipts.get('evt_1');
};

describe('a webhook says', () => {
  it('that an alert fired, with its title', async () => {
    expect(await factsFor(triggered)).toEqual([
      { kind: 'alert_triggered', customer: 'cus_a', alert: 'alrt_1', title: 'Credit used up' },
    ]);
  });

  it('that an alert fired, known by its id alone', async () => {
    const event = eventOf('billing.alert.triggered', {
      alert: 'alrt_1',
      customer: { id: 'cus_a', object: 'customer' },
    });
    expect(await factsFor(event)).toEqual([
      { kind: 'alert_triggered', customer: 'cus_a', alert: 'alrt_1', title: 'alrt_1' },
    ]);
  });

  it.each<AlertPolicy>([
    { default: 'notify', notifyOnly: [] },
    { default: 'block', notifyOnly: ['alrt_1'] },
    { default: 'block', notifyOnly: ['Credit used up'] },
  ])('nothing when the alert only notifies (%o)', async (alerts) => {
    expect(await factsFor(triggered, { alerts })).toEqual([]);
  });

  it('that an alert recovered', async () => {
    expect(await factsFor(eventOf('billing.alert.recovered', { alert, customer: 'cus_a' }))).toEqual([
      { kind: 'alert_recovered', customer: 'cus_a', alert: 'alrt_1' },
    ]);
  });

  it('that a customer is gone, and the memory of customers is told', async () => {
    const { receive, ledger, deleted } = setUp();
    await receive(eventOf('customer.deleted', { id: 'cus_a', object: 'customer' }));
    expect(ledger.receipts.get('evt_1')).toEqual([{ kind: 'deleted', customer: 'cus_a' }]);
    expect(deleted).toEqual(['cus_a']);
  });
});

describe('a paid invoice says', () => {
  it.each(['subscription_cycle', 'subscription_create'])(
    'that a period began, when its reason is %s',
    async (reason) => {
      const invoice = {
        object: 'invoice',
        customer: 'cus_a',
        billing_reason: reason,
        parent: { type: 'subscription_details', subscription_details: { subscription: 'sub_1' } },
      };
      expect(await factsFor(eventOf('invoice.paid', invoice))).toEqual([
        {
          kind: 'alerts_lifted',
          customer: 'cus_a',
          why: 'a billing period began for sub_1',
          beforeS: 1_763_726_000,
        },
      ]);
    },
  );

  it('that only blocks from before the period are over when it is paid late', async () => {
    const invoice = {
      customer: 'cus_a',
      billing_reason: 'subscription_cycle',
      subscription: 'sub_1',
      period_end: 1_763_000_000,
    };
    expect(await factsFor(eventOf('invoice.paid', invoice))).toMatchObject([{ beforeS: 1_763_000_000 }]);
  });

  it.each(['manual', 'subscription_update', 'subscription_threshold', undefined])(
    'nothing when its reason is %s',
    async (reason) => {
      expect(await factsFor(eventOf('invoice.paid', { customer: 'cus_a', billing_reason: reason }))).toEqual(
        [],
      );
    },
  );
});

describe('a new billing period is told', () => {
  const lifted = [{ kind: 'alerts_lifted', customer: 'cus_a', beforeS: 1_763_725_000 }];
  const invoice = {
    customer: 'cus_a',
    billing_reason: 'subscription_cycle',
    subscription: 'sub_1',
    period_end: 1_763_725_000,
  };

  it.each(['invoice.created', 'invoice.finalized', 'invoice.payment_failed', 'invoice.payment_succeeded'])(
    'by the invoice of a renewal, paid or not (%s)',
    async (type) => {
      expect(await factsFor(eventOf(type, invoice))).toMatchObject(lifted);
    },
  );

  it('by no first invoice that is not paid', async () => {
    const first = { ...invoice, billing_reason: 'subscription_create' };
    expect(await factsFor(eventOf('invoice.created', first))).toEqual([]);
  });

  it.each([
    { items: { data: [{ current_period_start: 1_763_700_000 }, { current_period_start: 1_763_725_000 }] } },
    { current_period_start: 1_763_725_000 },
  ])('by the subscription, in either shape of it', async (shape) => {
    const subscription = { id: 'sub_1', customer: 'cus_a', status: 'active', ...shape };
    const facts = await factsFor(eventOf('customer.subscription.updated', subscription));
    expect(facts).toMatchObject(lifted);
  });

  it.each(['incomplete', 'canceled', 'paused'])('by no subscription that is %s', async (status) => {
    const subscription = { id: 'sub_1', customer: 'cus_a', status, current_period_start: 1_763_725_000 };
    expect(await factsFor(eventOf('customer.subscription.created', subscription))).toEqual([]);
  });
});

describe('a webhook says nothing', () => {
  it('of a type that is not known, which is recorded as seen', async () => {
    expect(await factsFor(eventOf('price.created', { id: 'price_1' }))).toEqual([]);
  });

  it.each([
    ['billing.alert.triggered', { alert, customer: 'user_42' }],
    ['billing.alert.recovered', { alert, customer: { id: 'user_42' } }],
    ['billing.credit_grant.created', { customer: 'user_42' }],
    ['invoice.paid', { customer: 'user_42', billing_reason: 'subscription_cycle' }],
    ['customer.deleted', { id: 'user_42' }],
  ])('of a customer whose id is no id of Stripe’s own: %s', async (type, object) => {
    const { receive, ledger } = setUp();
    expect(await receive(eventOf(type, object))).toMatchObject({ status: 200 });
    expect([...ledger.receipts.values()]).toEqual([[]]);
  });

  it('yet when it is thin', async () => {
    const { receive, ledger } = setUp();
    const thin = {
      id: 'evt_1',
      object: 'v2.core.event',
      type: 'v1.billing.meter.error_report_triggered',
      created: '2026-11-21T00:00:00Z',
    };
    expect(await receive(thin)).toMatchObject({ status: 200, outcome: 'ignored' });
    expect(ledger.receipts.size).toBe(0);
  });
});

const grant = {
  id: 'credgr_1',
  customer: 'cus_a',
  amount: { monetary: { currency: 'usd', value: 500 } },
  applicability_config: { scope: { price_type: 'metered' } },
  effective_at: 1_763_725_000,
  expires_at: null,
  voided_at: null,
};
const updated = (object: object, previous?: object) => ({
  ...eventOf('billing.credit_grant.updated', object),
  data: { object, previous_attributes: previous },
});
const LIFTED = [{ kind: 'alerts_lifted', customer: 'cus_a', why: 'credit is available' }];
/** When the event was made, seconds. */
const THEN = 1_763_726_000;

describe('a credit grant', () => {
  it('lifts blocks when credit is left', async () => {
    const { receive, ledger } = setUp();
    await receive(eventOf('billing.credit_grant.created', grant));
    expect(ledger.receipts.get('evt_1')).toEqual(LIFTED);
  });

  it('lifts nothing when none is left', async () => {
    const { receive, ledger, account } = setUp();
    account.credit = false;
    expect(await receive(eventOf('billing.credit_grant.created', grant))).toMatchObject({ status: 200 });
    expect(ledger.receipts.get('evt_1')).toEqual([]);
  });

  it.each([
    ['voided', { voided_at: THEN }],
    ['expired', { expires_at: THEN }],
    ['expired since the event', { expires_at: THEN + 60 }],
    ['not in effect yet', { effective_at: 4_000_000_000 }],
    ['of nothing', { amount: { monetary: { currency: 'usd', value: 0 } } }],
    ['in euros', { amount: { monetary: { currency: 'eur', value: 500 } } }],
    ['for single prices', { applicability_config: { scope: { prices: [{ id: 'price_1' }] } } }],
  ])('lifts nothing for what else is left, when it is %s', async (_how, more) => {
    const { receive, ledger } = setUp();
    await receive(eventOf('billing.credit_grant.created', { ...grant, ...more }));
    expect(ledger.receipts.get('evt_1')).toEqual([]);
  });

  it.each([
    ['lives longer', { expires_at: 4_000_000_000 }, { expires_at: THEN - 60 }],
    ['ends no more', {}, { expires_at: 4_000_000_000 }],
    ['is of more', {}, { amount: { monetary: { value: 100 } } }],
    ['is in effect sooner', {}, { effective_at: THEN + 60 }],
    ['is void no more', {}, { voided_at: THEN - 60 }],
    ['names no former values', {}, undefined],
    ['tells little of itself', { amount: undefined, applicability_config: undefined }, undefined],
  ])('lifts blocks when an update adds credit: it %s', async (_how, more, previous) => {
    const { receive, ledger } = setUp();
    await receive(updated({ ...grant, ...more }, previous));
    expect(ledger.receipts.get('evt_1')).toEqual(LIFTED);
  });

  it.each([
    ['metadata', { metadata: { note: 'x' } }, { metadata: { note: null }, updated: 1 }],
    ['it is voided', { voided_at: THEN }, { voided_at: null }],
    ['it is expired', { expires_at: THEN }, { expires_at: null }],
    ['it ends sooner', { expires_at: 4_000_000_000 }, { expires_at: null }],
    ['it is of less', {}, { amount: { monetary: { value: 900 } } }],
    ['it was in effect before', {}, { effective_at: THEN - 60 }],
  ])('lifts nothing when an update adds none: %s', async (_how, more, previous) => {
    const { receive, ledger } = setUp();
    await receive(updated({ ...grant, ...more }, previous));
    expect(ledger.receipts.get('evt_1')).toEqual([]);
  });

  it('that began with the event has begun, although this clock is behind', async () => {
    const { receive, ledger, nowS } = setUp();
    const created = { created: nowS + 5 };
    await receive(eventOf('billing.credit_grant.created', { ...grant, effective_at: nowS + 5 }, created));
    expect(ledger.receipts.get('evt_1')).toEqual(LIFTED);
  });

  it.each([
    [null, 1],
    [1_763_725_000, 0],
  ])('has its own word where the balance may not be read (voided: %s)', async (voidedAt, lifts) => {
    const { receive, ledger, account } = setUp();
    account.credit = undefined;
    await receive(eventOf('billing.credit_grant.created', { ...grant, voided_at: voidedAt }));
    expect(ledger.receipts.get('evt_1')).toHaveLength(lifts);
  });

  it('is left for a retry when Stripe cannot be asked', async () => {
    const { receive, ledger, account } = setUp();
    account.credit = new StripeUnreachable('down');
    const event = eventOf('billing.credit_grant.created', grant);
    expect(await receive(event)).toMatchObject({ status: 500 });
    expect(ledger.receipts.size).toBe(0);
    account.credit = true;
    expect(await receive(event)).toMatchObject({ status: 200, outcome: 'applied' });
  });
});

describe('a webhook that cannot be applied', () => {
  it('is left for a retry when the ledger is down', async () => {
    const { receive, ledger } = setUp();
    ledger.failure = new LedgerUnavailable('disk full');
    expect(await receive(triggered)).toMatchObject({ status: 503 });
    ledger.failure = undefined;
    expect(await receive(triggered)).toMatchObject({ status: 200, outcome: 'applied' });
  });

  it.each([
    ['a fractional time', { ...triggered, created: 1.5 }],
    ['an unsafe time', { ...triggered, created: 2 ** 60 }],
    ['a time as text', { ...triggered, created: '1763726000' }],
    ['no id', { ...triggered, id: undefined }],
    ['a strange id', { ...triggered, id: '../evt' }],
    ['no data', { ...triggered, data: null }],
    ['a customer that is a number', eventOf('customer.deleted', { id: 7 })],
    ['no alert', eventOf('billing.alert.triggered', { customer: 'cus_a' })],
    ['an array', []],
  ])('is refused and not recorded: %s', async (_, event) => {
    const { receive, ledger } = setUp();
    expect(await receive(event)).toMatchObject({ status: 400 });
    expect(ledger.receipts.size).toBe(0);
  });

  it('is refused when it is no JSON', async () => {
    const { webhooks, sign } = setUp();
    expect(await webhooks.receive('{', sign('{'))).toMatchObject({ status: 400 });
  });
});
