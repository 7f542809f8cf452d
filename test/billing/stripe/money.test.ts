/** What is asked of Stripe for people, when something else than Stripe answers. */
import { afterEach, expect, it } from 'vitest';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeMoney, type StripeMoney } from '../../../src/billing/stripe/money.ts';
import { listen, type TestServer } from '../support.ts';

let server: TestServer;
afterEach(() => server.close());

async function moneyAnswered(body: unknown): Promise<StripeMoney> {
  server = await listen((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
  return createStripeMoney({ stripe, now: () => 0 });
}
const wanted = { customer: 'cus_a', cents: 500, category: 'paid', idempotencyKey: 'k' } as const;
const invoice = { currency: 'usd', subtotal: 5, total: 5, amount_due: 5, period_start: 0, period_end: 60 };

const ODD = [{}, [], null, 'OK', { id: 'in_1' }, { ...invoice, lines: {} }, { ...invoice, period_end: null }];

it.each(ODD)('no preview is made of %j', async (body) => {
  await expect((await moneyAnswered(body)).preview('cus_a')).rejects.toMatchObject({
    code: 'upstream_error',
  });
});

it.each(ODD)('no grant is said to be made after %j', async (body) => {
  await expect((await moneyAnswered(body)).grant(wanted)).rejects.toMatchObject({ code: 'upstream_error' });
});

it('an invoice is one, and a grant', async () => {
  const lines = { data: [{ description: null, amount: 5 }] };
  expect(await (await moneyAnswered({ ...invoice, lines })).preview('cus_a')).toMatchObject({ total: 5 });
  await server.close();
  expect(await (await moneyAnswered({ id: 'credgr_1' })).grant(wanted)).toBe('credgr_1');
});

it('a preview is asked for anew after the clock was set back', async () => {
  let asked = 0;
  let clock = 0;
  server = await listen((_, response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...invoice, lines: { data: [] } }));
  });
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
  const money = createStripeMoney({ stripe, now: () => clock });
  await money.preview('cus_a');
  await money.preview('cus_a');
  expect(asked).toBe(1);
  clock -= 3_600_000;
  await money.preview('cus_a');
  expect(asked).toBe(2);
});
