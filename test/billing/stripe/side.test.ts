/** Customers' money as Stripe tells of it, on a whole gateway beside the simulator: first sight, webhooks, lost webhooks. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Account, Balance } from '../../../src/ledger/accounts-port.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

let customers = 0;
function newCustomer(): string {
  const customer = `cus_side_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  return customer;
}
const account = (customer: string): Promise<Account | undefined> => gateway.running.ledger.account(customer);
const balance = (customer: string): Promise<Balance> => gateway.running.ledger.balance(customer, Date.now());

/** What is due is read; the webhooks themselves were answered before `trigger` resolved. */
const read = (): Promise<number | undefined> => gateway.running.gateway.side.refresher.pass();

async function call(customer: string): Promise<number> {
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': customer },
    body: JSON.stringify({ model: 'demo/plain', messages: [] }),
  });
  await reply.arrayBuffer();
  return reply.status;
}

const USD = (dollars: number): string => String(BigInt(dollars) * 1_000_000_000_000n);

describe('at the first sight of a customer', () => {
  it('the credit that he had before the gateway was there is on record before he is served', async () => {
    const customer = newCustomer();
    gateway.stripe.addCredit(customer, 500);
    gateway.stripe.addCredit(customer, 250);
    expect(await call(customer)).toBe(200);
    const { grants } = await balance(customer);
    expect(grants.map(({ amountPico }) => amountPico).sort()).toEqual(['2500000000000', USD(5)]);
    expect(await account(customer)).toMatchObject({
      hasHadGrant: true,
      stripe: { availablePico: '7500000000000' },
    });
  });

  it('no account is made of who has neither credit nor subscription', async () => {
    const customer = newCustomer();
    expect(await call(customer)).toBe(200);
    expect(await account(customer)).toBeUndefined();
  });
});

describe('a webhook', () => {
  it('of a new grant adds its balance, and of its end takes it away', async () => {
    const customer = newCustomer();
    await gateway.stripe.trigger('billing.credit_grant.created', { customer });
    await read();
    expect(await balance(customer)).toMatchObject({ creditPico: USD(5) });
    const voided = Math.floor(Date.now() / 1_000);
    await gateway.stripe.trigger('billing.credit_grant.updated', { customer, voided_at: voided });
    await read();
    expect(await balance(customer)).toMatchObject({ creditPico: '0' });
  });

  it('of a finalised invoice leaves what the invoice took of each grant, in Stripe’s order', async () => {
    const customer = newCustomer();
    const grant = { customer, amount: { type: 'monetary', monetary: { currency: 'usd', value: 300 } } };
    await gateway.stripe.trigger('billing.credit_grant.created', { ...grant, priority: 10 });
    await gateway.stripe.trigger('billing.credit_grant.created', { ...grant, priority: 20 });
    await gateway.stripe.trigger('invoice.finalized', { customer, total: 400 });
    await read();
    const { grants, creditPico } = await balance(customer);
    expect(grants.map(({ priority, balancePico }) => [priority, balancePico])).toEqual([
      [10, '0'],
      [20, USD(2)],
    ]);
    expect(creditPico).toBe(USD(2));
    expect((await account(customer))?.finalisedThroughMs).toBeGreaterThan(0);
  });

  it('of a grant’s end leaves what invoices had taken of it: a call may still run that it pays for', async () => {
    const customer = newCustomer();
    await gateway.stripe.trigger('billing.credit_grant.created', { customer });
    await gateway.stripe.trigger('invoice.finalized', { customer, total: 400 });
    await read();
    const ended = Math.floor(Date.now() / 1_000);
    await gateway.stripe.trigger('billing.credit_grant.updated', { customer, expires_at: ended });
    await read();
    const { creditPico, grants } = await balance(customer);
    expect(creditPico).toBe('0');
    expect(grants).toMatchObject([{ amountPico: USD(5), balancePico: USD(1) }]);
  });

  it('of a subscription sets and lifts the block by how it stands, in whatever order events come', async () => {
    const customer = newCustomer();
    const { stripe } = gateway;
    stripe.webhooks.hold();
    await stripe.trigger('customer.subscription.created', { customer });
    await stripe.trigger('customer.subscription.updated', { customer });
    await stripe.webhooks.release('reversed');
    await read();
    expect(await account(customer)).toMatchObject({
      subscription: { state: 'past_due' },
      paymentBlock: { why: 'subscription past_due' },
    });
    stripe.webhooks.hold();
    await stripe.trigger('customer.subscription.updated', { customer, status: 'active' });
    await stripe.trigger('customer.subscription.updated', { customer, status: 'active' });
    await stripe.webhooks.release('reversed');
    await read();
    const now = await account(customer);
    expect(now).toMatchObject({ subscription: { state: 'active' }, paymentBlock: null });
    expect(now?.period?.endMs).toBeGreaterThan(Date.now());
  });

  it.each([0, 1_000])(
    'of a subscription that was only begun lifts no block (readings that Stripe refuses: %i)',
    async (times) => {
      const customer = newCustomer();
      const { stripe } = gateway;
      if (times > 0) stripe.faults.add({ kind: 'forbidden', route: 'GET /v1/subscriptions', times });
      await stripe.trigger('customer.subscription.updated', { customer });
      await read();
      const begun = { customer, id: `sub_new_${customer}`, status: 'incomplete' };
      await stripe.trigger('customer.subscription.created', begun);
      await read();
      expect(await account(customer)).toMatchObject({ paymentBlock: { why: 'subscription past_due' } });
      await stripe.trigger('customer.subscription.updated', { ...begun, status: 'active' });
      await read();
      stripe.faults.clear();
      expect((await account(customer))?.paymentBlock).toBeNull();
    },
  );

  it('of a payment that failed blocks until that invoice is paid', async () => {
    const customer = newCustomer();
    const { stripe } = gateway;
    await stripe.trigger('invoice.payment_failed', { customer });
    await stripe.trigger('customer.subscription.updated', { customer, status: 'unpaid' });
    await read();
    expect((await account(customer))?.paymentBlock).not.toBeNull();
    await stripe.trigger('invoice.paid', { customer });
    await read();
    expect((await account(customer))?.paymentBlock).toBeNull();
  });

  it('that comes while Stripe cannot be read is not forgotten: the reading is tried again', async () => {
    const customer = newCustomer();
    const { stripe } = gateway;
    stripe.faults.add({ kind: 'server_error', route: 'GET /v1/subscriptions', times: 1 });
    await stripe.trigger('customer.subscription.updated', { customer, status: 'active' });
    await read();
    const next = await gateway.running.ledger.nextReadingMs();
    expect(next).toBeDefined();
    const [due] = await gateway.running.ledger.dueReadings(Number.MAX_SAFE_INTEGER, 10);
    expect(due).toEqual({ customer, attempts: 1 });
    await gateway.running.ledger.wantReading(customer, Date.now());
    await read();
    expect(await account(customer)).toMatchObject({ subscription: { state: 'active' } });
    expect(await gateway.running.ledger.nextReadingMs()).toBeUndefined();
  });

  it('that Stripe does not let be read further counts for what it says itself', async () => {
    const customer = newCustomer();
    const { stripe } = gateway;
    stripe.faults.add({ kind: 'forbidden', route: 'GET /v1/subscriptions', times: 1 });
    await stripe.trigger('customer.subscription.updated', { customer });
    await read();
    expect(await account(customer)).toMatchObject({ paymentBlock: { why: 'subscription past_due' } });
  });
});

describe('webhooks that never came', () => {
  it('keep nobody out: who is refused is read again', async () => {
    const customer = newCustomer();
    gateway.stripe.addCredit(customer, 100);
    expect(await codeOf(customer)).toBe('200');
    await gateway.stripe.trigger('invoice.finalized', { customer, total: 100 });
    await read();
    // No event is sent of this one.
    gateway.stripe.addCredit(customer, 500);
    expect(await codeOf(customer)).toBe('credit_balance_exhausted');
    await read();
    expect(await codeOf(customer)).toBe('200');
  });

  it('are found in the list of events and applied, once', async () => {
    const customer = newCustomer();
    const { stripe, log } = gateway;
    const { poll } = gateway.running.gateway.side;
    await poll();
    const before = log.length;
    stripe.sendWebhooksTo('http://127.0.0.1:9/nowhere');
    await stripe.trigger('billing.alert.triggered', { customer });
    await stripe.trigger('billing.credit_grant.created', { customer: newCustomer() });
    stripe.sendWebhooksTo(`${gateway.url}/webhooks/stripe`);
    expect(await call(customer)).toBe(200);
    await poll();
    expect(await call(customer)).toBe(402);
    expect(await poll()).toBe(20_000);
    const made = log.slice(before).filter(({ event }) => event === 'webhooks_made_up_for');
    expect(made).toMatchObject([{ events: 2 }]);
  });
});

const codeOf = async (customer: string): Promise<string> => {
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': customer },
    body: JSON.stringify({ model: 'demo/plain', messages: [], max_tokens: 9 }),
  });
  await reply.arrayBuffer();
  return reply.headers.get('x-faregate-error') ?? String(reply.status);
};

describe('a caller', () => {
  it('is refused once his subscription is past due, and served again once it is active', async () => {
    const customer = newCustomer();
    expect(await codeOf(customer)).toBe('200');
    await gateway.stripe.trigger('customer.subscription.updated', { customer });
    await read();
    expect(await codeOf(customer)).toBe('subscription_inactive');
    await gateway.stripe.trigger('customer.subscription.updated', { customer, status: 'active' });
    await read();
    expect(await codeOf(customer)).toBe('200');
  });

  it('is refused once his credit is used up by an invoice, and served again within a new grant’s webhook', async () => {
    const customer = newCustomer();
    gateway.stripe.addCredit(customer, 100);
    expect(await codeOf(customer)).toBe('200');
    await gateway.stripe.trigger('invoice.finalized', { customer, total: 100 });
    await read();
    expect(await codeOf(customer)).toBe('credit_balance_exhausted');
    await gateway.stripe.trigger('billing.credit_grant.created', { customer });
    await read();
    expect(await codeOf(customer)).toBe('200');
  });
});
