/** When delivery wants to be called again: the ledger says so, not the memory of who began. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { createDelivery, type MeterDelivery } from '../../../src/billing/delivery/delivery.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import {
  LedgerUnavailable,
  type Database,
  type Delivery,
  type MeterEvent,
  type Statement,
} from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { callToOpen, ending, MODEL } from '../../contract/ledger-calls.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, testCrypto } from '../support.ts';

const LINE = { attempt: 1, model: MODEL, tokenType: 'input', tokens: 12 } as const;
const AT = Date.UTC(2026, 10, 21, 11);
const accepted = ({ identifier }: MeterEvent): Delivery => ({ identifier, kind: 'accepted' });

/** A ledger that outlives its process: `start` is the process's delivery, with a memory of its own. */
async function house() {
  const runtime = createTestRuntime(AT);
  const database = openMemory();
  onTestFinished(() => database.close());
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot' });
  const stripe = { answer: accepted };
  const send = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> =>
    events.map((event) => stripe.answer(event));
  const start = (mark = ledger.mark): MeterDelivery =>
    createDelivery({
      ledger: { ...ledger, mark },
      sink: { send },
      runtime,
      crypto: testCrypto,
      eventName: 'meter',
    });
  const settle = async (): Promise<void> => {
    const call = callToOpen({ customer: 'cus_a', openedAtMs: runtime.nowMs });
    await ledger.admit(call);
    await ledger.settle(ending(call.id, { endedAtMs: runtime.nowMs, lines: [LINE] }));
  };
  return { runtime, database, stripe, start, settle };
}

/** Looked after so often, however far off it is. */
const POLL_MS = 5_000;

describe('who has just started', () => {
  it('is to be called again when an event is due that an earlier process put off', async () => {
    const { runtime, stripe, start, settle } = await house();
    await settle();
    stripe.answer = ({ identifier }) => ({
      identifier,
      kind: 'retry',
      cause: 'busy',
      notBeforeMs: AT + 120_000,
      error: 'retry-after: 120',
    });
    await start().flush();
    stripe.answer = accepted;
    runtime.nowMs += 60_000;
    expect(await start().flush()).toMatchObject({ sent: 0, next: POLL_MS });
    runtime.nowMs += 58_000;
    expect(await start().flush()).toMatchObject({ sent: 0, next: 2_000 });
    runtime.nowMs += 2_000;
    const report = await start().flush();
    expect(report).toMatchObject({ accepted: 1 });
    expect(report).not.toHaveProperty('next');
  });

  it('is to be called again for it though something else was delivered meanwhile', async () => {
    const { runtime, stripe, start, settle } = await house();
    await settle();
    const busy = { kind: 'ambiguous', notBeforeMs: AT + 120_000, error: 'reset' } as const;
    stripe.answer = ({ identifier }) => ({ ...busy, identifier });
    await start().flush();
    stripe.answer = accepted;
    runtime.nowMs += 30_000;
    await settle();
    expect(await start().flush()).toMatchObject({ accepted: 1, next: POLL_MS });
  });

  it('is to be called again when the lease ends of what was sent and not marked', async () => {
    const { runtime, start, settle } = await house();
    await settle();
    const broken = start(() => Promise.reject(new LedgerUnavailable('disk full')));
    await expect(broken.flush()).rejects.toThrow(LedgerUnavailable);
    runtime.nowMs += 1_000;
    expect(await broken.flush()).toMatchObject({ sent: 0, next: POLL_MS });
    runtime.nowMs += 23_000;
    expect(await start().flush()).toMatchObject({ sent: 0, next: 1_000 });
    runtime.nowMs += 1_000;
    expect(await start().flush()).toMatchObject({ accepted: 1 });
  });
});

it('the time of the next event is read off an index, however many events there are', async () => {
  const { database } = await house();
  const asked: Statement[] = [];
  const watched: Database = {
    batch(statements) {
      asked.push(...statements);
      return database.batch(statements);
    },
  };
  await createLedger({ database: watched, bootId: 'boot' }).nextDueMs(['dimensions', 'sink:one']);
  expect(asked).toHaveLength(2);
  for (const { sql, params } of asked) {
    const [plan = []] = await database.batch([{ sql: `EXPLAIN QUERY PLAN ${sql}`, params }]);
    expect(plan.map((row) => row['detail'])).toEqual([
      'SEARCH meter_events USING INDEX meter_events_due (destination=?)',
    ]);
  }
});
