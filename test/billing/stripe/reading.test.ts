/** What is left of a customer's grants, read from the simulator with the official package. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeReader } from '../../../src/billing/stripe/reading.ts';
import { startSimulator } from '../../simulator/start.ts';
import { listen } from '../support.ts';

const CUSTOMER = 'cus_a';
const SUMMARIES = '/v1/billing/credit_balance_summary';

async function setUp() {
  const { simulator, clock, url } = await startSimulator();
  simulator.addCustomer(CUSTOMER);
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: url });
  const reader = createStripeReader({ stripe, now: () => clock.ms, graceMs: 0 });
  /** Cents, each a second after the one before. */
  const grant = async (value: number, priority = 50): Promise<string> => {
    clock.ms += 1_000;
    const made = await stripe.billing.creditGrants.create({
      customer: CUSTOMER,
      category: 'paid',
      priority,
      amount: { type: 'monetary', monetary: { currency: 'usd', value } },
      applicability_config: { scope: { price_type: 'metered' } },
    });
    return made.id;
  };
  const invoice = async (total: number): Promise<void> => {
    await simulator.trigger('invoice.finalized', { customer: CUSTOMER, total });
  };
  /** Cents by grant, as read, and how many balances were asked for. */
  const read = async () => {
    const before = simulator.requests.length;
    const grants = (await reader.read(CUSTOMER)).credit?.grants ?? [];
    const asked = simulator.requests.slice(before).filter(({ path }) => path === SUMMARIES).length;
    const left = new Map(grants.map(({ id, balancePico }) => [id, Number(balancePico) / 1e10]));
    return { left, asked };
  };
  return { grant, invoice, read };
}

describe('of a customer with a hundred grants', () => {
  it.each([
    ['most are spent', 48_700, 97],
    ['few are spent', 700, 1],
    ['all are spent', 50_000, 100],
  ])('what is left of each is read in a few requests (%s)', async (_name, total, spent) => {
    const { grant, invoice, read } = await setUp();
    const ids: string[] = [];
    for (let n = 0; n < 100; n += 1) ids.push(await grant(500));
    await invoice(total);
    const { left, asked } = await read();
    const expected = ids.map((_, at) => Math.max(0, Math.min(500, 500 * (at + 1) - total)));
    expect(ids.map((id) => left.get(id))).toEqual(expected);
    expect(expected.filter((cents) => cents === 0)).toHaveLength(spent);
    // One for all of it, and at 0.1 s each no more than a first sight has time for.
    expect(asked).toBeLessThan(6);
  });
});

it('what is left is read right where a later grant goes before those that invoices began with', async () => {
  const { grant, invoice, read } = await setUp();
  const [first, second, third] = [await grant(500), await grant(500), await grant(500)];
  await invoice(700);
  const sooner = await grant(500, 1);
  await invoice(100);
  const { left } = await read();
  expect([first, second, third, sooner].map((id) => left.get(id))).toEqual([0, 300, 500, 400]);
});

it('a list that leaves out when things were made is read all the same', async () => {
  const grants = [
    {
      id: 'credgr_1',
      customer: CUSTOMER,
      amount: { type: 'monetary', monetary: { currency: 'usd', value: 500 } },
      applicability_config: { scope: { price_type: 'metered' } },
    },
  ];
  const invoices = [{ id: 'in_1', status: 'paid', billing_reason: 'subscription_cycle' }];
  const balances = [{ available_balance: { monetary: { currency: 'usd', value: 500 } } }];
  const server = await listen(({ url }, response) => {
    const data = url?.includes('credit_grants') === true ? grants : invoices;
    const body = { balances, data: url?.includes('subscriptions') === true ? [] : data, has_more: false };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  onTestFinished(() => server.close());
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
  const reader = createStripeReader({ stripe, now: () => 0, graceMs: 0 });
  expect((await reader.read(CUSTOMER)).credit).toMatchObject({
    availablePico: '5000000000000',
    finalisedThroughMs: undefined,
    grants: [{ id: 'credgr_1', balancePico: '5000000000000', effectiveAtMs: 0, createdAtMs: 0 }],
  });
});
