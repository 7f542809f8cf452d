/** Buying credit through a whole gateway: sockets, the Stripe simulator, webhooks, calls refused and served again. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { signWebhook } from '../../src/simulator/webhooks.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    config: {
      budget: { top_up_link: { base_url: 'https://gate.example' } },
      plans: { refills: { auto_top_up: { below: '2.00', amount: '10.00' } } },
      prices: { 'demo/plain': { input: 1, output: 2 }, 'demo/dear': { input: 50_000, output: 50_000 } },
    },
  });
});
afterAll(() => gateway.close());

const post = <T>(path: string, body: object) =>
  gateway.admin<T>(path, { method: 'POST', body: JSON.stringify(body) });

let customers = 0;
async function customerWith(cents: number): Promise<string> {
  const customer = `cus_buys_${String((customers += 1))}`;
  gateway.stripe.addCustomer(customer);
  if (cents > 0) gateway.stripe.addCredit(customer, cents);
  return customer;
}
const ask = (customer: string, model = 'demo/plain') =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'content-type': 'application/json',
      'x-stripe-customer-id': customer,
    },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
  });
const linkIn = async (reply: Response): Promise<string> => {
  const body = (await reply.json()) as { error: { metadata: { top_up_url: string } } };
  return new URL(body.error.metadata.top_up_url).pathname;
};
const open = (path: string) => fetch(`${gateway.url}${path}`, { redirect: 'manual' });
const bought = (customer: string) =>
  [...gateway.stripe.world.grants.values()].filter(
    (grant) => grant.customer === customer && 'faregate_top_up' in grant.metadata,
  );
/** The customer, out of credit, and the checkout that his refusal's link led to. */
async function refused() {
  const customer = await customerWith(1);
  const key = await gateway.boundKey(customer);
  expect((await ask(customer, 'demo/dear')).status).toBe(402);
  const reply = await ask(customer, 'demo/dear');
  expect(reply.status).toBe(402);
  const link = await linkIn(reply);
  const opened = await open(link);
  expect(opened.status).toBe(303);
  const url = opened.headers.get('location') ?? '';
  return { customer, key, link, url, session: url.split('/').at(-1) ?? '' };
}
async function sendWebhook(event: object): Promise<void> {
  const body = JSON.stringify(event);
  const headers = { 'stripe-signature': signWebhook(body, 'whsec_tests', Math.floor(Date.now() / 1_000)) };
  const reply = await fetch(`${gateway.url}/webhooks/stripe`, { method: 'POST', headers, body });
  expect(reply.status).toBe(200);
}
const served = (customer: string) =>
  vi.waitFor(
    async () =>
      expect((await gateway.running.ledger.balance(customer, Date.now())).creditPico).not.toBe('10000000000'),
    { timeout: 5_000, interval: 20 },
  );

describe('a refusal’s link', () => {
  it('leads to a checkout; once it is paid, calls are served', async () => {
    const { customer, url } = await refused();
    expect((await fetch(url, { method: 'POST', redirect: 'manual' })).status).toBe(303);
    await served(customer);
    expect(bought(customer)).toMatchObject([{ amount: { monetary: { value: 1_000 } } }]);
    expect((await ask(customer)).status).toBe(200);
    expect((await open('/top-up/paid')).status).toBe(200);
  });

  it('costs the refusal no question to Stripe', async () => {
    const customer = await customerWith(1);
    expect((await ask(customer, 'demo/dear')).status).toBe(402);
    const before = gateway.stripe.requests.filter(({ path }) => path.startsWith('/v1/checkout')).length;
    await ask(customer, 'demo/dear');
    const after = gateway.stripe.requests.filter(({ path }) => path.startsWith('/v1/checkout')).length;
    expect(after).toBe(before);
  });

  it('grants once, although the webhook comes five times', async () => {
    const { customer, session } = await refused();
    await gateway.stripe.trigger('checkout.session.completed', { customer, id: session }, { duplicates: 4 });
    await served(customer);
    const event = gateway.stripe.world.events.findLast(({ type }) => type === 'checkout.session.completed');
    for (let again = 0; again < 3; again += 1)
      await sendWebhook({ ...event, id: `evt_again${String(again)}` });
    await gateway.running.gateway.topUps.pass();
    expect(bought(customer)).toHaveLength(1);
    const { data } = await gateway.admin<{ data: object[] }>(`/customers/${customer}/top-ups`);
    expect(data).toMatchObject([{ kind: 'link', state: 'granted', payment: session, amount_usd: '10.00' }]);
  });

  it('is not paid by an event that says so: the session is read', async () => {
    const { customer, session } = await refused();
    const told = {
      ...gateway.stripe.world.sessions.get(session),
      status: 'complete',
      payment_status: 'paid',
    };
    const event = { id: 'evt_early', object: 'event', type: 'checkout.session.completed', created: 1 };
    await sendWebhook({ ...event, data: { object: told } });
    await gateway.running.gateway.topUps.pass();
    expect(bought(customer)).toEqual([]);
  });

  it('grants without any webhook, when the session is looked at', async () => {
    const { customer, url } = await refused();
    gateway.stripe.webhooks.hold();
    await fetch(url, { method: 'POST', redirect: 'manual' });
    const { data } = await gateway.admin<{ data: { id: string }[] }>(`/customers/${customer}/top-ups`);
    // Its time comes 30 s after it was opened.
    await gateway.running.ledger.hastenTopUp(data[0]?.id ?? '', 0);
    await gateway.running.gateway.topUps.pass();
    expect(bought(customer)).toHaveLength(1);
    await gateway.stripe.webhooks.release('reversed');
    await gateway.running.gateway.topUps.pass();
    expect(bought(customer)).toHaveLength(1);
  });

  it('paid by a way that takes days is granted when the money came, whatever comes first', async () => {
    const { customer, session } = await refused();
    gateway.stripe.webhooks.hold();
    const given = { customer, id: session };
    await gateway.stripe.trigger('checkout.session.completed', { ...given, payment_status: 'unpaid' });
    await gateway.stripe.trigger('checkout.session.async_payment_succeeded', given);
    await gateway.stripe.webhooks.release('reversed');
    await served(customer);
    expect(bought(customer)).toHaveLength(1);
  });

  it('is taken up by a ledger that has forgotten it', async () => {
    const { customer, session } = await refused();
    const metadata = gateway.stripe.world.sessions.get(session)?.metadata ?? {};
    metadata['faregate_top_up'] = 'top_0000000000000000000forgot0';
    await gateway.stripe.trigger('checkout.session.completed', { customer, id: session });
    await served(customer);
    expect(bought(customer)).toMatchObject([{ metadata: { faregate_payment: session } }]);
  });

  it('of a shop of the operator’s own is left alone', async () => {
    const customer = await customerWith(1);
    await gateway.stripe.trigger('checkout.session.completed', { customer });
    await gateway.running.gateway.topUps.pass();
    const { data } = await gateway.admin<{ data: object[] }>(`/customers/${customer}/top-ups`);
    expect([data, bought(customer)]).toEqual([[], []]);
  });

  it('is refused when somebody changed it', async () => {
    const reply = await open('/top-up/cus_demo.zzzzzz.0000');
    expect([reply.status, reply.headers.get('cache-control')]).toEqual([403, 'no-store']);
  });
});

describe('a plan that tops up by itself', () => {
  it('charges once for 64 calls that cross the threshold at once, off their way', async () => {
    const customer = await customerWith(205);
    const { stripe } = gateway;
    const client = await import('../simulator/start.ts').then(({ stripeClient }) => stripeClient(stripe.url));
    const { id } = await client.paymentMethods.attach('pm_card_visa', { customer });
    await client.customers.update(customer, { invoice_settings: { default_payment_method: id } });
    await gateway.admin(`/customers/${customer}`, {
      method: 'POST',
      body: JSON.stringify({ plan: 'refills', mode: 'observe' }),
    });
    stripe.faults.add({ route: 'POST /v1/payment_intents', kind: 'slow', delayMs: 300, times: 1 });
    const replies = await Promise.all(Array.from({ length: 64 }, () => ask(customer, 'demo/dear')));
    expect(replies.every(({ status }) => status === 200)).toBe(true);
    await vi.waitFor(() => expect(bought(customer)).toHaveLength(1), { timeout: 5_000, interval: 20 });
    const charges = [...stripe.world.paymentIntents.values()].filter((one) => one.customer === customer);
    expect(charges.map(({ status, amount }) => [status, amount])).toEqual([['succeeded', 1_000]]);
  });
});

describe('the operator', () => {
  it('gets a checkout for a customer, charges him, and sees what became of it', async () => {
    const customer = await customerWith(1);
    const path = `/customers/${customer}/top-ups`;
    expect(await post(path, { amount_usd: '25.00' })).toMatchObject({
      customer,
      url: expect.stringContaining('/checkout/cs_test_'),
    });
    expect(await post(path, { amount_usd: 5, charge: true })).toMatchObject({ amount_usd: '5.00' });
    await vi.waitFor(
      async () =>
        expect((await gateway.admin<{ data: object[] }>(path)).data).toMatchObject([
          { kind: 'operator', state: 'failed', failure: 'no_payment_method' },
          { kind: 'link', state: 'waiting', amount_usd: '25.00' },
        ]),
      { timeout: 5_000, interval: 20 },
    );
    for (const body of [{ charge: true }, { amount_usd: '0.10' }, { amount_usd: 'x' }, { other: 1 }])
      await expect(post(path, body)).rejects.toThrow(': 400 ');
  });

  it('gives one customer a rule of his own, turns it off, and takes it back', async () => {
    const customer = await customerWith(1);
    const path = `/customers/${customer}/auto-top-up`;
    const rule = { below: '1.00', amount: '7.50', max_per_day: 1, cool_down: '2h' };
    const shown = { below_usd: '1.00', amount_usd: '7.50', max_per_day: 1, cool_down_seconds: 7_200 };
    expect(await post(path, { rule })).toEqual({ customer, rule: shown });
    expect(await post(path, { rule: 'off' })).toEqual({ customer, rule: 'off' });
    expect(await post(path, { rule: null })).toEqual({ customer, rule: null });
    await expect(post(path, { rule: { below: '1' } })).rejects.toThrow(': 400 ');
    await expect(post(path, {})).rejects.toThrow(': 400 ');
  });
});
