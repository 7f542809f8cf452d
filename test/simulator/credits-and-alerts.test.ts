import type { Stripe } from 'stripe';
import { expect, test } from 'vitest';
import { METER, START_MS, startMetered, stripeError, usage } from './start.ts';

const NOW = START_MS / 1_000;

const grant = (value: number, more: Partial<Stripe.Billing.CreditGrantCreateParams> = {}) => ({
  amount: { type: 'monetary' as const, monetary: { currency: 'usd', value } },
  applicability_config: { scope: { price_type: 'metered' as const } },
  category: 'paid' as const,
  customer: 'cus_demo',
  ...more,
});

const balance = async (stripe: Stripe): Promise<Record<string, number>> => {
  const { balances } = await stripe.billing.creditBalanceSummaries.retrieve({
    customer: 'cus_demo',
    filter: { type: 'applicability_scope', applicability_scope: { price_type: 'metered' } },
  });
  return Object.fromEntries(
    balances.map(({ available_balance: { monetary } }) => [monetary?.currency ?? '', monetary?.value ?? -1]),
  );
};

test('a customer without a grant has no balances', async () => {
  const { stripe } = await startMetered();
  expect(await balance(stripe)).toEqual({});
});

test('the balance is the sum of the grants of each currency', async () => {
  const { stripe } = await startMetered();
  await stripe.billing.creditGrants.create(grant(500));
  await stripe.billing.creditGrants.create(grant(250));
  const euros = { type: 'monetary' as const, monetary: { currency: 'eur', value: 100 } };
  await stripe.billing.creditGrants.create(grant(0, { amount: euros }));
  expect(await balance(stripe)).toEqual({ usd: 750, eur: 100 });
});

test('the balance does not fall as tokens are used', async () => {
  const { stripe } = await startMetered();
  await stripe.billing.creditGrants.create(grant(500));
  await stripe.billing.meterEvents.create({ event_name: METER, payload: usage('999999999') });
  expect(await balance(stripe)).toEqual({ usd: 500 });
});

test('the balance falls when an invoice is finalized, by what the credit covers', async () => {
  const { stripe, simulator } = await startMetered();
  simulator.addCredit('cus_demo', 500);
  const { event } = await simulator.trigger('invoice.finalized', { customer: 'cus_demo', total: 700 });
  expect(await balance(stripe)).toEqual({ usd: 0 });
  expect(event.data.object).toMatchObject({ total: 700, amount_due: 200 });
});

test('credit burns by priority, then earlier expiry, then promotional first', async () => {
  const { stripe, simulator } = await startMetered();
  const made = async (more: Partial<Stripe.Billing.CreditGrantCreateParams>) =>
    (await stripe.billing.creditGrants.create(grant(100, more))).id;
  const paid = await made({});
  const promotional = await made({ category: 'promotional' });
  const expiring = await made({ expires_at: NOW + 60 });
  const urgent = await made({ priority: 1 });
  const left: Record<string, number[]> = { urgent: [], expiring: [], promotional: [], paid: [] };
  for (let step = 0; step < 4; step += 1) {
    await simulator.trigger('invoice.finalized', { customer: 'cus_demo', total: 100 });
    for (const [name, id] of Object.entries({ urgent, expiring, promotional, paid })) {
      left[name]?.push(simulator.world.applied.get(id) ?? 0);
    }
  }
  expect(left).toEqual({
    urgent: [100, 100, 100, 100],
    expiring: [0, 100, 100, 100],
    promotional: [0, 0, 100, 100],
    paid: [0, 0, 0, 100],
  });
});

test('a grant that is voided, expired or not yet effective counts nothing', async () => {
  const { stripe, clock } = await startMetered();
  const voided = await stripe.billing.creditGrants.create(grant(1));
  const expired = await stripe.billing.creditGrants.create(grant(2));
  await stripe.billing.creditGrants.create(grant(4, { effective_at: NOW + 60 }));
  await stripe.billing.creditGrants.create(grant(8, { expires_at: NOW + 60 }));
  expect(await stripe.billing.creditGrants.voidGrant(voided.id)).toMatchObject({ voided_at: NOW });
  expect(await stripe.billing.creditGrants.expire(expired.id)).toMatchObject({ expires_at: NOW });
  expect(await balance(stripe)).toEqual({ usd: 8 });
  clock.ms += 60_000;
  expect(await balance(stripe)).toEqual({ usd: 4 });
});

test('a grant is read, listed by customer and given another expiry', async () => {
  const { stripe } = await startMetered();
  const made = await stripe.billing.creditGrants.create(grant(500, { name: 'Welcome' }));
  expect(await stripe.billing.creditGrants.update(made.id, { expires_at: NOW + 9 })).toMatchObject({
    expires_at: NOW + 9,
  });
  expect(await stripe.billing.creditGrants.retrieve(made.id)).toMatchObject({
    name: 'Welcome',
    priority: 50,
    effective_at: NOW,
  });
  expect((await stripe.billing.creditGrants.list({ customer: 'cus_demo' })).data).toHaveLength(1);
  expect((await stripe.billing.creditGrants.list({ customer: 'cus_other' })).data).toHaveLength(0);
});

test('a grant for an unknown customer is refused', async () => {
  const { stripe } = await startMetered();
  const error = await stripeError(stripe.billing.creditGrants.create(grant(1, { customer: 'cus_none' })));
  expect(error).toMatchObject({ statusCode: 404, code: 'resource_missing', param: 'customer' });
});

const alert = (meter: string, gte: number, customer?: string) => ({
  alert_type: 'usage_threshold' as const,
  title: `At ${gte}`,
  usage_threshold: {
    gte,
    meter,
    recurrence: 'one_time' as const,
    ...(customer === undefined ? {} : { filters: [{ type: 'customer' as const, customer }] }),
  },
});

test('an alert fires once, when usage reported after it was made reaches the threshold', async () => {
  const { stripe, simulator, meter } = await startMetered();
  const use = (value: string) =>
    stripe.billing.meterEvents.create({ event_name: METER, payload: usage(value) });
  const fired = () => simulator.world.events.filter(({ type }) => type === 'billing.alert.triggered');
  await use('1000');
  const made = await stripe.billing.alerts.create(alert(meter.id, 10, 'cus_demo'));
  await use('9');
  expect(fired()).toEqual([]);
  await use('1');
  await use('50');
  expect(fired().map(({ data }) => data.object)).toEqual([
    {
      object: 'billing.alert_triggered',
      alert: made,
      created: NOW,
      customer: 'cus_demo',
      livemode: false,
      value: 10,
    },
  ]);
});

test('an alert without a customer fires once for each', async () => {
  const { stripe, simulator, meter } = await startMetered();
  simulator.addCustomer('cus_two');
  await stripe.billing.alerts.create(alert(meter.id, 10));
  for (const customer of ['cus_demo', 'cus_two', 'cus_two']) {
    const payload = usage('10', { stripe_customer_id: customer });
    await stripe.billing.meterEvents.create({ event_name: METER, payload });
  }
  const fired = simulator.world.events.filter(({ type }) => type === 'billing.alert.triggered');
  expect(fired.map(({ data }) => data.object['customer'])).toEqual(['cus_demo', 'cus_two']);
});

test('an inactive alert does not fire', async () => {
  const { stripe, simulator, meter } = await startMetered();
  const made = await stripe.billing.alerts.create(alert(meter.id, 10));
  expect(await stripe.billing.alerts.deactivate(made.id)).toMatchObject({ status: 'inactive' });
  await stripe.billing.meterEvents.create({ event_name: METER, payload: usage('10') });
  expect(simulator.world.events.map(({ type }) => type)).not.toContain('billing.alert.triggered');
});

test('alerts are listed by meter, read, and archived for good', async () => {
  const { stripe, meter } = await startMetered();
  const made = await stripe.billing.alerts.create(alert(meter.id, 10));
  expect((await stripe.billing.alerts.list({ meter: meter.id })).data).toEqual([made]);
  expect((await stripe.billing.alerts.list({ meter: 'mtr_other' })).data).toEqual([]);
  expect(await stripe.billing.alerts.retrieve(made.id)).toMatchObject({ status: 'active' });
  await stripe.billing.alerts.archive(made.id);
  expect((await stripeError(stripe.billing.alerts.activate(made.id))).statusCode).toBe(400);
});

test('the 26th alert of one meter and customer is refused', async () => {
  const { stripe, meter } = await startMetered();
  for (let index = 1; index <= 25; index += 1) {
    await stripe.billing.alerts.create(alert(meter.id, index, 'cus_demo'));
  }
  const error = await stripeError(stripe.billing.alerts.create(alert(meter.id, 26, 'cus_demo')));
  expect(error.statusCode).toBe(400);
  await stripe.billing.alerts.create(alert(meter.id, 26));
});
