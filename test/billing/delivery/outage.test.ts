import { describe, expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, lineOf, MemoryLedger, testCrypto } from '../support.ts';

const HOUR = 3_600_000;

function setUp(backlog: number, customers = backlog) {
  const runtime = createTestRuntime();
  const ledger = new MemoryLedger();
  const sent: MeterEvent[] = [];
  const stripe = {
    answer: (_event: MeterEvent): 'accepted' | 'ambiguous' | 'unauthorised' | 'forbidden' => 'accepted',
  };
  const send = (event: MeterEvent): Delivery => {
    sent.push(event);
    const { identifier } = event;
    const kind = stripe.answer(event);
    const failure = { identifier, notBeforeMs: runtime.now(), error: kind };
    if (kind === 'accepted') return { identifier, kind };
    return kind === 'ambiguous' ? { ...failure, kind } : { ...failure, kind: 'retry', cause: kind };
  };
  const sink = { send: (events: readonly MeterEvent[]) => Promise.resolve(events.map(send)) };
  const delivery = createDelivery({
    ledger,
    sink,
    runtime,
    crypto: testCrypto,
    eventName: 'meter',
    parallelMax: 8,
  });
  for (let n = 0; n < backlog; n += 1) {
    ledger.lines.push(
      lineOf(`call-${String(n)}`, { customer: `cus_${String(n % customers)}`, tokens: n + 1 }),
    );
  }
  /** Flushes as the loop's owner does, until so much time has passed. */
  const run = async (ms: number): Promise<void> => {
    const endMs = runtime.nowMs + ms;
    while (runtime.nowMs < endMs) {
      const { next } = await delivery.flush();
      runtime.nowMs = Math.min(endMs, runtime.nowMs + Math.max(next ?? 1_000, 1));
    }
  };
  return { runtime, ledger, delivery, sent, stripe, run };
}

describe('an outage', () => {
  it('leaves the backlog never-attempted, however long it lasts', async () => {
    const { ledger, stripe, run } = setUp(1_000);
    stripe.answer = () => 'ambiguous';
    await run(22 * HOUR);
    const attempted = [...ledger.events.values()].filter((row) => row.firstAttemptAtMs !== null);
    expect(attempted.length).toBeGreaterThan(0);
    expect(attempted.length).toBeLessThan(40);
    stripe.answer = () => 'accepted';
    await run(60_000);
    expect(ledger.states()).toEqual({ accepted: 1_000 });
  });

  it('is found over within 15 s, and everything delivered within 30 s', async () => {
    const { ledger, stripe, run } = setUp(200);
    stripe.answer = () => 'ambiguous';
    await run(2 * HOUR);
    stripe.answer = () => 'accepted';
    await run(15_000);
    expect(ledger.states()['accepted']).toBeGreaterThan(150);
    await run(15_000);
    expect(ledger.states()).toEqual({ accepted: 200 });
  });

  it('is probed with one event at a time', async () => {
    const { delivery, runtime, sent, stripe } = setUp(100);
    stripe.answer = () => 'ambiguous';
    const { next = 0 } = await delivery.flush();
    const before = sent.length;
    expect(await delivery.flush()).toMatchObject({ sent: 0 });
    runtime.nowMs += next;
    expect(await delivery.flush()).toMatchObject({ sent: 1 });
    expect(sent.length).toBe(before + 1);
  });

  it('of some events only does not hold up the others for long', async () => {
    const { ledger, stripe, run } = setUp(100, 100);
    stripe.answer = (event) => (Number(event.value) <= 10 ? 'ambiguous' : 'accepted');
    await run(60_000);
    expect(ledger.states()).toMatchObject({ accepted: 90 });
  });

  it('quarantines what it made ambiguous once that is 23 hours old, and delivers all the rest', async () => {
    const { ledger, stripe, run, sent } = setUp(300);
    stripe.answer = () => 'ambiguous';
    await run(30 * HOUR);
    const attempted = new Set(sent.map((event) => event.identifier));
    stripe.answer = () => 'accepted';
    await run(60_000);
    const { accepted = 0, quarantined = 0, ...others } = ledger.states();
    expect(others).toEqual({});
    expect(accepted + quarantined).toBe(300);
    expect(quarantined).toBeLessThanOrEqual(attempted.size);
    expect(quarantined).toBeLessThan(60);
  });
});

describe('a refused key', () => {
  it('pauses sending at the first answer, burns no attempt and is told loudly', async () => {
    const { ledger, runtime, stripe, delivery, sent } = setUp(100);
    stripe.answer = () => 'unauthorised';
    const report = await delivery.flush();
    expect(report).toMatchObject({ accepted: 0, refused: 0, next: 10_000 });
    expect(sent.length).toBeLessThanOrEqual(8);
    for (const row of ledger.events.values()) {
      expect(row).toMatchObject({ attempts: 0, firstAttemptAtMs: null, state: 'pending' });
    }
    expect(runtime.lines.some((line) => line.level === 'error' && line.event === 'stripe_refuses_key')).toBe(
      true,
    );
  });

  it('is tried with one event every 10 s, and everything goes out once it is mended', async () => {
    const { ledger, stripe, run, sent } = setUp(50);
    stripe.answer = () => 'unauthorised';
    await run(HOUR);
    expect(sent.length).toBeLessThanOrEqual(8 + 361);
    stripe.answer = () => 'accepted';
    await run(11_000);
    expect(ledger.states()).toEqual({ accepted: 50 });
  });
});

describe('a 403', () => {
  it('at one customer alone does not slow the others, and becomes a refusal of its events', async () => {
    const { ledger, stripe, run, sent } = setUp(20);
    const poison = 'cus_0';
    stripe.answer = ({ customer }) => (customer === poison ? 'forbidden' : 'accepted');
    ledger.lines.push(lineOf('call-0', { customer: poison, tokenType: 'output' }));
    await run(1_000);
    expect(ledger.states()).toMatchObject({ accepted: 19 });
    await run(30_000);
    expect(ledger.states()).toEqual({ accepted: 19, refused: 2 });
    expect(sent.filter(({ customer }) => customer === poison).length).toBeLessThanOrEqual(4);
  });

  it('at one customer first of all does not slow those who come later', async () => {
    const { ledger, stripe, run } = setUp(1);
    stripe.answer = ({ customer }) => (customer === 'cus_0' ? 'forbidden' : 'accepted');
    await run(60_000);
    expect(ledger.states()).toEqual({ pending: 1 });
    for (let n = 1; n < 20; n += 1)
      ledger.lines.push(lineOf(`later-${String(n)}`, { customer: `cus_${String(n)}` }));
    await run(2_000);
    expect(ledger.states()).toMatchObject({ accepted: 19 });
    await run(15_000);
    expect(ledger.states()).toEqual({ accepted: 19, refused: 1 });
  });

  it('at everyone is the key: everything waits, nothing is refused', async () => {
    const { ledger, stripe, run, sent, runtime } = setUp(50);
    stripe.answer = () => 'forbidden';
    await run(HOUR);
    expect(sent.length).toBeLessThanOrEqual(8 + 361);
    expect(ledger.states()).toEqual({ pending: 50 });
    expect(runtime.lines.some(({ event }) => event === 'stripe_refuses_key')).toBe(true);
    stripe.answer = () => 'accepted';
    await run(11_000);
    expect(ledger.states()).toEqual({ accepted: 50 });
  });
});

describe('a clock set back', () => {
  it('by ten hours does not keep a retry waiting for the old time', async () => {
    const { ledger, stripe, run, runtime } = setUp(1);
    stripe.answer = () => 'ambiguous';
    await run(20_000);
    runtime.nowMs -= 10 * HOUR;
    stripe.answer = () => 'accepted';
    await run(31_000);
    expect(ledger.states()).toEqual({ accepted: 1 });
  });

  it('does not make doubt look younger than it is', async () => {
    const { ledger, stripe, run, runtime } = setUp(1);
    stripe.answer = () => 'ambiguous';
    await run(20 * HOUR);
    runtime.nowMs -= 10 * HOUR;
    await run(3 * HOUR + 60_000);
    stripe.answer = () => 'accepted';
    await run(16_000);
    expect(ledger.states()).toEqual({ quarantined: 1 });
  });
});
