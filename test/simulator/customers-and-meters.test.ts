import { Stripe } from 'stripe';
import { expect, test } from 'vitest';
import { METER, START_MS, startMetered, startSimulator, stripeClient, stripeError } from './start.ts';

test('a customer that was created is read back', async () => {
  const { stripe } = await startSimulator();
  const made = await stripe.customers.create({ name: 'Ada', metadata: { plan: 'pro' } });
  const read = await stripe.customers.retrieve(made.id);
  expect(read).toMatchObject({
    id: made.id,
    name: 'Ada',
    metadata: { plan: 'pro' },
    created: START_MS / 1_000,
  });
});

test('a deleted customer is still answered, marked as deleted and with nothing else', async () => {
  const { stripe } = await startMetered();
  const gone = { id: 'cus_demo', object: 'customer', deleted: true };
  expect(await stripe.customers.del('cus_demo')).toEqual(gone);
  expect(await stripe.customers.retrieve('cus_demo')).toEqual(gone);
});

test('a customer nobody made is a 404 with the code resource_missing', async () => {
  const { stripe } = await startSimulator();
  const error = await stripeError(stripe.customers.retrieve('cus_none'));
  expect(error).toBeInstanceOf(Stripe.errors.StripeInvalidRequestError);
  expect(error).toMatchObject({
    statusCode: 404,
    code: 'resource_missing',
    param: 'id',
    message: "No such customer: 'cus_none'",
  });
});

test('customers are listed newest first, a page at a time, and the SDK walks all pages', async () => {
  const { stripe } = await startSimulator();
  for (const name of ['a', 'b', 'c']) await stripe.customers.create({ name });
  const first = await stripe.customers.list({ limit: 2 });
  expect(first.data.map(({ name }) => name)).toEqual(['c', 'b']);
  expect(first.has_more).toBe(true);
  const all = await stripe.customers.list({ limit: 2 }).autoPagingToArray({ limit: 10 });
  expect(all.map(({ name }) => name)).toEqual(['c', 'b', 'a']);
});

test('changing a customer merges its metadata', async () => {
  const { stripe } = await startSimulator();
  const { id } = await stripe.customers.create({ metadata: { a: '1' } });
  const changed = await stripe.customers.update(id, { email: 'ada@example.com', metadata: { b: '2' } });
  expect(changed).toMatchObject({ email: 'ada@example.com', metadata: { a: '1', b: '2' } });
});

test('a call without a key is a 401', async () => {
  const { url } = await startSimulator();
  const response = await fetch(`${url}/v1/customers`);
  expect(response.status).toBe(401);
  expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
});

test('a key is taken as the user name of Basic too, as curl -u sends it', async () => {
  const { url } = await startSimulator();
  const status = async (credential: string) =>
    (await fetch(`${url}/v1/customers`, { headers: { authorization: `Basic ${credential}` } })).status;
  expect(await status(btoa('sk_test_sandbox:'))).toBe(200);
  expect(await status('%%%')).toBe(401);
});

test('only the configured keys are accepted', async () => {
  const { url } = await startSimulator({ apiKeys: ['rk_test_mine'] });
  await expect(stripeClient(url, 'rk_test_mine').customers.list()).resolves.toBeDefined();
  const error = await stripeError(stripeClient(url, 'sk_test_other').customers.list());
  expect(error).toBeInstanceOf(Stripe.errors.StripeAuthenticationError);
});

test('a live key is refused, so that it cannot be taken for Stripe', async () => {
  const { url } = await startSimulator();
  const error = await stripeError(stripeClient(url, 'sk_live_real').customers.list());
  expect(error.statusCode).toBe(401);
});

test('every answer carries a request id, and the date of the simulator', async () => {
  const { stripe } = await startSimulator();
  const { lastResponse } = await stripe.customers.list();
  expect(lastResponse.requestId).toMatch(/^req_/);
  expect(lastResponse.headers['date']).toBe(new Date(START_MS).toUTCString());
});

test('an unknown route is a 404 in the words of Stripe', async () => {
  const { stripe } = await startSimulator();
  const error = await stripeError(stripe.products.list());
  expect(error.message).toContain('Unrecognized request URL (GET: /v1/products)');
});

test('an unknown parameter is refused by name', async () => {
  const { stripe } = await startSimulator();
  const error = await stripeError(stripe.customers.create({ nickname: 'x' } as Stripe.CustomerCreateParams));
  expect(error).toMatchObject({ statusCode: 400, code: 'parameter_unknown', param: 'nickname' });
});

test('a meter is created, listed, deactivated and reactivated', async () => {
  const { stripe } = await startSimulator();
  const meter = await stripe.billing.meters.create({
    display_name: 'Tokens',
    event_name: METER,
    default_aggregation: { formula: 'sum' },
  });
  expect(meter).toMatchObject({
    status: 'active',
    customer_mapping: { event_payload_key: 'stripe_customer_id', type: 'by_id' },
    value_settings: { event_payload_key: 'value' },
  });
  const off = await stripe.billing.meters.deactivate(meter.id);
  expect(off).toMatchObject({ status: 'inactive', status_transitions: { deactivated_at: START_MS / 1_000 } });
  expect((await stripe.billing.meters.list({ status: 'inactive' })).data).toHaveLength(1);
  expect((await stripe.billing.meters.reactivate(meter.id)).status_transitions.deactivated_at).toBeNull();
  expect(await stripe.billing.meters.retrieve(meter.id)).toMatchObject({ status: 'active' });
});

test('a second active meter of one event name is refused', async () => {
  const { stripe } = await startMetered();
  const error = await stripeError(
    stripe.billing.meters.create({
      display_name: 'Again',
      event_name: METER,
      default_aggregation: { formula: 'sum' },
    }),
  );
  expect(error).toMatchObject({ statusCode: 400, param: 'event_name' });
});
