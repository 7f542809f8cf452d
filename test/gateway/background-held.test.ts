/** What is held for a response in the background, through a whole gateway: until it is done, or is cancelled. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { startTestResponses, type TestResponses } from '../support/stored.ts';

const USD = 1_000_000_000_000n;
let vendor: TestResponses;
let gateway: TestGateway;
beforeAll(async () => {
  vendor = await startTestResponses();
  gateway = await startTestGateway({
    config: { prices: { 'openai/gpt-plain': { input: 1, output: 2 } } },
    providers: { openai: { api_key: '${UPSTREAM_KEY}', base_url: vendor.url } },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendor.close();
});

let customers = 0;
async function begun(): Promise<{ customer: string; id: string }> {
  const customer = `cus_behind_${String((customers += 1))}`;
  gateway.stripe.addCustomer(customer);
  gateway.stripe.addCredit(customer, 100);
  const reply = await ask(customer, '', { model: 'gpt-plain', input: 'Where?', background: true });
  expect(reply.status).toBe(200);
  return { customer, id: ((await reply.json()) as { id: string }).id };
}
const ask = (customer: string, path: string, body: object): Promise<Response> =>
  fetch(`${gateway.url}/v1/responses${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': customer },
    body: JSON.stringify(body),
  });
const money = (customer: string) => gateway.running.ledger.balance(customer, Date.now());
const released = (customer: string): Promise<void> =>
  expect.poll(async () => (await money(customer)).heldPico, { timeout: 8_000, interval: 20 }).toBe('0');

it('is held when the first reply has long gone, until the bill', async () => {
  const { customer, id } = await begun();
  await gateway.running.gateway.background.poll();
  // Nothing bounds a response in the background: the estimate, and five cents beside it.
  expect(BigInt((await money(customer)).heldPico)).toBeGreaterThan(USD / 20n);
  vendor.end(id);
  await released(customer);
  // 20 tokens read, 9 generated.
  expect((await money(customer)).creditPico).toBe(String(USD - 38_000_000n));
});

it('is let go when it is cancelled', async () => {
  const { customer, id } = await begun();
  expect(BigInt((await money(customer)).heldPico)).toBeGreaterThan(0n);
  expect((await ask(customer, `/${id}/cancel`, {})).status).toBe(200);
  await released(customer);
});

it('keeps a call out that would need it, in words that say so', async () => {
  const customer = `cus_behind_${String((customers += 1))}`;
  gateway.stripe.addCustomer(customer);
  gateway.stripe.addCredit(customer, 5);
  const wanted = { model: 'gpt-plain', input: 'Where?', background: true, max_output_tokens: 100 };
  const first = await ask(customer, '', wanted);
  const second = await ask(customer, '', wanted);
  expect([first.status, second.status, second.headers.get('x-faregate-error')]).toEqual([
    200,
    402,
    'in_flight_budget_exceeded',
  ]);
  vendor.end(vendor.latest());
  await released(customer);
  expect((await ask(customer, '', wanted)).status).toBe(200);
});
