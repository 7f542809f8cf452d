/** The ways to Stripe, over HTTP against the simulator with the official package, on a clock that both are given. */
import { describe, expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeWays, type Way } from '../../../src/billing/delivery/ways.ts';
import type { StripeSimulatorOptions } from '../../../src/simulator/stripe.ts';
import { METER, startSimulator } from '../../simulator/start.ts';
import { createTestRuntime, lineOf, MemoryLedger, testCrypto } from '../support.ts';

const MINUTE = 60_000;

async function setUp(way: Way | 'auto', options: Partial<StripeSimulatorOptions> = {}) {
  const runtime = createTestRuntime();
  const { simulator, url, clock } = await startSimulator({ now: () => runtime.nowMs, ...options });
  simulator.addMeter(METER);
  const ledger = new MemoryLedger();
  const heard: string[] = [];
  const delivery = createDelivery({
    ledger,
    runtime,
    crypto: testCrypto,
    eventName: METER,
    sink: createStripeWays(way, {
      stripe: createStripeClient({ secretKey: 'sk_test_x', apiBase: url }),
      runtime,
      heard: (date) => {
        if (date !== undefined) heard.push(date);
      },
    }),
  });
  let calls = 0;
  const add = (count: number, customers = count): void => {
    for (let n = 0; n < count; n += 1) {
      const customer = `cus_${String(n % customers)}`;
      simulator.addCustomer(customer);
      const endedAtMs = runtime.nowMs - 1;
      ledger.lines.push(lineOf(`call-${String((calls += 1))}`, { customer, endedAtMs }));
    }
  };
  const run = async (ms: number): Promise<void> => {
    const endMs = runtime.nowMs + ms;
    while (runtime.nowMs < endMs) {
      const { next } = await delivery.flush();
      runtime.nowMs = Math.min(endMs, runtime.nowMs + Math.max(next ?? 1_000, 1));
    }
  };
  const paths = (): Record<string, number> =>
    Object.fromEntries(
      [...Map.groupBy(simulator.requests, ({ path }) => path)].map(([path, some]) => [path, some.length]),
    );
  const sum = (): number => simulator.sums().reduce((total, { value }) => total + value, 0);
  return { runtime, simulator, clock, ledger, delivery, add, run, paths, sum, heard };
}

const V1 = '/v1/billing/meter_events';
const V2 = '/v2/billing/meter_events';
const SESSION = '/v2/billing/meter_event_session';
const STREAM = '/v2/billing/meter_event_stream';

describe('v1', () => {
  it('carries the same event, its time cut to the second', async () => {
    const { add, delivery, simulator, ledger, runtime } = await setUp('v1');
    runtime.nowMs += 1_000;
    add(1);
    await delivery.flush();
    expect(ledger.states()).toEqual({ accepted: 1 });
    expect(simulator.world.accepted[0]).toMatchObject({
      api: 'v1',
      customer: 'cus_0',
      timestamp: Math.floor((runtime.nowMs - 1) / 1_000),
      payload: { value: '12', model: 'openai/gpt-4o-mini', token_type: 'input' },
    });
  });

  it('counts an event once whose answer was lost: the repeat is a duplicate', async () => {
    const { add, run, simulator, ledger, sum } = await setUp('v1');
    simulator.faults.add({ route: `POST ${V1}`, kind: 'server_error_after_commit' });
    add(1);
    await run(MINUTE);
    expect(ledger.states()).toEqual({ accepted: 1 });
    expect(sum()).toBe(12);
    expect(ledger.marks.some(({ kind }) => kind === 'duplicate')).toBe(true);
  });
});

describe('the stream', () => {
  it('takes 100 events a request under one session', async () => {
    const { add, delivery, paths, sum, ledger } = await setUp('stream');
    add(250);
    await delivery.flush();
    expect(ledger.states()).toEqual({ accepted: 250 });
    expect(sum()).toBe(3_000);
    expect(paths()).toEqual({ [SESSION]: 1, [STREAM]: 3 });
  });

  it('renews its session before the 15 minutes are over', async () => {
    const { add, delivery, paths, runtime } = await setUp('stream');
    for (const minutes of [0, 13, 2]) {
      runtime.nowMs += minutes * MINUTE;
      add(1);
      await delivery.flush();
    }
    expect(paths()).toEqual({ [SESSION]: 2, [STREAM]: 3 });
  });

  it('gets another session when Stripe says that it is over, and sends again what was not taken', async () => {
    const { add, delivery, paths, runtime, simulator, sum } = await setUp('stream');
    add(1);
    await delivery.flush();
    simulator.faults.add({ route: `POST ${STREAM}`, kind: 'unauthorized' });
    runtime.nowMs += 1_000;
    add(2);
    await delivery.flush();
    expect(sum()).toBe(36);
    expect(paths()).toEqual({ [SESSION]: 2, [STREAM]: 3 });
  });

  it('counts a batch once whose answer was lost', async () => {
    const { add, run, simulator, ledger, sum } = await setUp('stream');
    simulator.faults.add({ route: `POST ${STREAM}`, kind: 'drop_after_commit', times: 2 });
    add(150);
    await run(MINUTE);
    expect(ledger.states()).toEqual({ accepted: 150 });
    expect(sum()).toBe(1_800);
  });

  it('leaves a batch surely unsent when there is no session', async () => {
    const { add, delivery, simulator, ledger } = await setUp('stream');
    simulator.faults.add({ route: `POST ${SESSION}`, kind: 'server_error', times: 9 });
    add(20);
    await delivery.flush();
    expect(ledger.states()).toEqual({ pending: 20 });
    for (const row of ledger.events.values()) expect(row).toMatchObject({ firstAttemptAtMs: null });
  });
});

describe('auto', () => {
  it('goes by v2 while there is no rush', async () => {
    const { add, delivery, paths } = await setUp('auto');
    add(20);
    await delivery.flush();
    expect(paths()).toEqual({ [V2]: 20 });
  });

  it('goes by v1 where the account has no v2, with nothing in doubt and nothing refused', async () => {
    const { add, run, simulator, ledger, sum } = await setUp('auto');
    simulator.faults.add({ route: '* /v2/*', kind: 'not_found', probability: 1 });
    add(40);
    await run(5_000);
    expect(ledger.states()).toEqual({ accepted: 40 });
    expect(sum()).toBe(480);
    expect(simulator.world.accepted.every(({ api }) => api === 'v1')).toBe(true);
    expect(ledger.marks.some(({ kind }) => kind === 'ambiguous' || kind === 'refused')).toBe(false);
  });

  it('takes the stream for a backlog, and goes back', async () => {
    const { add, run, paths, simulator, ledger, sum } = await setUp('auto');
    add(1_500, 300);
    await run(3_000);
    expect(ledger.states()).toEqual({ accepted: 1_500 });
    expect(sum()).toBe(18_000);
    expect(paths()[STREAM]).toBeGreaterThan(10);
    add(3);
    await run(3_000);
    expect(simulator.world.accepted.slice(-3).map(({ api }) => api)).toEqual(['v2', 'v2', 'v2']);
  });

  it('does without the stream where the account has none', async () => {
    const { add, run, simulator, ledger, sum } = await setUp('auto');
    simulator.faults.add({ route: `POST ${SESSION}`, kind: 'not_found', probability: 1 });
    add(600, 100);
    await run(5_000);
    expect(ledger.states()).toEqual({ accepted: 600 });
    expect(sum()).toBe(7_200);
  });

  it.each(['unauthorized', 'server_error', 'drop', 'forbidden', 'rate_limited'])(
    'does without a stream that does nothing but fail (%s) while v2 is well',
    async (kind) => {
      const { add, run, simulator, ledger, sum } = await setUp('auto');
      simulator.faults.add({ route: `POST ${STREAM}`, kind, probability: 1 });
      add(600, 100);
      await run(MINUTE);
      expect(ledger.states()).toEqual({ accepted: 600 });
      expect(sum()).toBe(7_200);
    },
  );

  it('waits when neither API is there: the address is wrong, and no event is blamed', async () => {
    const { add, run, simulator, ledger, runtime } = await setUp('auto');
    simulator.faults.add({ route: '*', kind: 'not_found', probability: 1 });
    add(10);
    await run(MINUTE);
    expect(ledger.states()).toEqual({ pending: 10 });
    expect(runtime.lines.some(({ event }) => event === 'stripe_refuses_key')).toBe(true);
    simulator.faults.clear();
    await run(30_000);
    expect(ledger.states()).toEqual({ accepted: 10 });
  });
});

describe('a limit', () => {
  it('of 25 a second is learned: everything arrives, and few requests are turned away', async () => {
    const { add, run, simulator, ledger } = await setUp('v2', { requestsPerSecondMax: 25 });
    add(300, 100);
    await run(60_000);
    expect(ledger.states()).toEqual({ accepted: 300 });
    const turnedAway = simulator.requests.filter(({ status }) => status === 429).length;
    expect(turnedAway).toBeLessThan(150);
  });

  it('of one call at a time for a customer and meter is kept to, and waited out when others break it', async () => {
    const { add, run, simulator, ledger, sum } = await setUp('v2');
    simulator.faults.add({ route: `POST ${V2}`, kind: 'conflict', times: 5 });
    add(30, 3);
    await run(MINUTE);
    expect(ledger.states()).toEqual({ accepted: 30 });
    expect(sum()).toBe(360);
  });
});

it('hears the time of Stripe with every answer', async () => {
  const { add, delivery, heard, runtime } = await setUp('v2');
  add(1);
  await delivery.flush();
  expect(heard).toEqual([new Date(runtime.nowMs).toUTCString()]);
});

it('a v2 that something in front of Stripe does not know goes by v1 within 30 s', async () => {
  const { add, run, ledger, sum, simulator } = await setUp('auto');
  simulator.faults.add({ route: 'POST /v2/*', kind: 'proxy', probability: 1 });
  add(3);
  await run(MINUTE / 2);
  expect(ledger.states()).toEqual({ accepted: 3 });
  expect(sum()).toBe(36);
});

it("a proxy's 404 refuses nothing", async () => {
  const { add, run, simulator, ledger, sum } = await setUp('auto');
  simulator.faults.add({ route: '*', kind: 'proxy', probability: 1 });
  add(100, 20);
  await run(10 * MINUTE);
  expect(Object.keys(ledger.states()).toSorted()).toEqual(['ambiguous', 'pending']);
  simulator.faults.clear();
  await run(MINUTE);
  expect(ledger.states()).toEqual({ accepted: 100 });
  expect(sum()).toBe(1_200);
});

it('a 403 at one customer is his alone', async () => {
  const { add, run, simulator, ledger } = await setUp('v2');
  simulator.faults.add({ route: `POST ${V2}`, kind: 'forbidden', containing: '"cus_3"', probability: 1 });
  add(40, 20);
  await run(1_000);
  expect(ledger.states()).toMatchObject({ accepted: 38 });
  await run(MINUTE);
  expect(ledger.states()).toEqual({ accepted: 38, refused: 2 });
});
