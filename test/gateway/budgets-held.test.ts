/** What is held for a call, through repeats, callers who leave, fallbacks and changes in the middle of it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AccountSettings } from '../../src/ledger/accounts-port.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

const USD = 1_000_000_000_000n;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    config: {
      metering: { on_disconnect: 'cancel' },
      models: { mixed: ['demo/waits', 'demo/dear'] },
      plans: { steep: { markup: 10 } },
      prices: {
        'demo/plain': { input: 1, output: 2 },
        'demo/waits': { input: 1, output: 2 },
        'demo/dear': { input: 1, output: 2_000 },
      },
    },
  });
});
afterAll(() => gateway.close());

let customers = 0;
async function customerWith(pico: bigint, settings: Partial<AccountSettings> = {}): Promise<string> {
  const customer = `cus_held_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  const { ledger } = gateway.running;
  const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
  const amount = { amountPico: String(pico), balancePico: String(pico), applies: true };
  const kind = { id: `credgr_${customer}`, name: null, category: 'paid', priority: 50 } as const;
  await ledger.recordGrants({ customer, readAtMs: 1, grants: [{ ...kind, ...times, ...amount }] });
  await ledger.changeAccount(customer, { mode: 'strict', ...settings }, 1);
  return customer;
}
interface Asking {
  readonly model: string;
  readonly key?: string;
  readonly signal?: AbortSignal;
}
const ask = (customer: string, { model, key, signal }: Asking): Promise<Response> =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    ...(signal === undefined ? {} : { signal }),
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'content-type': 'application/json',
      'x-stripe-customer-id': customer,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify({ model, max_tokens: 1_000, messages: [{ role: 'user', content: 'hi' }] }),
  });
const held = async (customer: string): Promise<bigint> =>
  BigInt((await gateway.running.ledger.balance(customer, Date.now())).heldPico);
const isHeld = (customer: string): Promise<void> =>
  expect.poll(() => held(customer), { timeout: 5_000, interval: 5 }).toBeGreaterThan(0n);
async function released(...replies: Promise<Response>[]): Promise<number[]> {
  const releasing = setInterval(() => gateway.upstream.release(), 10);
  const statuses = (await Promise.all(replies)).map(({ status }) => status);
  clearInterval(releasing);
  return statuses;
}

it('is held once for a call and its repeat', async () => {
  const customer = await customerWith(USD);
  const first = ask(customer, { model: 'demo/waits', key: `once-${customer}` });
  await isHeld(customer);
  const once = await held(customer);
  const repeat = ask(customer, { model: 'demo/waits', key: `once-${customer}` });
  const another = ask(customer, { model: 'demo/waits' });
  await expect.poll(() => held(customer), { timeout: 5_000 }).toBe(2n * once);
  expect(await released(first, repeat, another)).toEqual([200, 200, 200]);
  expect(await held(customer)).toBe(0n);
});

it('is released when the caller leaves and the provider is left', async () => {
  const customer = await customerWith(USD);
  const leaving = new AbortController();
  const reply = ask(customer, { model: 'demo/waits', signal: leaving.signal });
  await isHeld(customer);
  leaving.abort();
  await expect(reply).rejects.toThrow();
  await expect.poll(() => held(customer), { timeout: 5_000 }).toBe(0n);
});

it('is the dearest of those that the call may go to', async () => {
  // A thousand tokens of the dear one are two dollars.
  const reply = await ask(await customerWith(USD), { model: 'mixed' });
  expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([402, 'request_exceeds_balance']);
});

it('is unchanged for a call that runs while its customer is frozen or moved to a dearer plan, which it is not billed by', async () => {
  const customer = await customerWith(USD);
  const reply = ask(customer, { model: 'demo/waits' });
  await isHeld(customer);
  const { ledger } = gateway.running;
  await ledger.changeAccount(customer, { plan: 'steep', frozen: { why: 'fraud' } }, 2);
  expect(await released(reply)).toEqual([200]);
  expect((await reply).headers.get('x-faregate-cost')).toBe('0.000027');
  const next = await ask(customer, { model: 'demo/plain' });
  expect(next.headers.get('x-faregate-error')).toBe('customer_frozen');
  await ledger.changeAccount(customer, { frozen: null }, 3);
  expect((await ask(customer, { model: 'demo/plain' })).headers.get('x-faregate-cost')).toBe('0.00027');
});

it('is not asked about where an alert has fired, whatever credit there is, until that is lifted', async () => {
  const customer = await customerWith(USD);
  await ask(customer, { model: 'demo/plain' });
  await gateway.stripe.trigger('billing.alert.triggered', { customer });
  const reply = await ask(customer, { model: 'demo/plain' });
  expect(reply.headers.get('x-faregate-error')).toBe('alert_triggered');
  expect(await held(customer)).toBe(0n);
});
