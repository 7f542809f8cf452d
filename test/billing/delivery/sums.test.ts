/** When lines become one event, and what the layouts make of them. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { createDelivery, type DeliveryOptions } from '../../../src/billing/delivery/delivery.ts';
import { sealLines } from '../../../src/billing/delivery/seal.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { callToOpen, ending, fresh } from '../../contract/ledger-calls.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, lineOf, testCrypto } from '../support.ts';

const HOUR = 3_600_000;
const AT = Date.UTC(2026, 10, 21, 11);
const options = { eventName: 'meter', crypto: testCrypto };
const valuesOf = (seals: ReturnType<typeof sealLines>): string[] =>
  seals.map(({ event }) => event.value).toSorted();

describe('lines that pile up', () => {
  it('are one event with the time of the last, all members on record', () => {
    const lines = Array.from({ length: 5 }, (_, n) => lineOf(`call-${String(n)}`, { endedAtMs: AT + n }));
    const [seal, ...others] = sealLines(lines, { ...options, pileMax: 4 });
    expect(others).toEqual([]);
    expect(seal?.event).toMatchObject({ value: '60', timestampMs: AT + 4 });
    expect(seal?.members.map(({ call }) => call)).toEqual(lines.map(({ call }) => call));
    expect(sealLines(lines, { ...options, pileMax: 5 })).toHaveLength(5);
  });

  it('are not summed across customers, models, token types, hours', () => {
    const lines = [
      lineOf('1'),
      lineOf('2', { customer: 'cus_b' }),
      lineOf('3', { model: 'openai/gpt-5' }),
      lineOf('4', { tokenType: 'output' }),
      lineOf('5', { endedAtMs: AT - 1 }),
      lineOf('6'),
    ];
    expect(valuesOf(sealLines(lines, { ...options, pileMax: 0 }))).toEqual(['12', '12', '12', '12', '24']);
  });

  it("stay on their side of a billing period's end, to the millisecond", () => {
    const endMs = AT + 1_234_567;
    const lines = [lineOf('1', { endedAtMs: endMs - 1 }), lineOf('2', { endedAtMs: endMs })];
    const facts = new Map([['cus_a', { carryPico: '0', boundariesMs: [endMs] }]]);
    const seals = sealLines(lines, { ...options, windowMs: HOUR, facts });
    expect(seals.map(({ event }) => event.timestampMs)).toEqual([endMs - 1, endMs]);
  });
});

async function house(more: Partial<DeliveryOptions> = {}) {
  const runtime = createTestRuntime(AT);
  const database = openMemory();
  onTestFinished(async () => {
    expect(await violations(database)).toEqual([]);
    database.close();
  });
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot', billsCosts: more?.layouts?.includes('cost') });
  const sent: MeterEvent[] = [];
  const stripe = { down: false };
  const sink = {
    send: (events: readonly MeterEvent[]): Promise<readonly Delivery[]> => {
      if (!stripe.down) sent.push(...events);
      return Promise.resolve(
        events.map(({ identifier }) =>
          stripe.down
            ? { identifier, kind: 'retry', cause: 'unreachable', notBeforeMs: 0, error: 'down' }
            : { identifier, kind: 'accepted' },
        ),
      );
    },
  };
  const delivery = createDelivery({ ...options, ledger, runtime, sink, ...more });
  /** A call of the vendor's own units: a cost, and no tokens. */
  const image = async (costPico: string | null, customer = 'cus_a') => {
    const id = fresh('call');
    await ledger.admit(callToOpen({ id, customer, openedAtMs: runtime.nowMs }));
    await ledger.settle(ending(id, { lines: [], endedAtMs: runtime.nowMs, costPico }));
    return id;
  };
  const call = async (tokens: number, costPico: string | null = null, customer = 'cus_a') => {
    const id = fresh('call');
    await ledger.admit(callToOpen({ id, customer, openedAtMs: runtime.nowMs }));
    const lines = [
      { attempt: 1, model: 'openai/gpt-4o-mini', tokenType: 'input', tokens },
      { attempt: 1, model: 'openai/gpt-4o-mini', tokenType: 'output', tokens: 1 },
    ];
    await ledger.settle(ending(id, { lines, endedAtMs: runtime.nowMs, costPico }));
  };
  return { runtime, ledger, sent, stripe, delivery, call, image };
}

describe('a window', () => {
  it('is sent when it is over, as one event per customer, model and token type', async () => {
    const { runtime, delivery, call, sent } = await house({ windowMs: 60_000 });
    for (let n = 0; n < 5; n += 1) {
      await call(10);
      runtime.nowMs += 1_000;
    }
    expect(await delivery.flush()).toMatchObject({ sealed: 0, sent: 0 });
    runtime.nowMs = AT + 60_000;
    await delivery.flush();
    expect(sent.map(({ tokenType, value, timestampMs }) => [tokenType, value, timestampMs])).toEqual(
      expect.arrayContaining([
        ['input', '50', AT + 4_000],
        ['output', '5', AT + 4_000],
      ]),
    );
    expect(sent).toHaveLength(2);
  });
});

describe('an outage with much traffic', () => {
  it('leaves lines as lines past 2,000 events, and sums them afterwards', async () => {
    const { runtime, delivery, call, stripe, ledger, sent } = await house();
    stripe.down = true;
    for (let n = 0; n < 30; n += 1) {
      for (let m = 0; m < 60; m += 1) await call(1);
      await delivery.flush();
      runtime.nowMs += 15_000;
    }
    const { unsealedLines, events } = await ledger.totals();
    expect(events.find(({ state }) => state === 'pending')?.count).toBeLessThan(2_700);
    expect(unsealedLines).toBeGreaterThan(1_000);
    stripe.down = false;
    for (let n = 0; n < 3; n += 1) {
      await delivery.flush();
      runtime.nowMs += 31_000;
    }
    expect(sent.reduce((sum, { value }) => sum + Number(value), 0)).toBe(3_600);
    expect(sent.length).toBeLessThan(2_800);
  });
});

describe('the layouts', () => {
  it('each have events of their own for the same lines', async () => {
    const { delivery, call, sent, ledger } = await house({
      layouts: ['dimensions', 'per_type', 'cost'],
      classOf: () => 'premium',
    });
    await call(7, '5000000');
    await delivery.flush();
    expect(
      sent.map(({ destination, eventName, value }) => [destination, eventName, value]).toSorted(),
    ).toEqual([
      ['cost', 'meter-cost', '5'],
      ['dimensions', 'meter', '1'],
      ['dimensions', 'meter', '7'],
      ['per_type', 'meter-premium-input', '7'],
      ['per_type', 'meter-premium-output', '1'],
    ]);
    expect((await ledger.totals()).lines.map(({ tokens }) => tokens)).toEqual([7, 1]);
  });

  it.each([[['cost']], [['dimensions', 'cost']]] as const)(
    'in money bill what has a cost and no tokens, once, laid out as %j',
    async (layouts) => {
      const { delivery, image, sent, ledger, runtime } = await house({ layouts });
      const id = await image('40000000000');
      await delivery.flush();
      runtime.nowMs += 1_000;
      await delivery.flush();
      expect(sent.map(({ destination, customer, value }) => [destination, customer, value])).toEqual([
        ['cost', 'cus_a', '40000'],
      ]);
      expect(await ledger.unsealed(10, { destinations: layouts })).toEqual([]);
      const [view] = (await ledger.calls({ id, limit: 1 })).data;
      expect(view?.events).toHaveLength(1);
      expect((await ledger.totals()).lines).toEqual([]);
    },
  );

  it('in money sum what has no tokens with what has', async () => {
    const { delivery, call, image, sent, runtime } = await house({ layouts: ['cost'], windowMs: 60_000 });
    await image('1500000');
    await call(7, '2500000');
    await delivery.flush();
    runtime.nowMs = AT + 60_000;
    await delivery.flush();
    expect(sent.map(({ value }) => value)).toEqual(['4']);
  });

  it('of tokens alone leave nothing waiting of a call that has none', async () => {
    const { delivery, image, sent, ledger } = await house({ layouts: ['dimensions'] });
    await image('40000000000');
    await delivery.flush();
    expect(sent).toEqual([]);
    expect((await ledger.backlog()).oldestMs).toBeNull();
  });

  it('of money bill a call of no tokens that was settled under them, though they are configured no more', async () => {
    const { runtime, ledger, image, call } = await house({ layouts: ['cost'] });
    const id = await image('40000000000');
    await call(10, '7000000');
    const sent: MeterEvent[] = [];
    const send = (events: readonly MeterEvent[]): Promise<readonly Delivery[]> => {
      sent.push(...events);
      return Promise.resolve(events.map(({ identifier }) => ({ identifier, kind: 'accepted' })));
    };
    const next = createDelivery({ ...options, ledger, runtime, sink: { send }, layouts: ['dimensions'] });
    await next.flush();
    const told = sent.map(({ eventName, value }) => `${eventName} ${value}`).toSorted();
    expect(told).toEqual(['meter 1', 'meter 10', 'meter-cost 40000']);
    expect((await ledger.calls({ id, limit: 1 })).data[0]?.events).toHaveLength(1);
    expect(await ledger.backlog()).toMatchObject({ oldestMs: null });
  });

  it('of money bill nothing for a call that costs nothing, or whose price nobody knows', async () => {
    const { delivery, image, sent, ledger } = await house({ layouts: ['cost'] });
    await image('0');
    await image(null);
    await delivery.flush();
    expect(sent).toEqual([]);
    expect((await ledger.backlog()).oldestMs).toBeNull();
  });

  it('in money round nothing away: what is below a millionth is carried', async () => {
    const { delivery, call, sent, runtime } = await house({ layouts: ['cost'] });
    for (let n = 0; n < 10; n += 1) {
      await call(1, '333333');
      await delivery.flush();
      runtime.nowMs += 1_000;
    }
    expect(sent.reduce((sum, { value }) => sum + Number(value), 0)).toBe(3);
    await call(1, '1');
    await call(1, '666669');
    await delivery.flush();
    expect(sent.reduce((sum, { value }) => sum + Number(value), 0)).toBe(4);
  });
});
