/** Customers, credit and budgets as the operator sees and changes them: by the admin routes and by the command line. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, SERVICE_KEY, startTestGateway, type TestGateway } from './support/gateway.ts';
import { temporaryDirectory } from './support/sqlite.ts';

const BIN = new URL('../bin/faregate.mjs', import.meta.url).pathname;
const folder = temporaryDirectory();
const database = `sqlite:${join(folder, 'ledger.db')}`;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ env: { DATABASE_URL: database } });
});
afterAll(async () => {
  await gateway.close();
  rmSync(folder, { recursive: true });
});

let customers = 0;
function newCustomer(): string {
  const customer = `cus_money_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  return customer;
}
async function admin(
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; json: unknown }> {
  const reply = await fetch(`${gateway.url}/admin/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: reply.status, json: await reply.json() };
}
async function ask(
  path: string,
  customer: string,
  body?: object,
): Promise<{ status: number; json: unknown }> {
  const reply = await fetch(`${gateway.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': customer },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: reply.status, json: await reply.json() };
}
const call = (customer: string) =>
  ask('/v1/chat/completions', customer, { model: 'demo/plain', messages: [] });

/** The command as a shell would run it, beside the running gateway. */
function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'] ?? '', DATABASE_URL: database };
    const child = spawn(process.execPath, [BIN, ...args], { cwd: folder, env, timeout: 20_000 });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.on('data', (data) => out.push(String(data)));
    child.stderr.on('data', (data) => err.push(String(data)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out: out.join(''), err: err.join('') }));
  });
}

describe('the admin routes', () => {
  it('list customers in pages, each with what is known of him', async () => {
    const [first, second] = [newCustomer(), newCustomer()];
    gateway.stripe.addCredit(first, 500);
    await call(first);
    await call(second);
    await gateway.stripe.trigger('billing.alert.triggered', { customer: second, alert: { title: 'Enough' } });
    const page = await admin('GET', '/customers?limit=1');
    expect(page.json).toMatchObject({
      data: [{ id: first, has_had_credit: true, alerts: [] }],
      next_cursor: first,
    });
    const next = await admin('GET', `/customers?limit=1&cursor=${first}`);
    expect(next.json).toMatchObject({ data: [{ id: second, alerts: ['Enough'] }] });
    expect((await admin('GET', '/customers?limit=0')).status).toBe(400);
  });

  it('lift the block of an alert by the operator’s word', async () => {
    const customer = newCustomer();
    await call(customer);
    await gateway.stripe.trigger('billing.alert.triggered', { customer });
    expect((await call(customer)).status).toBe(402);
    const lifted = await admin('POST', `/customers/${customer}`, { lift_alerts: true });
    expect(lifted).toMatchObject({ status: 200, json: { alerts: [] } });
    expect((await call(customer)).status).toBe(200);
  });

  it('set plan, mode and freeze, and change nothing that is not named', async () => {
    const customer = newCustomer();
    const set = { plan: 'pro', mode: 'strict', on_empty: 'grace', grace_usd: '1.50', frozen: 'chargeback' };
    expect((await admin('POST', `/customers/${customer}`, set)).json).toMatchObject({
      plan: 'pro',
      mode: 'strict',
      on_empty: 'grace',
      grace_usd: '1.50',
      frozen: { why: 'chargeback' },
    });
    const unfrozen = await admin('POST', `/customers/${customer}`, { frozen: false, mode: null });
    expect(unfrozen.json).toMatchObject({ plan: 'pro', mode: null, frozen: null });
    for (const wrong of [{ mode: 'lax' }, { grace_usd: 'much' }, { colour: 'red' }])
      expect((await admin('POST', `/customers/${customer}`, wrong)).status, JSON.stringify(wrong)).toBe(400);
    expect((await admin('POST', '/customers/bob', { frozen: true })).status).toBe(400);
  });

  it('give credit once for an identifier, and the customer reads it with his key', async () => {
    const customer = newCustomer();
    const wanted = { amount_usd: '7.25', name: 'Welcome', identifier: `welcome-${customer}` };
    const made = await admin('POST', `/customers/${customer}/credit`, wanted);
    expect(made).toMatchObject({ status: 201, json: { customer, available_usd: '7.25' } });
    await admin('POST', `/customers/${customer}/credit`, wanted);
    const { json } = await ask('/v1/credits', customer);
    expect(json).toMatchObject({
      data: {
        customer,
        available_usd: '7.25',
        grants: [{ name: 'Welcome', category: 'paid', amount_usd: '7.25', remaining_usd: '7.25' }],
      },
    });
    expect((await admin('POST', `/customers/${customer}/credit`, { amount_usd: '0.001' })).status).toBe(400);
    expect((await admin('POST', '/customers/cus_nobody/credit', { amount_usd: '1' })).status).toBe(400);
  });

  it('set, list and remove budgets', async () => {
    const customer = newCustomer();
    await call(customer);
    const made = await admin('POST', '/budgets', { customer, span: 'month', limit_usd: 10 });
    expect(made).toMatchObject({ status: 201, json: { customer, span: 'month', limit_usd: '10.00' } });
    await admin('POST', '/budgets', { customer, span: 'month', limit_usd: '2.5' });
    const { json } = await admin('GET', `/budgets?customer=${customer}`);
    expect(json).toMatchObject({
      data: [{ customer, span: 'month', limit_usd: '2.50', spent_usd: '0.000027' }],
      next_cursor: null,
    });
    const { id } = (json as { data: { id: string }[] }).data[0] ?? { id: '' };
    expect((await admin('DELETE', `/budgets/${id}`)).status).toBe(200);
    expect((await admin('DELETE', `/budgets/${id}`)).status).toBe(404);
    for (const wrong of [
      { customer },
      { span: 'day', limit_usd: 1 },
      { key: 'k', span: 'period', limit_usd: 1 },
    ])
      expect((await admin('POST', '/budgets', wrong)).status, JSON.stringify(wrong)).toBe(400);
  });

  it('hold the key that takes the place of another to the budgets of that one, and to what was spent of them', async () => {
    const customer = newCustomer();
    const old = await gateway.running.keys.create({ customer, label: 'old' });
    const served = async (secret: string): Promise<number> => {
      const headers = { authorization: `Bearer ${secret}` };
      const body = JSON.stringify({ model: 'demo/plain', messages: [] });
      const reply = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body });
      await reply.text();
      return reply.status;
    };
    await admin('POST', '/budgets', { key: old.key.id, span: 'month', limit_usd: '0.00002' });
    expect(await served(old.secret)).toBe(200);
    expect(await served(old.secret)).toBe(402);
    const rotated = await admin('POST', `/keys/${old.key.id}/rotate`, { overlap_seconds: 60 });
    const { key, secret } = rotated.json as { key: { id: string }; secret: string };
    expect(await served(secret)).toBe(402);
    const { json } = await admin('GET', `/budgets?key=${key.id}`);
    expect(json).toMatchObject({ data: [{ key: key.id, span: 'month', spent_usd: '0.000027' }] });
    // A higher limit counts what the key before has spent, too.
    const raised = await admin('POST', '/budgets', { key: key.id, span: 'month', limit_usd: '0.00005' });
    expect(raised.json).toMatchObject({ limit_usd: '0.00005', spent_usd: '0.000027' });
    expect(await served(secret)).toBe(200);
  });

  it('list the webhooks that were applied, latest first', async () => {
    const customer = newCustomer();
    const { event } = await gateway.stripe.trigger('billing.credit_grant.created', { customer });
    const { json } = await admin('GET', '/webhooks?limit=1');
    expect(json).toMatchObject({ data: [{ id: event.id, type: 'billing.credit_grant.created' }] });
    expect((json as { next_cursor: string }).next_cursor).toMatch(/^\d+$/);
  });
});

describe('GET /v1/usage/invoice-preview', () => {
  it('is Stripe’s preview and what Stripe has not been told yet', async () => {
    const customer = newCustomer();
    await gateway.stripe.trigger('customer.subscription.created', { customer });
    gateway.stripe.faults.add({ kind: 'server_error', route: 'POST /v2/billing/*', times: 4 });
    await call(customer);
    const { json } = await ask('/v1/usage/invoice-preview', customer);
    expect(json).toMatchObject({
      data: {
        customer,
        stripe: { currency: 'usd', total: 0 },
        undelivered: {
          cost_usd: '0.000027',
          lines: [
            { model: 'demo/plain', token_type: 'input', tokens: 11 },
            { model: 'demo/plain', token_type: 'output', tokens: 8 },
          ],
        },
        estimated_total_usd: '0.000027',
      },
    });
    gateway.stripe.faults.clear();
    const without = newCustomer();
    expect((await ask('/v1/usage/invoice-preview', without)).json).toMatchObject({ data: { stripe: null } });
    const usage = await ask('/v1/usage', customer);
    expect(usage.json).toMatchObject({ period: { source: 'subscription' }, totals: { calls: 1 } });
  });
});

describe('the command line', () => {
  it('shows and sets a customer', async () => {
    const customer = newCustomer();
    const set = await run('customers', 'set', customer, '--plan', 'pro', '--freeze', 'chargeback', '--json');
    expect(set).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(set.out)).toMatchObject({ id: customer, plan: 'pro', frozen: { why: 'chargeback' } });
    expect((await run('customers', 'show', customer)).out).toContain('frozen (chargeback)');
    expect((await run('customers', 'list')).out).toContain(customer);
    expect((await run('customers', 'set', customer)).code).toBe(2);
    expect((await run('customers', 'show', 'bob')).code).toBe(2);
  });

  it('grants credit and shows the balance', async () => {
    const customer = newCustomer();
    const granted = await run('credits', 'grant', customer, '5', '--name', 'Thanks');
    expect(granted).toMatchObject({ code: 0, err: '' });
    expect(granted.out).toContain('available  $5.00');
    const balance = await run('credits', 'balance', customer, '--json');
    expect(JSON.parse(balance.out)).toMatchObject({ available_usd: '5.00', grants: [{ name: 'Thanks' }] });
    expect((await run('credits', 'grant', customer, 'lots')).code).toBe(2);
  });

  it('sets, lists and removes budgets', async () => {
    const customer = newCustomer();
    const set = await run('budget', 'set', '--customer', customer, '--span', 'day', '--limit', '3', '--json');
    expect(set).toMatchObject({ code: 0, err: '' });
    const { id } = JSON.parse(set.out) as { id: string };
    expect((await run('budget', 'list', '--customer', customer)).out).toContain(id);
    expect((await run('budget', 'remove', id)).code).toBe(0);
    expect((await run('budget', 'remove', id)).code).toBe(1);
    expect((await run('budget', 'set', '--span', 'day', '--limit', '3')).code).toBe(2);
  });
});
