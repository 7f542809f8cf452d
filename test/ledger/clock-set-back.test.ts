/** What waits for a time, or was read at one, when the clock is set back. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createDelivery } from '../../src/billing/delivery/delivery.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Database, Delivery, Ledger, MeterEvent, Statement } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createTestRuntime, testCrypto } from '../billing/support.ts';
import { openMemory } from '../support/memory-database.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 21, 12);
/** Where the clock wrongly was. */
const LATER = NOW + DAY;
const customer = 'cus_a';

let ledger: Ledger;
let database: ReturnType<typeof openMemory>;
beforeEach(async () => {
  database = openMemory();
  await migrate(database);
  ledger = createLedger({ database, bootId: 'boot' });
});

it('a customer who was to be read is read once, and not again and again until the old time', async () => {
  await ledger.wantReading(customer, LATER);
  await ledger.clockSetBack(DAY);
  expect(await ledger.nextReadingMs()).toBe(NOW);
  await ledger.wantReading(customer, NOW + 1_000);
  await ledger.readingDone(customer, NOW + 2_000);
  expect(await ledger.nextReadingMs()).toBeUndefined();
});

it('what Stripe says now of a subscription goes before what was read by the later clock', async () => {
  const subscription = { id: 'sub_1', state: 'past_due' };
  const paymentBlock = { atMs: NOW, why: 'subscription past_due' };
  await ledger.recordSubscription({ customer, readAtMs: LATER, subscription, paymentBlock, period: null });
  await ledger.clockSetBack(DAY);
  const paid = { subscription: { id: 'sub_1', state: 'active' }, paymentBlock: null, period: null };
  expect(await ledger.recordSubscription({ customer, readAtMs: NOW + 1_000, ...paid })).toBe('recorded');
  expect(await ledger.account(customer)).toMatchObject({ paymentBlock: null });
});

it('what Stripe says now of a grant goes before what was read by the later clock', async () => {
  const grant = {
    id: 'credgr_1',
    name: null,
    category: 'paid',
    priority: 50,
    amountPico: '5000000000000',
    applies: true,
    effectiveAtMs: 0,
    expiresAtMs: null,
    createdAtMs: 0,
  } as const;
  const before = { ...grant, balancePico: '5000000000000', voidedAtMs: null };
  await ledger.recordGrants({ customer, readAtMs: LATER, grants: [before] });
  await ledger.clockSetBack(DAY);
  const voided = { ...grant, balancePico: '0', voidedAtMs: NOW };
  await ledger.recordGrants({ customer, readAtMs: NOW + 1_000, grants: [voided] });
  expect(await ledger.balance(customer, NOW + 1_000)).toMatchObject({ creditPico: '0' });
});

it('a purchase of credit does not wait for the old time, and is looked for from when it was made', async () => {
  await ledger.openTopUp({ id: 'top_1', customer, kind: 'operator', cents: 500, createdAtMs: LATER });
  await ledger.clockSetBack(DAY);
  expect(await ledger.dueTopUps(NOW, 9)).toMatchObject([{ id: 'top_1', createdAtMs: NOW }]);
});

/** A process that begins, and has one pass. */
const start = async (nowMs: number) => {
  const runtime = createTestRuntime(nowMs);
  const send = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> =>
    events.map(({ identifier }) => ({ identifier, kind: 'ambiguous', notBeforeMs: nowMs, error: 'reset' }));
  await createDelivery({ ledger, runtime, crypto: testCrypto, sink: { send }, eventName: 'meter' }).flush();
  return runtime.lines.filter(({ event }) => event === 'clock_set_back').length;
};
const record = (identifier: string, timestampMs: number) => {
  const content = {
    destination: 'dimensions',
    eventName: 'documents',
    model: '',
    tokenType: '',
    value: '1',
  };
  return ledger.record({ identifier, customer, timestampMs, ...content });
};

describe('a start', () => {
  it('behind the clock moves what waits once, not again at each further start', async () => {
    await record('fg_rec_later', LATER);
    expect(await start(NOW)).toBe(1);
    await record('fg_rec_doubt', NOW);
    expect(await start(NOW + 1_000)).toBe(0);
    const [doubt] = await ledger.lease({
      nowMs: NOW + HOUR,
      leaseMs: 1,
      limit: 1,
      identifier: 'fg_rec_doubt',
    });
    expect(doubt).toMatchObject({ isInDoubt: true, firstAttemptAtMs: NOW + 1_000 });
    // And again when the clock was set back again.
    await record('fg_rec_far', LATER + DAY);
    expect(await start(NOW + 2 * HOUR)).toBe(1);
  });

  it('does not take usage that was recorded five minutes ahead for a clock that was there', async () => {
    await record('fg_rec_ahead', NOW + 300_000);
    expect(await start(NOW)).toBe(0);
  });
});

it('the latest time on record is found at a start at the end of its index, however many events there are', async () => {
  const asked: Statement[] = [];
  const watched: Database = {
    batch(statements) {
      asked.push(...statements);
      return database.batch(statements);
    },
  };
  await record('fg_rec_later', LATER);
  expect(await createLedger({ database: watched, bootId: 'boot' }).latestClockMs()).toBe(LATER);
  const plans = await database.batch(
    asked.map(({ sql, params }) => ({ sql: `EXPLAIN QUERY PLAN ${sql}`, params })),
  );
  const details = plans.flat().map((row) => String(row['detail']));
  expect(details).toContain('SEARCH meter_events USING COVERING INDEX meter_events_by_time');
  expect(details.filter((detail) => detail.startsWith('SCAN meter_events'))).toEqual([]);
});

it('a notice does not wait for the old time', async () => {
  const notice = { id: 'msg_1', type: 'balance.low', customer, body: '{}' };
  await ledger.addNotices(customer, { notices: [notice], levels: [] }, LATER);
  await ledger.clockSetBack(DAY);
  expect(await ledger.dueNotices(NOW, 9)).toMatchObject([{ id: 'msg_1' }]);
});

it('lost webhooks are looked for from the time that it is', async () => {
  await ledger.setEventCursor(LATER / 1_000);
  await ledger.clockSetBack(DAY);
  expect(await ledger.eventCursor()).toBe(NOW / 1_000);
});
