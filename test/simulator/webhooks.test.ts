import { expect, test } from 'vitest';
import { TRIGGER_TYPES } from '../../src/simulator/stripe.ts';
import { SECRET, START_MS, startMetered, startReceiver, stripeError, type Received } from './start.ts';

const NOW = START_MS / 1_000;

/** A metered simulator whose webhooks go to a receiver. */
async function startDelivering(statuses: number[] = []) {
  const receiver = await startReceiver(statuses);
  return { ...(await startMetered({ webhookUrl: receiver.webhookUrl })), ...receiver };
}

const eventOf = ({ body }: Received): { id: string; type: string } =>
  JSON.parse(body) as { id: string; type: string };

const order = async (url: string, path: string, body: unknown): Promise<Response> =>
  fetch(`${url}/_simulator/${path}`, { method: 'POST', body: JSON.stringify(body) });

test('a triggered alert arrives as an event the SDK verifies', async () => {
  const { simulator, stripe, received } = await startDelivering();
  const { deliveries } = await simulator.trigger('billing.alert.triggered', { customer: 'cus_demo' });
  expect(deliveries).toMatchObject([{ status: 200, attempt: 1, detail: 'seen' }]);
  const [first] = received;
  const event = stripe.webhooks.constructEvent(
    first?.body ?? '',
    first?.signature ?? '',
    SECRET,
    300,
    undefined,
    START_MS,
  );
  expect(event).toMatchObject({
    object: 'event',
    type: 'billing.alert.triggered',
    created: NOW,
    pending_webhooks: 1,
    data: {
      object: {
        object: 'billing.alert_triggered',
        customer: 'cus_demo',
        value: 1_000_000,
        alert: { object: 'billing.alert', alert_type: 'usage_threshold', status: 'active' },
      },
    },
  });
});

test('a triggered alert can be read through the API', async () => {
  const { simulator, stripe } = await startDelivering();
  const { event } = await simulator.trigger('billing.alert.triggered');
  const { id } = event.data.object['alert'] as { id: string };
  expect(await stripe.billing.alerts.retrieve(id)).toMatchObject({ id });
});

test('the recovery is of the alert that fired', async () => {
  const { simulator } = await startDelivering();
  const fired = await simulator.trigger('billing.alert.triggered');
  const recovered = await simulator.trigger('billing.alert.recovered');
  expect(recovered.event.data.object).toMatchObject({
    object: 'billing.alert_recovered',
    alert: fired.event.data.object['alert'],
  });
});

test('an alert can be named by id or described', async () => {
  const { simulator } = await startDelivering();
  const first = await simulator.trigger('billing.alert.triggered', {
    alert: { id: 'alrt_low', title: 'Low', alert_type: 'credit_balance_threshold', usage_threshold: null },
  });
  expect(first.event.data.object['alert']).toMatchObject({ id: 'alrt_low', title: 'Low' });
  const second = await simulator.trigger('billing.alert.triggered', { alert: 'alrt_low', value: 5 });
  expect(second.event.data.object).toMatchObject({ value: 5, alert: { id: 'alrt_low' } });
});

test('triggering a credit grant really grants', async () => {
  const { simulator, stripe } = await startDelivering();
  const { event } = await simulator.trigger('billing.credit_grant.created', {
    customer: 'cus_demo',
    amount: { monetary: { value: 1_200 } },
  });
  const grant = await stripe.billing.creditGrants.retrieve(String(event.data.object['id']));
  expect(grant.amount.monetary).toEqual({ currency: 'usd', value: 1_200 });
});

test('a change of a credit grant is told with what it was before', async () => {
  const { simulator, stripe } = await startDelivering();
  const { event } = await simulator.trigger('billing.credit_grant.created', { customer: 'cus_demo' });
  const id = String(event.data.object['id']);
  const told = await simulator.trigger('billing.credit_grant.updated', {
    customer: 'cus_demo',
    id,
    priority: 1,
  });
  expect(told.event.data.previous_attributes).toMatchObject({ priority: 50 });
  await stripe.billing.creditGrants.voidGrant(id);
  const { data } = await stripe.events.list({ type: 'billing.credit_grant.updated', limit: 1 });
  expect(data[0]?.data.previous_attributes).toMatchObject({ voided_at: null });
  expect(data[0]?.data.previous_attributes).not.toHaveProperty('priority');
});

test('triggering the deletion of a customer really deletes', async () => {
  const { simulator, stripe } = await startDelivering();
  await simulator.trigger('customer.deleted', { customer: 'cus_demo' });
  expect(await stripe.customers.retrieve('cus_demo')).toMatchObject({ deleted: true });
});

test('triggering the creation of a customer with an id creates it', async () => {
  const { simulator, stripe } = await startDelivering();
  await simulator.trigger('customer.created', { customer: 'cus_new' });
  expect(await stripe.customers.retrieve('cus_new')).toMatchObject({ id: 'cus_new' });
});

test('a paid invoice tells its reason, its period and its subscription', async () => {
  const { simulator } = await startDelivering();
  const { event } = await simulator.trigger('invoice.paid', { billing_reason: 'subscription_create' });
  expect(event.data.object).toMatchObject({
    object: 'invoice',
    status: 'paid',
    customer: 'cus_demo',
    billing_reason: 'subscription_create',
    period_start: NOW - 30 * 86_400,
    period_end: NOW,
    parent: { subscription_details: { subscription: 'sub_demo' } },
  });
});

test.each(TRIGGER_TYPES.map((type) => [type]))('%s can be triggered by HTTP', async (type) => {
  const { simulator, url, received } = await startDelivering();
  simulator.addCredit('cus_demo', 500);
  const response = await order(url, 'trigger', { type, customer: 'cus_demo' });
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ event: { type }, deliveries: [{ status: 200 }] });
  expect(received.map((one) => eventOf(one).type)).toContain(type);
});

test('a type that cannot be triggered is refused with those that can', async () => {
  const { url } = await startDelivering();
  const response = await order(url, 'trigger', { type: 'charge.captured' });
  expect(response.status).toBe(400);
  expect(await response.text()).toContain('billing.alert.triggered');
});

test('a customer that does not exist cannot be triggered for', async () => {
  const { url } = await startDelivering();
  const response = await order(url, 'trigger', { type: 'invoice.paid', customer: 'cus_none' });
  expect(response.status).toBe(404);
});

test('a failing delivery is tried again until it succeeds, with the same event', async () => {
  const { simulator, received } = await startDelivering([500, 503]);
  const { deliveries } = await simulator.trigger('invoice.paid');
  expect(deliveries).toMatchObject([{ status: 500 }]);
  await simulator.webhooks.settled();
  expect(simulator.webhooks.deliveries.map(({ status, attempt }) => [attempt, status])).toEqual([
    [1, 500],
    [2, 503],
    [3, 200],
  ]);
  expect(new Set(received.map((one) => eventOf(one).id)).size).toBe(1);
});

test('an endpoint that is not there is a delivery without a status', async () => {
  const { simulator } = await startMetered({ webhookUrl: 'http://127.0.0.1:1/webhooks/stripe' });
  const { deliveries } = await simulator.trigger('invoice.paid');
  expect(deliveries).toMatchObject([{ status: null, attempt: 1 }]);
  await simulator.webhooks.settled();
  expect(simulator.webhooks.deliveries).toHaveLength(3);
});

test('an event can be sent several times over', async () => {
  const { url, received } = await startDelivering();
  await order(url, 'trigger', { type: 'invoice.paid', delivery: { duplicates: 2 } });
  expect(new Set(received.map((one) => eventOf(one).id)).size).toBe(1);
  expect(received).toHaveLength(3);
});

test('events that are held arrive in the reverse order when told so', async () => {
  const { simulator, url, received } = await startDelivering();
  await order(url, 'webhooks', { action: 'hold' });
  await simulator.trigger('billing.alert.triggered');
  await simulator.trigger('billing.alert.recovered');
  expect(received).toEqual([]);
  await order(url, 'webhooks', { action: 'release', order: 'reversed' });
  expect(received.map((one) => eventOf(one).type)).toEqual([
    'billing.alert.recovered',
    'billing.alert.triggered',
  ]);
});

test('a signature can be made stale or wrong', async () => {
  const { simulator, stripe, received } = await startDelivering();
  await simulator.trigger('invoice.paid', {}, { signedAtOffsetSeconds: -301 });
  await simulator.trigger('invoice.paid', {}, { badSignature: true });
  for (const { body, signature } of received) {
    const verify = () => stripe.webhooks.constructEvent(body, signature, SECRET, 300, undefined, START_MS);
    expect(verify).toThrow(/timestamp|signature/i);
  }
  expect(received).toHaveLength(2);
});

test('an endpoint made through the API gets the types it asked for, signed with its own secret', async () => {
  const { stripe, simulator } = await startMetered();
  const { webhookUrl, received } = await startReceiver();
  const endpoint = await stripe.webhookEndpoints.create({
    url: webhookUrl,
    enabled_events: ['invoice.paid'],
  });
  await simulator.trigger('invoice.paid');
  await simulator.trigger('invoice.voided');
  await simulator.webhooks.settled();
  expect(received).toHaveLength(1);
  const [{ body, signature } = { body: '', signature: '' }] = received;
  const secret = endpoint.secret ?? '';
  expect(() =>
    stripe.webhooks.constructEvent(body, signature, secret, 300, undefined, START_MS),
  ).not.toThrow();
  expect((await stripe.webhookEndpoints.list()).data[0]?.secret).toBeUndefined();
});

test('an endpoint made for the given URL is the same endpoint, not a second one', async () => {
  const { stripe, simulator, webhookUrl, received } = await startDelivering();
  const endpoint = await stripe.webhookEndpoints.create({ url: webhookUrl, enabled_events: ['*'] });
  expect(endpoint.secret).toBe(SECRET);
  await simulator.trigger('invoice.voided');
  expect(received.map((one) => eventOf(one).type)).toEqual(['invoice.voided']);
});

test('events are listed newest first, by type, and read by id', async () => {
  const { simulator, stripe } = await startDelivering();
  const { event } = await simulator.trigger('invoice.paid');
  await simulator.trigger('customer.subscription.updated');
  const { data } = await stripe.events.list({ types: ['invoice.paid', 'customer.subscription.updated'] });
  expect(data.map(({ type }) => type)).toEqual(['customer.subscription.updated', 'invoice.paid']);
  expect(data[0]?.data.previous_attributes).toEqual({ status: 'active' });
  expect(await stripe.events.retrieve(event.id)).toMatchObject({ id: event.id, type: 'invoice.paid' });
  expect((await stripeError(stripe.events.retrieve('evt_none'))).statusCode).toBe(404);
});

test('what changes through the API is told by webhook', async () => {
  const { stripe, simulator, received } = await startDelivering();
  await stripe.customers.del('cus_demo');
  await simulator.webhooks.settled();
  expect(received.map((one) => eventOf(one).type)).toEqual(['customer.deleted']);
});
