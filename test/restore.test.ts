/** A ledger that is put back from a backup: nothing is sent twice, and what was lost is found. */
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assembleRestore } from '../src/assemble/books.ts';
import { createDelivery } from '../src/billing/delivery/delivery.ts';
import { createReconciler } from '../src/billing/reconcile/reconciler.ts';
import { createStripeClient } from '../src/billing/stripe/client.ts';
import { createStripeSums } from '../src/billing/reconcile/summaries.ts';
import { createStripeWays } from '../src/billing/delivery/ways.ts';
import { createLedger } from '../src/ledger/create-ledger.ts';
import { violations } from '../src/ledger/invariants.ts';
import { type Ledger, LedgerUnavailable, type MeterEvent } from '../src/ledger/ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { openSentWatch, type SentWatch } from '../src/platform/sent-watch.ts';
import { openSqlite, type SqliteDatabase } from '../src/platform/sqlite.ts';
import { createStripeSimulator, type StripeSimulator } from '../src/simulator/stripe.ts';
import { createTestRuntime, testCrypto, type TestRuntime } from './billing/support.ts';
import { settingsOf } from './support/settings.ts';
import { temporaryDirectory } from './support/sqlite.ts';

const HOUR = 3_600_000;
const METER = 'token-billing-tokens';
const CUSTOMER = 'cus_a';

const SETTINGS = settingsOf({ STRIPE_SECRET_KEY: 'sk_test_x', OPENAI_API_KEY: 'sk-x' }, '');

let directory: string;
let file: string;
let runtime: TestRuntime;
let simulator: StripeSimulator;
let stripe: ReturnType<typeof createStripeClient>;

beforeEach(async () => {
  directory = temporaryDirectory();
  file = join(directory, 'ledger.db');
  runtime = createTestRuntime(Date.UTC(2026, 10, 21, 12));
  simulator = createStripeSimulator({ now: runtime.now, webhookSecret: 'whsec' });
  simulator.addMeter(METER);
  simulator.addCustomer(CUSTOMER);
  stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: await simulator.listen() });
});
afterEach(async () => {
  await simulator.close();
  rmSync(directory, { recursive: true });
});

interface Process {
  readonly database: SqliteDatabase;
  readonly ledger: Ledger;
  readonly watch: SentWatch;
  flush(): Promise<void>;
}

/** As much of a gateway's start as concerns its ledger. */
async function started(sending: () => Promise<void> = () => Promise.resolve()): Promise<Process> {
  const database = await openSqlite({ file });
  await migrate(database);
  const ledger = createLedger({ database, bootId: runtime.id() });
  const restore = assembleRestore({ settings: SETTINGS, runtime, ledger, crypto: testCrypto });
  const watch = await openSentWatch({ ledger, runtime, database: file, restore });
  await ledger.recover({ nowMs: runtime.nowMs });
  const way = createStripeWays('v2', { stripe, runtime, heard: () => undefined }).choose(0, runtime.nowMs);
  const sink = {
    send: (events: readonly MeterEvent[]) => sending().then(() => way.send(events)),
  };
  const options = { ledger, sink, runtime, crypto: testCrypto, eventName: METER };
  const delivery = createDelivery({ ...options, sent: watch.sent });
  return {
    database,
    ledger,
    watch,
    async flush() {
      await delivery.flush();
      await watch.sent(0);
    },
  };
}

let calls = 0;
async function called({ ledger }: Process, tokens: number, open = false): Promise<void> {
  const id = `req_${String((calls += 1)).padStart(26, '0')}`;
  const model = 'demo/plain';
  const call = { id, customer: CUSTOMER, keyId: 'k', endpoint: 'chat.completions', provider: 'demo', model };
  await ledger.admit({ ...call, stream: false, openedAtMs: runtime.nowMs });
  const lines = [{ attempt: 1, model, tokenType: 'input', tokens }];
  if (open) {
    await ledger.checkpoint({ id, lines, usageJson: '[]', costPico: '0' });
    return;
  }
  await ledger.settle({
    id,
    endedAtMs: runtime.nowMs,
    outcome: 'finished',
    status: 200,
    usageSource: 'reported',
    lines,
    usageJson: '[]',
    costPico: '0',
    responseId: null,
  });
}

function backup(): void {
  const database = new DatabaseSync(file, { readOnly: true });
  database.exec(`VACUUM INTO '${file}.backup'`);
  database.close();
}
function putBack(): void {
  for (const end of ['', '-wal', '-shm']) if (existsSync(`${file}${end}`)) rmSync(`${file}${end}`);
  copyFileSync(`${file}.backup`, file);
}
const billed = (): number => simulator.sums().reduce((sum, { value }) => sum + value, 0);
const pass = (ms: number): void => {
  runtime.nowMs += ms;
};
const states = async ({ ledger }: Process): Promise<string[]> =>
  (await ledger.events({ limit: 100 })).data.map(({ value, state }) => `${value} ${state}`).toSorted();
const compared = async ({ ledger }: Process) => {
  const sums = createStripeSums({ stripe });
  const more = { dimensionsEventName: METER, resent: () => undefined, pause: async () => undefined };
  const run = await createReconciler({ ledger, sums, runtime, ...more }).begin({ cause: 'command' });
  return run?.done;
};

describe('a backup that is put back', () => {
  it('is found at the start: what was sent since is marked, not sent again, and reconciled', async () => {
    const first = await started();
    await called(first, 10);
    await first.flush();
    pass(2_000);
    await called(first, 20);
    await called(first, 3, true);
    backup();
    await first.flush();
    pass(2_000);
    await first.flush();
    expect(billed()).toBe(30);
    await first.database.close();
    putBack();
    // Two days on, Stripe knows no identifier any more: sent again, it would count again.
    pass(48 * HOUR);
    const second = await started();
    await second.flush();
    expect(billed()).toBe(30);
    expect(await states(second)).toEqual(['10 accepted', '20 quarantined']);
    expect(runtime.lines.find(({ event }) => event === 'ledger_restored')?.fields).toEqual({
      quarantined: 1,
      closed: 1,
    });
    expect(await violations(second.database)).toEqual([]);
    const run = await compared(second);
    expect(run).toMatchObject({ verdict: 'equal', delivered: 1, confirmed: 2 });
    expect(run?.notes.join()).toContain('restored');
    await second.database.close();
  });

  it('is found although the pass that sent it never ended', async () => {
    let sends = 0;
    let first: Process | undefined;
    first = await started(async () => {
      sends += 1;
      pass(100);
      if (sends === 20) backup();
      if (sends === 80) await first?.database.close();
    });
    for (let at = 0; at < 90; at += 1) await called(first, 1);
    await expect(first.flush()).rejects.toThrow(LedgerUnavailable);
    const before = billed();
    expect(before).toBeGreaterThan(64);
    putBack();
    pass(48 * HOUR);
    const second = await started();
    await second.flush();
    expect(billed()).toBe(before);
    expect(runtime.lines.some(({ event }) => event === 'ledger_restored')).toBe(true);
    await second.database.close();
  });

  it('sends what was never sent, once the comparison has shown that it was not', async () => {
    const first = await started();
    await called(first, 10);
    await first.flush();
    pass(2_000);
    await first.flush();
    await called(first, 20);
    backup();
    await first.database.close();
    putBack();
    // Nothing was sent since, and on another machine there is no mark beside it: the operator says so.
    rmSync(`${file}.sent.json`);
    const restoring = await started();
    await assembleRestore({
      settings: SETTINGS,
      runtime,
      ledger: restoring.ledger,
      crypto: testCrypto,
    })();
    await restoring.flush();
    expect(billed()).toBe(10);
    pass(7 * HOUR);
    expect(await compared(restoring)).toMatchObject({ lost: 1 });
    await restoring.flush();
    expect(billed()).toBe(30);
    pass(HOUR);
    expect(await compared(restoring)).toMatchObject({ verdict: 'equal' });
    await restoring.database.close();
  });

  it('sums a pile that was in no event yet, so that what is in doubt stays few', async () => {
    const first = await started();
    for (let at = 0; at < 150; at += 1) await called(first, 2);
    await assembleRestore({ settings: SETTINGS, runtime, ledger: first.ledger, crypto: testCrypto })();
    expect(await states(first)).toEqual(['300 quarantined']);
    expect(await violations(first.database)).toEqual([]);
    pass(7 * HOUR);
    expect(await compared(first)).toMatchObject({ lost: 1 });
    await first.flush();
    expect(billed()).toBe(300);
    await first.database.close();
  });

  it('is not suspected where a ledger was only stopped, or killed, and started again', async () => {
    for (let start = 0; start < 3; start += 1) {
      const process = await started();
      await called(process, 10);
      await process.flush();
      pass(2_000);
      await called(process, 10);
      await process.database.close();
    }
    const last = await started();
    await last.flush();
    expect(billed()).toBe(60);
    expect(runtime.lines.some(({ event }) => event === 'ledger_restored')).toBe(false);
    await last.database.close();
  });

  it('is no matter for another ledger in its place', async () => {
    writeFileSync(`${file}.sent.json`, JSON.stringify({ ledger: 'another', sequence: 1_000_000 }));
    const process = await started();
    await called(process, 10);
    await process.flush();
    expect(billed()).toBe(10);
    await process.database.close();
  });

  it('goes on where a restoration was interrupted', async () => {
    const first = await started();
    await called(first, 10);
    await first.ledger.beginRestoring(runtime.nowMs);
    await first.database.close();
    const second = await started();
    await second.flush();
    expect(billed()).toBe(0);
    expect(await states(second)).toEqual(['10 quarantined']);
    await second.database.close();
  });

  it('refuses to guess when the file beside the database cannot be read', async () => {
    writeFileSync(`${file}.sent.json`, '{');
    await expect(started()).rejects.toThrow('faregate restore');
  });
});
