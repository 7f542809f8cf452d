/**
 * Random faults on an injected clock, by seed: whatever Stripe, the network, the process and the clock do, what Stripe
 * counted is what the ledger settled, but for what is quarantined; and with that resolved, all of it.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import type { Transport, Transports } from '../../../src/billing/ports.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { randomNumbers } from '../../../src/simulator/faults.ts';
import { callToOpen, ending } from '../../contract/ledger-calls.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, testCrypto } from '../support.ts';

const SECOND = 1_000;
const HOUR = 3_600_000;
const WINDOW = 24 * HOUR;
const SEEDS = Number(process.env['FAREGATE_SEEDS'] ?? 200);

class Crash extends Error {}

type Weather = 'well' | 'gone' | 'down' | 'flaky' | 'busy' | 'forbidden';

/** As much of Stripe as matters: it knows an identifier for 24 hours of its own clock, and counts what it takes. */
function createStripe(random: () => number, nowMs: () => number) {
  const known = new Map<string, number>();
  const counted = new Map<string, bigint>();
  const stripe = {
    weather: 'well' as Weather,
    crashing: false,
    counted,
    /** Times each event was counted. */
    times: new Map<string, number>(),
    sumOf: (destination: string) => counted.get(destination) ?? 0n,
    take(event: MeterEvent): 'accepted' | 'duplicate' {
      const atMs = known.get(event.identifier);
      if (atMs !== undefined && nowMs() - atMs < WINDOW) return 'duplicate';
      known.set(event.identifier, nowMs());
      stripe.times.set(event.identifier, (stripe.times.get(event.identifier) ?? 0) + 1);
      counted.set(event.destination, stripe.sumOf(event.destination) + BigInt(event.value));
      return 'accepted';
    },
    answer(event: MeterEvent): Delivery {
      const { identifier } = event;
      const dice = random();
      const soon = { identifier, notBeforeMs: 0, error: stripe.weather };
      const lost = (): Delivery => ({ ...soon, kind: 'ambiguous' });
      if (stripe.crashing && dice < 0.1) {
        if (dice < 0.05) stripe.take(event);
        throw new Crash();
      }
      switch (stripe.weather) {
        case 'gone':
          return { ...soon, kind: 'retry', cause: 'unreachable' };
        case 'down':
          return dice < 0.5 ? lost() : { ...soon, kind: 'retry', cause: 'unreachable' };
        case 'flaky':
          if (dice < 0.2) return lost();
          if (dice < 0.4) {
            stripe.take(event);
            return lost();
          }
          if (dice < 0.5) return { ...soon, kind: 'retry', cause: 'contended' };
          break;
        case 'busy':
          if (dice < 0.5) return { ...soon, kind: 'retry', cause: 'busy' };
          break;
        case 'forbidden':
          return { ...soon, kind: 'retry', cause: 'unauthorised' };
        default:
      }
      return { identifier, kind: stripe.take(event) };
    },
  };
  return stripe;
}

type Stripe = ReturnType<typeof createStripe>;

/** One event at a time, or in batches that share their fate, by turns. */
function waysTo(stripe: Stripe, random: () => number): Transports {
  const send = (events: readonly MeterEvent[]): Promise<readonly Delivery[]> =>
    Promise.resolve(events.map((event) => stripe.answer(event)));
  const single: Transport = { name: 'v2', batchMax: 1, isInTurn: true, parallelMax: 4, send };
  const batches: Transport = { name: 'stream', batchMax: 10, isInTurn: false, parallelMax: 2, send };
  return {
    choose: () => (random() < 0.3 ? batches : single),
    named: (name) => (name === 'stream' ? batches : single),
    saw: () => undefined,
  };
}

async function world(seed: number, windowMs = 0) {
  const random = randomNumbers(seed);
  const runtime = createTestRuntime();
  /** Stripe's clock never steps. */
  let trueMs = runtime.nowMs;
  const database = openMemory();
  await migrate(database);
  const stripe = createStripe(random, () => trueMs);
  let boots = 0;
  let settled = 0n;
  const start = () => {
    const ledger = createLedger({ database, bootId: `boot-${String((boots += 1))}` });
    const delivery = createDelivery({
      ledger,
      runtime,
      crypto: {
        ...testCrypto,
        random: (bytes) => new Uint8Array(bytes).map(() => Math.floor(random() * 256)),
      },
      sink: waysTo(stripe, random),
      eventName: 'meter',
      layouts: ['dimensions', 'cost'],
      windowMs,
    });
    return { ledger, delivery };
  };
  let process = start();
  let calls = 0;
  let cost = 0n;
  const settle = async (): Promise<void> => {
    const id = `call_${String((calls += 1)).padStart(6, '0')}`;
    const tokens = 1 + Math.floor(random() * 1_000);
    const pico = BigInt(Math.floor(random() * 3_000_000));
    const customer = `cus_${String(Math.floor(random() * 3))}`;
    await process.ledger.admit(callToOpen({ id, customer, openedAtMs: runtime.nowMs }));
    const line = { attempt: 1, model: 'openai/gpt-4o-mini', tokenType: 'input', tokens };
    const costPico = String(pico);
    await process.ledger.settle(ending(id, { endedAtMs: runtime.nowMs, lines: [line], costPico }));
    settled += BigInt(tokens);
    cost += pico;
  };
  const crash = async (): Promise<void> => {
    process = start();
    await process.ledger.recover({ nowMs: runtime.nowMs });
  };
  return {
    runtime,
    stripe,
    random,
    database,
    settle,
    crash,
    close: () => database.close(),
    ledger: () => process.ledger,
    settledTokens: () => settled,
    settledCost: () => cost,
    stepClock: (ms: number) => {
      runtime.nowMs += ms;
    },
    /** A pass, as the loop's owner makes it: a crash within it starts a new process. */
    async flush(): Promise<void> {
      try {
        const { next = 10 * SECOND } = await process.delivery.flush();
        const ms = Math.max(1, Math.min(next, 10 * SECOND));
        runtime.nowMs += ms;
        trueMs += ms;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        await crash();
      }
    },
    pass(ms: number): void {
      runtime.nowMs += ms;
      trueMs += ms;
    },
  };
}

type World = Awaited<ReturnType<typeof world>>;

const WEATHERS: readonly Weather[] = ['well', 'well', 'down', 'flaky', 'busy', 'forbidden'];

/** A life of 12 turns of weather, minutes to hours each. */
async function live(house: World): Promise<void> {
  const { random, stripe } = house;
  for (let turn = 0; turn < 12; turn += 1) {
    stripe.weather = WEATHERS[Math.floor(random() * WEATHERS.length)] ?? 'well';
    stripe.crashing = random() < 0.3;
    const calls = Math.floor(random() * 6);
    for (let n = 0; n < calls; n += 1) await house.settle();
    for (let n = 0; n < 3; n += 1) await house.flush();
    if (random() < 0.1) await house.crash();
    if (random() < 0.05) house.stepClock(-Math.floor(random() * 2 * HOUR));
    if (random() < 0.3) house.pass(Math.floor(random() * 5 * HOUR));
  }
}

/** Fair weather until nothing is due. */
async function calm(house: World): Promise<void> {
  house.stripe.weather = 'well';
  house.stripe.crashing = false;
  for (let n = 0; n < 400; n += 1) {
    await house.flush();
    const { unsealedLines, events } = await house.ledger().totals();
    const isDue = events.some(({ state }) => ['pending', 'sending', 'ambiguous'].includes(state));
    if (unsealedLines === 0 && !isDue) return;
    house.pass(20 * SECOND);
  }
  throw new Error('still due after 400 passes');
}

/** What reconciliation will do: ask Stripe of each quarantined event. */
async function resolveAll(house: World): Promise<number> {
  const ledger = house.ledger();
  const { data } = await ledger.events({ state: 'quarantined', limit: 1_000 });
  for (const { identifier } of data)
    await ledger.resolveEvent(
      identifier,
      house.stripe.times.has(identifier) ? 'delivered' : 'lost',
      house.runtime.nowMs,
    );
  return data.length;
}

let open: World | undefined;
afterEach(() => {
  open?.close();
  open = undefined;
});

describe('whatever goes wrong', () => {
  it(`Stripe counts each line once, in ${String(SEEDS)} random lives`, async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const house = (open = await world(seed, seed % 4 === 0 ? 60 * SECOND : 0));
      await live(house);
      await calm(house);
      const twice = [...house.stripe.times].filter(([, times]) => times > 1);
      expect(twice, `seed ${String(seed)}: counted twice`).toEqual([]);
      await resolveAll(house);
      await calm(house);
      expect(await violations(house.database), `seed ${String(seed)}`).toEqual([]);
      expect(house.stripe.sumOf('dimensions'), `seed ${String(seed)}: tokens`).toBe(house.settledTokens());
      const left = house.settledCost() - house.stripe.sumOf('cost') * 1_000_000n;
      expect(left >= 0n && left < 3_000_000n, `seed ${String(seed)}: cost off by ${String(left)}`).toBe(true);
      house.close();
      open = undefined;
    }
  }, 600_000);

  it('fails for an identifier that differs at each attempt: the test can see a double', async () => {
    const house = (open = await world(7));
    const { take } = house.stripe;
    let attempts = 0;
    house.stripe.take = (event) =>
      take({ ...event, identifier: `${event.identifier}${String((attempts += 1))}` });
    await live(house);
    await calm(house);
    expect(house.stripe.sumOf('dimensions')).toBeGreaterThan(house.settledTokens());
  });
});

const outage = async (ms: number, weather: Weather = 'down'): Promise<World> => {
  const house = (open = await world(3));
  house.stripe.weather = weather;
  for (let atMs = 0; atMs < ms; atMs += HOUR) {
    if (atMs < 6 * HOUR) for (let n = 0; n < 5; n += 1) await house.settle();
    for (let n = 0; n < 3; n += 1) await house.flush();
    house.pass(HOUR);
  }
  await calm(house);
  return house;
};
const stateOf = async (house: World) =>
  Object.fromEntries((await house.ledger().totals()).events.map(({ state, count }) => [state, count]));

describe('Stripe away', () => {
  it('for 6 hours: everything is counted, nothing is quarantined', async () => {
    const house = await outage(6 * HOUR);
    expect(Object.keys(await stateOf(house)).toSorted()).not.toContain('quarantined');
    expect(house.stripe.sumOf('dimensions')).toBe(house.settledTokens());
  });

  it('for 26 hours: what was in doubt for 23 is quarantined, the rest counted; resolved, all of it', async () => {
    const house = await outage(26 * HOUR);
    const { quarantined = 0 } = await stateOf(house);
    expect(quarantined).toBeGreaterThan(0);
    expect(quarantined).toBeLessThan(30);
    expect(await resolveAll(house)).toBe(quarantined);
    await calm(house);
    expect(house.stripe.sumOf('dimensions')).toBe(house.settledTokens());
    expect(house.runtime.lines.filter(({ event }) => event === 'delivery_behind').length).toBeGreaterThan(1);
  });

  it('for 34 days: what is too old is never sent, and shown', async () => {
    const house = await outage(35 * 24 * HOUR, 'gone');
    const { cancelled: _carried, ...states } = await stateOf(house);
    expect(Object.keys(states)).toEqual(['expired']);
    expect(house.stripe.sumOf('dimensions')).toBe(0n);
    const steps = house.runtime.lines
      .filter(({ event }) => event === 'delivery_behind')
      .map(({ fields }) => fields?.['older_than']);
    expect(steps).toEqual(['1 hour', '24 hours', '30 days']);
  });
});
