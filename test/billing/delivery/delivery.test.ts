import { describe, expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import type { MeterDelivery } from '../../../src/billing/delivery/delivery.ts';
import { LedgerUnavailable } from '../../../src/ledger/ledger.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, lineOf, MemoryLedger, testCrypto } from '../support.ts';
import type { TestRuntime } from '../support.ts';

type Answer = Delivery['kind'] | 'unreachable' | 'unauthorised';
type Stripe = (event: MeterEvent) => Answer | Promise<Answer>;

interface House {
  readonly runtime: TestRuntime;
  readonly ledger: MemoryLedger;
  readonly delivery: MeterDelivery;
  readonly sent: MeterEvent[];
  readonly stripe: { answer: Stripe; retryAfterMs: number };
}

function setUp({ parallelMax = 16, random = testCrypto.random } = {}): House {
  const runtime = createTestRuntime();
  const ledger = new MemoryLedger();
  const sent: MeterEvent[] = [];
  const stripe = { answer: (() => 'accepted') as Stripe, retryAfterMs: 0 };
  const sink = {
    send: (events: readonly MeterEvent[]) =>
      Promise.all(
        events.map(async (event) => {
          sent.push(event);
          const answer = await stripe.answer(event);
          return answerOf(event.identifier, answer, runtime.now() + stripe.retryAfterMs);
        }),
      ),
  };
  const crypto = { ...testCrypto, random };
  const delivery = createDelivery({ ledger, sink, runtime, crypto, eventName: 'meter', parallelMax });
  return { runtime, ledger, delivery, sent, stripe };
}

function answerOf(identifier: string, answer: Answer, notBeforeMs: number): Delivery {
  switch (answer) {
    case 'accepted':
    case 'duplicate':
      return { identifier, kind: answer };
    case 'refused':
    case 'quarantined':
    case 'expired':
      return { identifier, kind: answer, error: 'no' };
    case 'ambiguous':
      return { identifier, kind: answer, notBeforeMs, error: 'silence' };
    case 'retry':
      return { identifier, kind: 'retry', cause: 'busy', notBeforeMs, error: 'busy' };
    default:
      return { identifier, kind: 'retry', cause: answer, notBeforeMs, error: answer };
  }
}

const addLines = ({ ledger }: House, count: number, customers = count): void => {
  for (let n = 0; n < count; n += 1) {
    ledger.lines.push(lineOf(`call-${String(n)}`, { customer: `cus_${String(n % customers)}` }));
  }
};

describe('a pass', () => {
  it('seals, sends and marks what was settled', async () => {
    const house = setUp();
    addLines(house, 3);
    expect(await house.delivery.flush()).toMatchObject({ sealed: 3, sent: 3, accepted: 3, retried: 0 });
    expect(house.ledger.states()).toEqual({ accepted: 3 });
    expect(await house.delivery.flush()).toMatchObject({ sealed: 0, sent: 0 });
  });

  it('takes more than one lease can hold', async () => {
    const house = setUp();
    addLines(house, 1_200, 40);
    expect(await house.delivery.flush()).toMatchObject({ sealed: 1_200, accepted: 1_200 });
  });

  it('counts a duplicate as delivered', async () => {
    const house = setUp();
    addLines(house, 1);
    house.stripe.answer = () => 'duplicate';
    expect(await house.delivery.flush()).toMatchObject({ accepted: 1 });
    expect(house.ledger.states()).toEqual({ accepted: 1 });
  });

  it('keeps a refused event and goes on with the others', async () => {
    const house = setUp();
    addLines(house, 50, 5);
    house.stripe.answer = (event) => (event.customer === 'cus_3' ? 'refused' : 'accepted');
    expect(await house.delivery.flush()).toMatchObject({ accepted: 40, refused: 10 });
    expect(house.runtime.lines.filter((line) => line.event === 'meter_event_refused')).toHaveLength(10);
  });

  it('is never two passes at once: a call meanwhile gets the pass after it', async () => {
    const house = setUp();
    addLines(house, 1);
    const gate = Promise.withResolvers<Answer>();
    const asked = Promise.withResolvers<undefined>();
    house.stripe.answer = () => {
      asked.resolve(undefined);
      return gate.promise;
    };
    const first = house.delivery.flush();
    await asked.promise;
    const second = house.delivery.flush();
    const third = house.delivery.flush();
    house.ledger.lines.push(lineOf('late'));
    gate.resolve('accepted');
    expect(await first).toMatchObject({ sealed: 1, accepted: 1 });
    expect(await second).toMatchObject({ sealed: 1, accepted: 1 });
    expect(await third).toBe(await second);
  });

  it('rejects when the ledger fails, and the next one works', async () => {
    const house = setUp();
    addLines(house, 1);
    house.ledger.failure = new LedgerUnavailable('disk full');
    await expect(house.delivery.flush()).rejects.toThrow(LedgerUnavailable);
    house.ledger.failure = undefined;
    expect(await house.delivery.flush()).toMatchObject({ accepted: 1 });
  });

  it('sends again, under the same identifier, what was accepted but not marked', async () => {
    const house = setUp();
    addLines(house, 1);
    house.stripe.answer = () => {
      house.ledger.failure = new LedgerUnavailable('disk full');
      return 'accepted';
    };
    await expect(house.delivery.flush()).rejects.toThrow(LedgerUnavailable);
    house.ledger.failure = undefined;
    house.stripe.answer = () => 'duplicate';
    house.runtime.nowMs += 25_000;
    expect(await house.delivery.flush()).toMatchObject({ accepted: 1 });
    expect(new Set(house.sent.map((event) => event.identifier)).size).toBe(1);
  });
});

/** Makes Stripe slow, and counts how many sends were under way at most. */
const crowd = (house: House) => {
  const now = new Map<string, number>();
  const most = { all: 0, perCustomer: 0 };
  house.stripe.answer = async ({ customer }): Promise<Answer> => {
    now.set(customer, (now.get(customer) ?? 0) + 1);
    most.perCustomer = Math.max(most.perCustomer, now.get(customer) ?? 0);
    most.all = Math.max(
      most.all,
      [...now.values()].reduce((a, b) => a + b, 0),
    );
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    now.set(customer, (now.get(customer) ?? 0) - 1);
    return 'accepted';
  };
  return most;
};

describe('sending at once', () => {
  it('is bounded, and one at a time for a customer', async () => {
    const house = setUp({ parallelMax: 4 });
    addLines(house, 100, 10);
    const most = crowd(house);
    await house.delivery.flush();
    expect(most).toEqual({ all: 4, perCustomer: 1 });
  });

  it('is halved while Stripe says that it is busy', async () => {
    const house = setUp({ parallelMax: 8 });
    addLines(house, 8);
    house.stripe.answer = () => 'retry';
    await house.delivery.flush();
    house.runtime.nowMs += 30_000;
    const most = crowd(house);
    await house.delivery.flush();
    expect(most.all).toBeLessThan(8);
  });
});

describe('a failed send', () => {
  it.each<Answer>(['retry', 'ambiguous', 'unreachable'])(
    'is tried again within 30 s (%s)',
    async (answer) => {
      const house = setUp();
      addLines(house, 1);
      for (let n = 0; n < 12; n += 1) {
        house.stripe.answer = () => answer;
        const { next } = await house.delivery.flush();
        expect(next).toBeGreaterThan(0);
        expect(next).toBeLessThanOrEqual(15_000);
        house.runtime.nowMs += 30_000;
      }
      expect(house.sent).toHaveLength(12);
      house.stripe.answer = () => 'accepted';
      expect(await house.delivery.flush()).toMatchObject({ accepted: 1 });
    },
  );

  it('waits longer each time, at random between nothing and a doubling bound', async () => {
    const house = setUp({ random: (bytes) => new Uint8Array(bytes).fill(255) });
    addLines(house, 1);
    house.stripe.answer = () => 'retry';
    const waits: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      await house.delivery.flush();
      const dueMs = [...house.ledger.events.values()][0]?.notBeforeMs ?? 0;
      waits.push(dueMs - house.runtime.nowMs);
      house.runtime.nowMs = dueMs;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('waits as long as Stripe asks', async () => {
    const house = setUp();
    addLines(house, 1);
    house.stripe.answer = () => 'retry';
    house.stripe.retryAfterMs = 45_000;
    await house.delivery.flush();
    house.runtime.nowMs += 44_999;
    await house.delivery.flush();
    expect(house.sent).toHaveLength(1);
    house.runtime.nowMs += 1;
    await house.delivery.flush();
    expect(house.sent).toHaveLength(2);
  });

  it('does not hold up other events of the customer', async () => {
    const house = setUp();
    addLines(house, 20, 1);
    const [poison] = house.ledger.lines;
    house.ledger.lines[0] = { ...(poison ?? lineOf('x')), tokens: 666 };
    house.stripe.answer = (event) => (event.value === '666' ? 'ambiguous' : 'accepted');
    expect(await house.delivery.flush()).toMatchObject({ accepted: 19, ambiguous: 1 });
  });

  it('is ambiguous when the sink throws', async () => {
    const house = setUp();
    addLines(house, 1);
    house.stripe.answer = () => Promise.reject(new Error('bug'));
    expect(await house.delivery.flush()).toMatchObject({ ambiguous: 1 });
  });
});

describe('an ambiguous event', () => {
  it('is sent again for 23 hours, then quarantined and not sent', async () => {
    const house = setUp();
    addLines(house, 1);
    house.stripe.answer = () => 'ambiguous';
    await house.delivery.flush();
    house.runtime.nowMs += 23 * 3_600_000 - 1;
    expect(await house.delivery.flush()).toMatchObject({ ambiguous: 1 });
    house.runtime.nowMs += 60_000;
    house.stripe.answer = () => 'accepted';
    expect(await house.delivery.flush()).toMatchObject({ sent: 0, quarantined: 1 });
    expect(house.sent).toHaveLength(2);
    expect(house.ledger.states()).toEqual({ quarantined: 1 });
  });

  it.each<Answer>(['retry', 'unreachable', 'unauthorised'])(
    'is not what Stripe surely did not take (%s): that may be sent after days',
    async (answer) => {
      const house = setUp();
      addLines(house, 1);
      for (let hour = 0; hour < 48; hour += 1) {
        house.stripe.answer = () => answer;
        await house.delivery.flush();
        house.runtime.nowMs += 3_600_000;
      }
      house.stripe.answer = () => 'accepted';
      expect(await house.delivery.flush()).toMatchObject({ accepted: 1 });
    },
  );
});
