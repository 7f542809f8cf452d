/** Refusals for want of money as callers see them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AccountSettings, GrantFact } from '../../src/ledger/accounts-port.ts';
import { grantOf } from '../support/grants.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

const USD = 1_000_000_000_000n;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    // A picodollar price apart, so that costs tell what they are made of: 11 tokens read, 8 generated.
    config: {
      budget: { top_up_url: 'https://shop.example/top-up?who={customer}' },
      prices: { 'demo/plain': { input: 1, output: 2 }, 'demo/waits': { input: 1, output: 2 } },
    },
    providers: {
      anthropic: { api_key: 'unused-by-these-tests', base_url: 'http://127.0.0.1:9' },
      google: { api_key: 'unused-by-these-tests', base_url: 'http://127.0.0.1:9' },
    },
  });
});
afterAll(() => gateway.close());

let customers = 0;
const newCustomer = (): string => {
  const customer = `cus_money_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  return customer;
};
const grant = (pico: bigint, more: Partial<GrantFact> = {}): GrantFact =>
  grantOf(`credgr_${(customers += 1)}`, pico, more);
async function customerWith(pico: bigint, settings: Partial<AccountSettings> = {}): Promise<string> {
  const customer = newCustomer();
  const { ledger } = gateway.running;
  await ledger.recordGrants({ customer, readAtMs: 1, grants: [grant(pico)] });
  await ledger.changeAccount(customer, settings, 1);
  return customer;
}
const headersOf = (customer: string) => ({
  authorization: `Bearer ${SERVICE_KEY}`,
  'content-type': 'application/json',
  'x-stripe-customer-id': customer,
});
const ask = (customer: string, more: Readonly<Record<string, unknown>> = {}) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: headersOf(customer),
    body: JSON.stringify({ model: 'demo/plain', messages: [{ role: 'user', content: 'hi' }], ...more }),
  });
interface MoneyError {
  readonly error: {
    readonly code: string;
    readonly type: string;
    readonly metadata: Record<string, unknown>;
  };
}
const refusal = async (reply: Response) => {
  const body = (await reply.json()) as MoneyError;
  expect(reply.headers.get('x-faregate-error')).toBe(body.error.code);
  return {
    status: reply.status,
    retry: reply.headers.get('x-should-retry'),
    code: body.error.code,
    metadata: body.error.metadata,
  };
};

describe('a customer with credit', () => {
  it('is served from it, and told what is left', async () => {
    const customer = await customerWith(USD);
    const reply = await ask(customer);
    expect(reply.status).toBe(200);
    expect(reply.headers.get('x-faregate-cost')).toBe('0.000027');
    expect(reply.headers.get('x-faregate-balance')).toBe('0.999973');
    expect(await gateway.running.ledger.balance(customer, Date.now())).toMatchObject({
      availablePico: '999973000000',
      heldPico: '0',
    });
    const [call] = await gateway.calls(customer);
    expect(call).toMatchObject({ cost_usd: '0.000027' });
  });

  it('is told at the head of a stream what he had', async () => {
    const reply = await ask(await customerWith(USD), { stream: true });
    expect(reply.headers.get('x-faregate-balance')).toBe('1.00');
    await reply.text();
  });

  it('is refused once it is used up, with what helps', async () => {
    const customer = await customerWith(27_000_000n);
    expect((await ask(customer)).status).toBe(200);
    expect(await refusal(await ask(customer))).toEqual({
      status: 402,
      retry: 'false',
      code: 'credit_balance_exhausted',
      metadata: {
        limit_source: 'credit_balance',
        balance_usd: '0.00',
        required_usd: expect.stringMatching(/^0\.0000/),
        resets_at: null,
        top_up_url: `https://shop.example/top-up?who=${customer}`,
        remedy_hint: 'Add credit.',
      },
    });
  });

  it('is told where to add credit when an alert of Stripe has fired, too', async () => {
    const customer = await customerWith(USD);
    await gateway.stripe.trigger('billing.alert.triggered', { customer });
    expect(await refusal(await ask(customer))).toMatchObject({
      code: 'alert_triggered',
      metadata: { top_up_url: `https://shop.example/top-up?who=${customer}` },
    });
  });

  it('is refused a call that is dearer than what he has', async () => {
    const customer = await customerWith(USD);
    const { code, metadata } = await refusal(await ask(customer, { max_tokens: 1_000_000 }));
    expect(code).toBe('request_exceeds_balance');
    expect(metadata['balance_usd']).toBe('1.00');
    expect(Number(metadata['required_usd'])).toBeGreaterThan(2);
    expect((await ask(customer, { max_tokens: 100 })).status).toBe(200);
  });

  it('is served again from the moment that he has credit again', async () => {
    const customer = await customerWith(27_000_000n);
    await ask(customer);
    expect((await ask(customer)).status).toBe(402);
    await gateway.running.ledger.recordGrants({ customer, readAtMs: 2, grants: [grant(USD)] });
    expect((await ask(customer)).status).toBe(200);
  });

  it('is refused a model without a price, which others are served', async () => {
    const { status, code } = await refusal(await ask(await customerWith(USD), { model: 'demo/no-price' }));
    expect([status, code]).toEqual([403, 'model_not_priced']);
    expect((await ask(newCustomer(), { model: 'demo/no-price' })).status).toBe(200);
  });

  it('goes on by invoice where the operator lets him', async () => {
    const customer = await customerWith(1n, { onEmpty: 'overage' });
    expect((await ask(customer)).status).toBe(200);
    expect((await ask(customer)).headers.get('x-faregate-balance')).toBe('-0.000053999999');
  });

  it('goes so far below nothing as his grace', async () => {
    const customer = await customerWith(1n, { onEmpty: 'grace', gracePico: '40000000' });
    expect((await ask(customer)).status).toBe(200);
    expect((await ask(customer)).status).toBe(200);
    expect((await refusal(await ask(customer))).code).toBe('credit_balance_exhausted');
  });
});

describe('a request that can be read in two ways', () => {
  it.each(['"max_tokens":5,"max_tokens":90000', '"metadata":{"a":1,"\\u0061":2},"max_tokens":5'])(
    'is refused where money depends on it: %s',
    async (members) => {
      const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: headersOf(await customerWith(USD)),
        body: `{"model":"demo/plain","messages":[],${members}}`,
      });
      expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([400, 'invalid_request']);
    },
  );
});

describe('a strict budget', () => {
  it('holds what the call may cost at most, and refuses what has no bound', async () => {
    const customer = await customerWith(10n * USD, { mode: 'strict' });
    expect((await refusal(await ask(customer))).code).toBe('request_exceeds_balance');
    const tools = [{ type: 'web_search' }];
    const searched = await refusal(await ask(customer, { max_tokens: 5, tools }));
    expect([searched.code, searched.metadata['limit_source']]).toEqual([
      'request_exceeds_balance',
      'web_search',
    ]);
    expect((await ask(customer, { max_tokens: 5 })).status).toBe(200);
  });

  it('waits for a running call and goes on when that has settled', async () => {
    const customer = await customerWith(30_000_000_000n, { mode: 'strict' });
    const held = { model: 'demo/waits', max_tokens: 10_000 };
    const replies = [ask(customer, held), ask(customer, held), ask(customer, held)];
    const releasing = setInterval(() => gateway.upstream.release(), 20);
    const statuses = (await Promise.all(replies)).map(({ status }) => status);
    clearInterval(releasing);
    expect(statuses).toEqual([200, 200, 200]);
  });

  it('tells who waited 2 s in vain to come back', async () => {
    const customer = await customerWith(30_000_000_000n, { mode: 'strict' });
    const held = { model: 'demo/waits', max_tokens: 10_000 };
    const first = ask(customer, held);
    while ((await gateway.running.ledger.balance(customer, 0)).heldPico === '0') await Promise.resolve();
    const startedAtMs = performance.now();
    const second = await ask(customer, held);
    expect(performance.now() - startedAtMs).toBeGreaterThan(1_900);
    expect(second.headers.get('retry-after-ms')).toBe('1000');
    expect(await refusal(second)).toMatchObject({
      status: 402,
      retry: 'true',
      code: 'in_flight_budget_exceeded',
    });
    const releasing = setInterval(() => gateway.upstream.release(), 20);
    expect((await first).status).toBe(200);
    clearInterval(releasing);
  });
});

describe('the operator', () => {
  it('freezes and thaws a customer', async () => {
    const customer = newCustomer();
    const { ledger } = gateway.running;
    expect((await ask(customer)).status).toBe(200);
    await ledger.changeAccount(customer, { frozen: { why: 'fraud' } }, 1);
    expect((await refusal(await ask(customer))).code).toBe('customer_frozen');
    await ledger.changeAccount(customer, { frozen: null }, 1);
    expect((await ask(customer)).status).toBe(200);
  });

  it('gives a customer a budget, whose refusal says when it starts over', async () => {
    const customer = newCustomer();
    const { ledger } = gateway.running;
    await ledger.putBudget(
      { id: `bud_${customer}`, scope: 'customer', subject: customer, span: 'day', limitPico: '27000000' },
      Date.now(),
    );
    expect((await ask(customer)).status).toBe(200);
    const { code, metadata } = await refusal(await ask(customer));
    expect(code).toBe('budget_exceeded');
    expect(metadata).toMatchObject({ limit_source: `bud_${customer}`, balance_usd: '0.00' });
    expect(metadata['resets_at']).toMatch(/^\d{4}-\d\d-\d\dT00:00:00\.000Z$/);
  });

  it('may only look: what does not fit is served and logged', async () => {
    const customer = await customerWith(1n, { mode: 'observe' });
    expect((await ask(customer)).status).toBe(200);
    expect((await ask(customer)).status).toBe(200);
    expect(gateway.log.map((line) => line['event'])).toContain('budget_observed');
  });

  it('refuses whose subscription is not paid, once its grace is over', async () => {
    const customer = newCustomer();
    const reading = {
      customer,
      subscription: { id: 'sub_1', state: 'past_due' },
      period: null,
    };
    const { ledger } = gateway.running;
    // What is read from Stripe at first sight is older.
    const later = Date.now() + 3_600_000;
    const paymentBlock = { atMs: Date.now() + 60_000, why: 'the subscription is past due' };
    await ledger.recordSubscription({ ...reading, readAtMs: later, paymentBlock });
    expect((await ask(customer)).status).toBe(200);
    await ledger.recordSubscription({
      ...reading,
      readAtMs: later + 1,
      paymentBlock: { ...paymentBlock, atMs: 1 },
    });
    expect((await refusal(await ask(customer))).code).toBe('subscription_inactive');
  });
});
