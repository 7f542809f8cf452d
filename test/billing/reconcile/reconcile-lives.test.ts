/**
 * Random lives with comparisons in them, by seed: while events are sent, in doubt, quarantined and lost, a comparison at any
 * moment never loses one, never has one counted twice, and never tells of a difference that there is not.
 */
import { expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import { createReconciler } from '../../../src/billing/reconcile/reconciler.ts';
import type { StripeSums } from '../../../src/billing/reconcile/summaries.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { randomNumbers } from '../../../src/simulator/faults.ts';
import { callToOpen, ending } from '../../contract/ledger-calls.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, testCrypto } from '../support.ts';

const MINUTE = 60_000;
const HOUR = 3_600_000;
const WINDOW = 24 * HOUR;
const LAG_MS_MAX = 50 * MINUTE;
const SEEDS = Number(process.env['FAREGATE_SEEDS'] ?? 40);
const FIRST = Number(process.env['FAREGATE_SEED_FIRST'] ?? 1);

class Crash extends Error {}

interface Counted {
  readonly event: MeterEvent;
  /** From then on it is in the sums. */
  readonly shownMs: number;
}

/** Knows an identifier for 24 hours; its sums show what it counted only some minutes later. */
function createStripe(random: () => number, nowMs: () => number) {
  const known = new Map<string, number>();
  const counted: Counted[] = [];
  const take = (event: MeterEvent): 'accepted' | 'duplicate' => {
    const atMs = known.get(event.identifier);
    if (atMs !== undefined && nowMs() - atMs < WINDOW) return 'duplicate';
    known.set(event.identifier, nowMs());
    counted.push({ event, shownMs: nowMs() + Math.floor(random() * LAG_MS_MAX) });
    return 'accepted';
  };
  const stripe = {
    isWell: true,
    counted,
    answer(event: MeterEvent): Delivery {
      const { identifier } = event;
      if (stripe.isWell) return { identifier, kind: take(event) };
      const dice = random();
      const lost = { identifier, kind: 'ambiguous', notBeforeMs: 0, error: 'lost' } as const;
      if (dice < 0.05) throw new Crash();
      if (dice < 0.1) {
        take(event);
        throw new Crash();
      }
      if (dice < 0.35) {
        take(event);
        return lost;
      }
      if (dice < 0.9) return lost;
      return { identifier, kind: 'refused', error: 'told by a test' };
    },
  };
  return stripe;
}

const hourOf = (ms: number): number => ms - (ms % HOUR);

/** Sums by customer, event name and hour. */
function summed(events: readonly MeterEvent[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { customer, eventName, timestampMs, value } of events) {
    const name = `${customer} ${eventName} ${new Date(hourOf(timestampMs)).toISOString()}`;
    sums[name] = (sums[name] ?? 0) + Number(value);
  }
  return Object.fromEntries(Object.entries(sums).toSorted());
}

async function world(seed: number) {
  const random = randomNumbers(seed);
  const pick = (below: number): number => Math.floor(random() * below);
  const runtime = createTestRuntime();
  const database = openMemory();
  await migrate(database);
  const stripe = createStripe(random, runtime.now);
  const events: MeterEvent[] = [];
  let boots = 0;
  const meanwhile: { go?: () => Promise<void> } = {};
  const sums: StripeSums = {
    async meters() {
      const info = { isActive: true, isSum: true, hasDimensions: true };
      return new Map(
        ['meter', 'meter-cost'].map((eventName) => [eventName, { id: eventName, eventName, ...info }]),
      );
    },
    async hours({ meter, customer, fromMs, toMs }) {
      // Usage comes in, and is sent, before and after Stripe has looked.
      if (random() < 0.3) await meanwhile.go?.();
      const found = new Map<number, bigint>();
      for (const { event, shownMs } of stripe.counted) {
        if (event.eventName !== meter || event.customer !== customer || shownMs > runtime.nowMs) continue;
        const hourMs = hourOf(event.timestampMs);
        if (hourMs < fromMs || hourMs >= toMs) continue;
        found.set(hourMs, (found.get(hourMs) ?? 0n) + BigInt(event.value));
      }
      if (random() < 0.3) await meanwhile.go?.();
      return found;
    },
  };
  const start = () => {
    const ledger = createLedger({ database, bootId: `boot-${String((boots += 1))}` });
    const delivery = createDelivery({
      ledger,
      runtime,
      crypto: { ...testCrypto, random: (bytes) => new Uint8Array(bytes).map(() => pick(256)) },
      sink: { send: async (batch) => batch.map((event) => stripe.answer(event)) },
      eventName: 'meter',
      layouts: ['dimensions', 'cost'],
    });
    const reconciler = createReconciler({
      ledger,
      sums,
      runtime,
      dimensionsEventName: 'meter',
      resent: () => undefined,
    });
    return { ledger, delivery, reconciler };
  };
  let process = start();
  let calls = 0;
  /** Few customers, models and values: so that much is alike, and sums can be made in several ways. */
  const used = async (): Promise<void> => {
    const id = `call_${String((calls += 1)).padStart(6, '0')}`;
    const tokens = 10 * (1 + pick(3));
    const customer = `cus_${String(pick(2))}`;
    await process.ledger.admit(callToOpen({ id, customer, openedAtMs: runtime.nowMs }));
    const lines = [{ attempt: 1, model: `openai/${'ab'.charAt(pick(2))}`, tokenType: 'input', tokens }];
    const costPico = String(tokens * 1_000_000);
    await process.ledger.settle(ending(id, { endedAtMs: runtime.nowMs, lines, costPico }));
    const base = {
      identifier: id,
      destination: '',
      customer,
      model: '',
      tokenType: '',
      value: String(tokens),
    };
    for (const eventName of ['meter', 'meter-cost'])
      events.push({ ...base, eventName, timestampMs: runtime.nowMs });
  };
  const flush = async (): Promise<void> => {
    try {
      await process.delivery.flush();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      process = start();
      await process.ledger.recover({ nowMs: runtime.nowMs });
    }
  };
  meanwhile.go = async () => {
    if (random() < 0.5) await used();
    await flush();
    runtime.nowMs += 1_000;
  };
  return {
    random,
    pick,
    runtime,
    database,
    stripe,
    used,
    flush,
    events,
    ledger: () => process.ledger,
    async compare() {
      const run = await process.reconciler.begin({ cause: 'command' });
      const view = await run?.done;
      if (view?.state !== 'finished') throw new Error(`not finished: ${String(view?.error)}`);
      const cells = await process.ledger.runCells(view.id, 1_000);
      return cells.flatMap(({ reasons }) => reasons.map(({ reason }) => reason));
    },
  };
}
type World = Awaited<ReturnType<typeof world>>;

/** Two days of 24 turns, with Stripe well or not, and a comparison now and then. */
async function live(house: World): Promise<Set<string>> {
  const { random, pick, runtime, stripe } = house;
  const told = new Set<string>();
  for (let turn = 0; turn < 24; turn += 1) {
    stripe.isWell = random() < 0.4;
    for (let n = pick(5); n > 0; n -= 1) {
      await house.used();
      runtime.nowMs += pick(2) * pick(10 * MINUTE);
    }
    for (let n = pick(4); n > 0; n -= 1) {
      await house.flush();
      runtime.nowMs += pick(MINUTE);
    }
    if (random() < 0.5) for (const reason of await house.compare()) told.add(reason);
    if (random() < 0.5) runtime.nowMs += pick(9 * HOUR);
  }
  return told;
}

/** Fair weather: refused events are sent again, and comparisons made, until nothing more comes of it. */
async function calm(house: World): Promise<string[]> {
  house.stripe.isWell = true;
  for (let n = 0; n < 40; n += 1) {
    for (const { identifier } of (await house.ledger().events({ state: 'refused', limit: 1_000 })).data)
      await house.ledger().retryEvent(identifier, house.runtime.nowMs);
    await house.flush();
    house.runtime.nowMs += 2 * HOUR;
    const reasons = await house.compare();
    if (n > 6 && reasons.every((reason) => reason === 'undecided')) return reasons;
  }
  throw new Error('never comes to rest');
}

/** What no comparison can decide, the operator does, by what Stripe has. */
async function resolveAll({ ledger, stripe, runtime }: World): Promise<void> {
  const there = new Set(stripe.counted.map(({ event }) => event.identifier));
  for (const { identifier } of (await ledger().events({ state: 'quarantined', limit: 1_000 })).data)
    await ledger().resolveEvent(identifier, there.has(identifier) ? 'delivered' : 'lost', runtime.nowMs);
}

it(`a comparison at any moment loses nothing and doubles nothing, in ${String(SEEDS)} random lives`, async () => {
  const seen = new Set<string>();
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const house = await world(seed);
    const told = await live(house);
    for (const reason of told) seen.add(reason);
    const name = `seed ${String(seed)}`;
    expect([told.has('foreign'), told.has('missing')], name).toEqual([false, false]);
    if ((await calm(house)).length > 0) {
      await resolveAll(house);
      expect(await calm(house), name).toEqual([]);
    }
    expect(await violations(house.database), name).toEqual([]);
    expect(summed(house.stripe.counted.map(({ event }) => event)), name).toEqual(summed(house.events));
    house.database.close();
  }
  if (SEEDS >= 40)
    expect([...seen]).toEqual(expect.arrayContaining(['in_flight', 'undelivered', 'quarantined']));
}, 600_000);
