/** What callers read of their own usage, and what the operator records beside calls: over HTTP, on a whole gateway. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ config: { limits: { rpm: 1_000 } } });
});
afterAll(() => gateway.close());

let customers = 0;
async function newCustomer(): Promise<{ customer: string; key: string }> {
  const customer = `cus_reads_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  return { customer, key: await gateway.boundKey(customer) };
}

interface Read {
  readonly status: number;
  readonly json: Record<string, never> & { error?: { code: string; param: string | null } };
}
async function read(path: string, key: string, headers: Record<string, string> = {}): Promise<Read> {
  const reply = await fetch(`${gateway.url}${path}`, {
    headers: { authorization: `Bearer ${key}`, ...headers },
  });
  return { status: reply.status, json: (await reply.json()) as Read['json'] };
}
async function call(key: string, model = 'demo/plain'): Promise<string> {
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hi' }] }),
  });
  expect(reply.status).toBe(200);
  await reply.arrayBuffer();
  return reply.headers.get('x-request-id') ?? '';
}

it('GET /v1/credits tells of credit that a customer had before he was seen here', async () => {
  const { customer, key } = await newCustomer();
  gateway.stripe.webhooks.hold();
  gateway.stripe.addCredit(customer, 725);
  const { json } = await read('/v1/credits', key);
  expect(json).toMatchObject({ data: { customer, available_usd: '7.25', has_had_credit: true } });
  await gateway.stripe.webhooks.release();
});

describe('GET /v1/usage', () => {
  it("sums the customer's calls of this month by model and token type", async () => {
    const { customer, key } = await newCustomer();
    await call(key);
    await call(key);
    await call(key, 'openai/plain');
    const { status, json } = await read('/v1/usage', key);
    expect(status).toBe(200);
    expect(json).toMatchObject({
      customer,
      period: { source: 'calendar_month' },
      totals: { calls: 3, input_tokens: 33, output_tokens: 24, cost_usd: '0.000054', unpriced_calls: 1 },
      data: [
        { model: 'demo/plain', token_type: 'input', tokens: 22, calls: 2, cost_usd: null },
        { model: 'demo/plain', token_type: 'output', tokens: 16, calls: 2 },
        { model: 'openai/plain', token_type: 'input', tokens: 11, calls: 1 },
        { model: 'openai/plain', token_type: 'output', tokens: 8, calls: 1 },
      ],
      next_cursor: null,
    });
  });

  it('groups by day and key with what they cost, in pages', async () => {
    const { key } = await newCustomer();
    await call(key);
    await call(key, 'demo/other');
    const day = new Date().toISOString().slice(0, 10);
    const { json } = await read('/v1/usage?group_by=day,key,model&limit=1', key);
    expect(json).toMatchObject({
      data: [{ day, model: 'demo/other', tokens: 19, key_id: key.slice(6, 14) }],
      next_cursor: '1',
    });
    const next = await read('/v1/usage?group_by=day,key,model&limit=1&cursor=1', key);
    expect(next.json).toMatchObject({
      data: [{ model: 'demo/plain', tokens: 19, cost_usd: '0.000027' }],
      next_cursor: null,
    });
  });

  it('counts nothing from outside the period that was asked for', async () => {
    const { key } = await newCustomer();
    await call(key);
    const { json } = await read('/v1/usage?from=2020-01-01&to=2020-02-01T00:00:00Z', key);
    expect(json).toMatchObject({
      period: { start: '2020-01-01T00:00:00.000Z', end: '2020-02-01T00:00:00.000Z', source: 'requested' },
      totals: { calls: 0 },
      data: [],
    });
  });

  it.each([
    ['from=yesterday', 'from'],
    ['from=2026-02-01&to=2026-02-30', 'to'],
    ['from=2026-02-30T12:00:00Z&to=2026-03-10', 'from'],
    ['from=2026-02-01&to=2026-01-01', 'from'],
    ['from=2020-01-01&to=2026-01-01', 'from'],
    ['group_by=colour', 'group_by'],
    ['limit=0', 'limit'],
    ['cursor=x', 'cursor'],
  ])('refuses ?%s by name', async (query, param) => {
    const { key } = await newCustomer();
    expect(await read(`/v1/usage?${query}`, key)).toMatchObject({
      status: 400,
      json: { error: { code: 'invalid_request', param } },
    });
  });

  it('needs a key, and with a service key a customer', async () => {
    expect((await read('/v1/usage', 'sk-fg-nobody')).status).toBe(401);
    expect((await read('/v1/usage', ADMIN_KEY)).status).toBe(401);
    expect((await read('/v1/usage', SERVICE_KEY)).json.error?.code).toBe('customer_required');
    const { customer, key } = await newCustomer();
    await call(key);
    const { json } = await read('/v1/usage', SERVICE_KEY, { 'x-stripe-customer-id': customer });
    expect(json).toMatchObject({ customer, totals: { calls: 1 } });
    const other = await read('/v1/usage', key, { 'x-stripe-customer-id': 'cus_other' });
    expect(other).toMatchObject({ status: 403, json: { error: { code: 'customer_mismatch' } } });
  });
});

describe('GET /v1/generation', () => {
  it("tells one call of the key's own customer, and no other's", async () => {
    const { customer, key } = await newCustomer();
    const stranger = await newCustomer();
    const id = await call(key);
    const { json } = await read(`/v1/generation?id=${id}`, key);
    expect(json).toMatchObject({
      data: {
        id,
        customer,
        model: 'demo/plain',
        usage: { input_tokens: 11, output_tokens: 8 },
        cost_usd: '0.000027',
      },
    });
    expect(await read(`/v1/generation?id=${id}`, stranger.key)).toMatchObject({
      status: 404,
      json: { error: { code: 'not_found' } },
    });
    expect((await read('/v1/generation', key)).status).toBe(400);
  });
});

describe('GET /v1/key', () => {
  it('tells the key what it is and what limits it has, never its secret', async () => {
    const made = await gateway.admin<{ secret: string }>('/keys', {
      method: 'POST',
      body: JSON.stringify({ customer: 'cus_demo', label: 'mine', limits: { tpm: 500, rpm: null } }),
    });
    const { json } = await read('/v1/key', made.secret);
    expect(json).toMatchObject({
      data: {
        customer: 'cus_demo',
        label: 'mine',
        service: false,
        limits: { rpm: null, tpm: 500, concurrency: null },
      },
    });
    expect(JSON.stringify(json)).not.toContain(made.secret);
    expect((await read('/v1/key', SERVICE_KEY)).json).toMatchObject({ data: { id: 'env', customer: null } });
  });
});

describe("a key's own limits", () => {
  it('go before the configuration, and pass on to the key that replaces it', async () => {
    const { customer } = await newCustomer();
    const made = await gateway.running.keys.create({ customer, label: '', limits: { concurrency: 3 } });
    const next = await gateway.running.keys.rotate(made.key.id, 0);
    expect(next?.key.limits).toEqual({ concurrency: 3 });
    const wrong = { method: 'POST', body: JSON.stringify({ customer, limits: { rpm: 0 } }) };
    await expect(gateway.admin('/keys', wrong)).rejects.toThrow('1 or more');
  });
});

const record = (body: object, key = ADMIN_KEY): Promise<Response> =>
  fetch(`${gateway.url}/v1/usage/record`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });

describe('POST /v1/usage/record', () => {
  it('delivers any other unit as one meter event, however often it is sent', async () => {
    const { customer, key } = await newCustomer();
    gateway.stripe.addMeter('documents');
    const body = { customer, event_name: 'documents', value: 3, identifier: 'order-17' };
    expect((await record(body)).status).toBe(201);
    const again = await record(body);
    expect(again.status).toBe(200);
    expect(await again.json()).toMatchObject({ status: 'already', identifier: 'order-17' });
    await gateway.flushed();
    const sums = gateway.stripe.sums().filter((sum) => sum.customer === customer);
    expect(sums).toMatchObject([{ event_name: 'documents', value: 3, dimensions: {} }]);
    expect((await read('/v1/usage', key)).json).toMatchObject({ totals: { calls: 0, input_tokens: 0 } });
  });

  it('takes only usage that there is time left to send', async () => {
    const { customer } = await newCustomer();
    gateway.stripe.addMeter('pages');
    const at = (agoS: number) => ({
      customer,
      event_name: 'pages',
      value: 3,
      identifier: `ago-${String(agoS)}`,
      timestamp: Math.floor(Date.now() / 1000) - agoS,
    });
    const late = await record(at(34 * 86_400 + 60));
    expect([late.status, await late.text()]).toEqual([400, expect.stringContaining('34 days')]);
    expect((await record(at(34 * 86_400 - 3_700))).status).toBe(201);
    await gateway.flushed();
    expect(gateway.stripe.sums().filter((sum) => sum.customer === customer)).toMatchObject([{ value: 3 }]);
  });

  it('refuses another value under the same identifier, and what it cannot bill', async () => {
    const { customer } = await newCustomer();
    const body = { customer, event_name: 'documents', value: 3, identifier: 'one' };
    await record(body);
    expect((await record({ ...body, value: 4 })).status).toBe(400);
    for (const wrong of [
      { value: 0 },
      { value: 1.5 },
      { customer: 'bob' },
      { identifier: '' },
      { timestamp: 1 },
    ])
      expect((await record({ ...body, ...wrong })).status, JSON.stringify(wrong)).toBe(400);
  });

  it.each([1_000_000_000_000_000, '1000000000000000'])(
    'refuses more digits than Stripe takes: %j',
    async (value) => {
      const { customer } = await newCustomer();
      const body = { customer, event_name: 'documents', identifier: 'long' };
      const refused = await record({ ...body, value });
      expect(refused.status).toBe(400);
      expect(await refused.text()).toContain('15 digits at most');
      expect((await record({ ...body, value: 999_999_999_999_999 })).status).toBe(201);
    },
  );

  it('is the operator’s alone', async () => {
    const { customer, key } = await newCustomer();
    const body = { customer, event_name: 'documents', value: 1, identifier: 'mine' };
    expect((await record(body, key)).status).toBe(401);
    expect((await record(body, SERVICE_KEY)).status).toBe(401);
  });
});
