/** Links to a checkout: made without asking anybody, opened into a session of Stripe's, granted once. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { createStripePayments } from '../../../src/billing/top-ups/payments.ts';
import { createTopUpLinks, linkReply } from '../../../src/billing/top-ups/links.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { createNodeCrypto } from '../../../src/platform/crypto.ts';
import { startSimulator } from '../../simulator/start.ts';
import { openMemory } from '../../support/memory-database.ts';

const CUSTOMER = 'cus_buyer';
const SETTINGS = { base_url: 'https://gate.example/', amount: 1_000, amount_max: 50_000, return_url: null };

async function scene(settings: Partial<typeof SETTINGS> = {}) {
  const { simulator, clock, stripe } = await startSimulator();
  simulator.addCustomer(CUSTOMER);
  const database = openMemory();
  onTestFinished(() => database.close());
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'one' });
  let ids = 0;
  const make = (secret: string) =>
    createTopUpLinks({
      settings: { ...SETTINGS, ...settings },
      secret,
      ledger,
      payments: createStripePayments({ stripe }),
      crypto: createNodeCrypto(),
      runtime: {
        now: () => clock.ms,
        id: () => String((ids += 1)).padStart(26, '0'),
        log: () => undefined,
      },
    });
  const links = make('secret');
  const token = (links.urlFor(CUSTOMER) ?? '').split('/').at(-1) ?? '';
  return { simulator, clock, ledger, links, token, make };
}

describe('a link', () => {
  it('is made without a word to Stripe, and leads to a checkout of the customer’s', async () => {
    const { links, token, simulator, ledger } = await scene();
    expect(links.urlFor(CUSTOMER)).toBe(`https://gate.example/top-up/${token}`);
    expect(simulator.requests).toEqual([]);
    const opened = await links.open(token, undefined);
    const [session] = simulator.world.sessions.values();
    expect(opened).toMatchObject({ kind: 'open', url: session?.url });
    expect(session).toMatchObject({
      customer: CUSTOMER,
      amount_total: 1_000,
      success_url: 'https://gate.example/top-up/paid',
    });
    const reply = linkReply(opened);
    expect([reply.status, reply.headers.get('location')]).toEqual([303, session?.url]);
    const { data } = await ledger.topUps(CUSTOMER, { limit: 10 });
    expect(data).toMatchObject([{ kind: 'link', state: 'waiting', payment: session?.id, cents: 1_000 }]);
  });

  it('opened again, or twice at once, leads to the same checkout while that is open', async () => {
    const { links, token, simulator, clock } = await scene();
    await Promise.all([links.open(token, undefined), links.open(token, undefined)]);
    await links.open(token, undefined);
    expect(simulator.world.sessions.size).toBe(1);
    await links.open(token, '25.00');
    expect([...simulator.world.sessions.values()].map(({ amount_total: cents }) => cents)).toEqual([
      1_000, 2_500,
    ]);
    clock.ms += 7_200_000;
    await links.open(token, undefined);
    expect(simulator.world.sessions.size).toBe(3);
  });

  it('opens ten checkouts in an hour at most', async () => {
    const { links, token, simulator } = await scene();
    for (let dollars = 1; dollars <= 12; dollars += 1) await links.open(token, `${String(dollars)}.00`);
    expect(simulator.world.sessions.size).toBe(10);
    expect(await links.open(token, '13')).toMatchObject({ kind: 'refused', status: 429 });
  });

  it.each(['0.49', '500.01', '1.001', '-5', 'ten', '', '1e3'])(
    'is refused for an amount of "%s"',
    async (amount) => {
      const { links, token, simulator } = await scene();
      expect(await links.open(token, amount)).toMatchObject({ kind: 'refused', status: 400 });
      expect(simulator.requests).toEqual([]);
    },
  );

  it('is worth nothing when it is changed, old, or another gateway’s', async () => {
    const { links, token, make, clock, simulator } = await scene();
    const [customer, end, mac] = token.split('.');
    const later = (Number.parseInt(end ?? '', 36) + 1).toString(36);
    for (const changed of [`cus_other.${end}.${mac}`, `${customer}.${later}.${mac}`, `${token}0`, 'x', ''])
      expect(await links.open(changed, undefined)).toMatchObject({ kind: 'refused', status: 403 });
    expect(await make('another').open(token, undefined)).toMatchObject({ status: 403 });
    clock.ms += 604_800_001;
    expect(await links.open(token, undefined)).toMatchObject({ kind: 'refused', status: 410 });
    expect(simulator.requests).toEqual([]);
  });

  it('is not there where the gateway has no address of its own', async () => {
    const { links } = await scene({ base_url: null as never });
    expect(links.urlFor(CUSTOMER)).toBeNull();
    expect(await links.checkout(CUSTOMER, null)).toMatchObject({ kind: 'refused' });
  });

  it('says so when Stripe does not answer, or knows no such customer', async () => {
    const { links, token, simulator } = await scene();
    simulator.faults.add({ route: 'POST /v1/checkout/sessions', kind: 'server_error' });
    expect(linkReply(await links.open(token, undefined)).status).toBe(503);
    expect(await links.checkout('cus_nobody', 1_000)).toMatchObject({ kind: 'refused', status: 404 });
    expect(await links.open(token, undefined)).toMatchObject({ kind: 'open' });
  });
});
