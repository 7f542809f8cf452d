/** What is deleted, and above all what is not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDelivery } from '../../src/billing/delivery/delivery.ts';
import type { Layout } from '../../src/billing/delivery/layouts.ts';
import { createRetentionPasses } from '../../src/billing/bulk/retention.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { Delivery, Ledger, MeterEvent } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createTestRuntime, testCrypto, type TestRuntime } from '../billing/support.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 21, 12);
const METER = 'token-billing-tokens';

let temporary: TemporaryDatabase;
let ledger: Ledger;
let runtime: TestRuntime;
beforeEach(async () => {
  runtime = createTestRuntime(NOW);
  temporary = await openTemporary();
  await migrate(temporary.database);
  ledger = createLedger({ database: temporary.database, bootId: 'boot' });
});
afterEach(() => temporary.close());

let calls = 0;
/** A call that ended so many days ago, with tokens read and generated, or none. */
async function called(
  agoMs: number,
  { customer = 'cus_a', tokens = 10, isOpen = false } = {},
): Promise<string> {
  const id = `req_${String((calls += 1)).padStart(26, '0')}`;
  const call = { id, customer, keyId: 'k', endpoint: 'chat.completions', provider: 'demo', model: 'demo/m' };
  await ledger.admit({ ...call, stream: false, openedAtMs: runtime.nowMs - agoMs });
  if (isOpen) return id;
  const lines = (['input', 'output'] as const).map((tokenType) => ({
    attempt: 1,
    model: 'demo/m',
    tokenType,
    tokens,
  }));
  await ledger.settle({
    id,
    endedAtMs: runtime.nowMs - agoMs,
    outcome: 'finished',
    status: 200,
    usageSource: tokens === 0 ? 'none' : 'reported',
    lines: tokens === 0 ? [] : lines,
    usageJson: '[]',
    costPico: '1234567',
    responseId: null,
  });
  return id;
}

/** Sends what waits; events of 34 days and more are not, so the clock is set to when it happened. */
async function delivered({ kind = 'accepted', layout = 'dimensions', agoMs = 40 * DAY } = {}): Promise<void> {
  const nowMs = runtime.nowMs;
  runtime.nowMs = nowMs - agoMs + HOUR;
  const told = { kind, error: 'told by a test', notBeforeMs: runtime.nowMs };
  const send = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> =>
    events.map(({ identifier }) => Object.assign({ identifier }, told) as Delivery);
  const layouts = [layout as Layout];
  const options = { ledger, runtime, crypto: testCrypto, eventName: METER, sink: { send }, layouts };
  await createDelivery(options).flush();
  runtime.nowMs = nowMs;
}
async function confirmed(): Promise<void> {
  for (const { identifier } of (await ledger.events({ state: 'accepted', limit: 1_000 })).data)
    await ledger.confirmEvents([identifier]);
}
/** Every step of one day's trimming. */
async function trimmed(days: number | null = 36): Promise<void> {
  const passes = createRetentionPasses({ ledger, runtime, days });
  runtime.nowMs += 60_000;
  for (let next = await passes.pass(); next !== undefined && next < DAY; next = await passes.pass())
    runtime.nowMs += next;
}
const left = async (): Promise<{ calls: number; events: number }> => ({
  calls: (await ledger.calls({ limit: 1_000 })).data.length,
  events: (await ledger.events({ limit: 1_000 })).data.length,
});

describe('retention', () => {
  afterEach(async () => expect(await violations(temporary.database)).toEqual([]));

  it('deletes what is old and confirmed, with everything that hangs on it', async () => {
    await called(40 * DAY);
    await called(40 * DAY, { tokens: 0 });
    await delivered();
    await called(1 * DAY);
    await delivered({ agoMs: DAY });
    await confirmed();
    expect(await left()).toEqual({ calls: 3, events: 4 });
    await trimmed();
    expect(await left()).toEqual({ calls: 1, events: 2 });
    const line = runtime.lines.find(({ event }) => event === 'ledger_trimmed');
    expect(line?.fields).toEqual({ calls: 2, events: 2, older_than_days: 36 });
  });

  it('takes nothing off what a budget has spent, also where its limit is changed afterwards', async () => {
    const budget = { id: 'bud_k', scope: 'key', subject: 'k', span: 'total' } as const;
    const spent = async () => (await ledger.budgets('k', runtime.nowMs))[0]?.spentPico;
    await called(40 * DAY);
    await ledger.putBudget({ ...budget, limitPico: '2000000' }, runtime.nowMs);
    await delivered();
    await confirmed();
    await trimmed();
    expect(await left()).toEqual({ calls: 0, events: 0 });
    await ledger.putBudget({ ...budget, limitPico: '3000000' }, runtime.nowMs);
    expect(await spent()).toBe('1234567');
  });

  it('deletes nothing unless it is told to', async () => {
    await called(400 * DAY);
    await delivered({ agoMs: 400 * DAY });
    await confirmed();
    await trimmed(null);
    expect(await left()).toEqual({ calls: 1, events: 2 });
  });

  it.each(['refused', 'ambiguous', 'quarantined', 'expired', 'retry'] as const)(
    'never deletes what Stripe has not: %s',
    async (kind) => {
      await called(40 * DAY);
      await delivered({ kind });
      await trimmed();
      expect(await left()).toEqual({ calls: 1, events: 2 });
    },
  );

  it('never deletes what is not sealed, not settled, or not confirmed yet', async () => {
    await called(40 * DAY);
    await called(40 * DAY, { isOpen: true });
    await trimmed();
    expect(await left()).toMatchObject({ calls: 2 });
    await delivered();
    await trimmed();
    expect(await left()).toEqual({ calls: 2, events: 2 });
  });

  it('keeps an hour whole while one of its events is open, since the comparison needs the others', async () => {
    await called(40 * DAY);
    await called(40 * DAY + 2 * HOUR);
    await delivered();
    await confirmed();
    await called(40 * DAY - 1_000);
    await delivered({ kind: 'refused' });
    await trimmed();
    expect(await left()).toEqual({ calls: 2, events: 4 });
  });

  it('deletes summed events with all their calls, however many', async () => {
    for (let at = 0; at < 430; at += 1) await called(40 * DAY + at);
    await delivered();
    await confirmed();
    expect((await left()).events).toBeLessThan(10);
    await trimmed();
    expect(await left()).toEqual({ calls: 0, events: 0 });
  });

  it('deletes units that no call made', async () => {
    const unit = {
      destination: 'dimensions',
      eventName: 'documents',
      customer: 'cus_a',
      model: '',
      tokenType: '',
    };
    for (let at = 0; at < 250; at += 1)
      await ledger.record({ ...unit, identifier: `u${at}`, value: '1', timestampMs: NOW - 40 * DAY + at });
    await ledger.record({ ...unit, identifier: 'young', value: '1', timestampMs: NOW - DAY });
    await delivered();
    await confirmed();
    await trimmed();
    expect((await ledger.events({ limit: 10 })).data.map(({ identifier }) => identifier)).toEqual(['young']);
  });

  it('keeps count of what the cost layout carries on', async () => {
    for (let at = 0; at < 7; at += 1) await called(40 * DAY + at);
    await delivered({ layout: 'cost' });
    await confirmed();
    await trimmed();
    expect((await left()).calls).toBe(0);
    await called(DAY);
    await delivered({ layout: 'cost', agoMs: DAY });
    // Eight calls of 1.234567 millionths are 9.87 of them: the eighth is billed what the seven had left too.
    const bought = (await ledger.events({ limit: 10 })).data.map(({ value }) => value);
    expect(bought).toEqual(['1']);
    const [rows = []] = await temporary.database.batch([
      { sql: 'SELECT CAST(pico AS TEXT) AS pico FROM cost_carries', params: [] },
    ]);
    expect(rows[0]?.['pico']).toBe(String((8 * 1_234_567) % 1_000_000));
  });

  it('is due within a day after the clock was set back by a year', async () => {
    const passes = createRetentionPasses({ ledger, runtime, days: 36 });
    runtime.nowMs += 365 * DAY;
    await passes.pass();
    runtime.nowMs = NOW;
    expect(await passes.pass()).toBeLessThanOrEqual(DAY);
  });

  it('takes small steps', async () => {
    for (let at = 0; at < 450; at += 1) await called(40 * DAY + at, { tokens: 0 });
    const sizes: number[] = [];
    let cursor: string | null = null;
    do {
      const dropped = await ledger.dropCalls({ beforeMs: NOW - 36 * DAY, cursor });
      sizes.push(dropped.calls);
      cursor = dropped.nextCursor;
    } while (cursor !== null);
    expect(sizes).toEqual([200, 200, 50]);
  });
});
