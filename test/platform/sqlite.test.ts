import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { expect, it, vi } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { LedgerUnavailable, type Database, type Statement } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { describeDatabase } from '../contract/database.ts';
import { callToOpen } from '../contract/ledger.ts';
import { openTemporary } from '../support/sqlite.ts';

const threads = vi.hoisted((): Worker[] => []);
vi.mock('node:worker_threads', async (original) => {
  const actual = await original<typeof import('node:worker_threads')>();
  class Watched extends actual.Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...actual, Worker: Watched };
});

describeDatabase('node:sqlite', () => openTemporary());

const run = (sql: string, ...params: Statement['params']): Statement => ({ sql, params });

it('opens a database in memory', async () => {
  const database = await openSqlite({ file: ':memory:' });
  expect(await database.batch([run('SELECT 1 AS one')])).toEqual([[{ one: 1 }]]);
  await database.close();
});

it('syncs every commit to the disk in a write-ahead log, and keeps foreign keys', async () => {
  const { database, close } = await openTemporary();
  const answers = await database.batch(
    ['journal_mode', 'synchronous', 'foreign_keys'].map((name) => run(`PRAGMA ${name}`)),
  );
  expect(answers).toEqual([[{ journal_mode: 'wal' }], [{ synchronous: 2 }], [{ foreign_keys: 1 }]]);
  await close();
});

it('keeps a file for itself: a second owner is told which file is in use', async () => {
  const { file, close } = await openTemporary();
  const second = openSqlite({ file });
  await expect(second).rejects.toThrow(LedgerUnavailable);
  await expect(second).rejects.toThrow(`${file}: it is in use by another process`);
  await close();
});

it('is opened by one after the other where several want it for a moment, as commands do', async () => {
  const { database, file, close } = await openTemporary();
  await database.batch([run('CREATE TABLE t (x BIGINT)')]);
  await database.close();
  const visit = async (x: number): Promise<void> => {
    const own = await openSqlite({ file });
    await own.batch([run('INSERT INTO t VALUES (?)', x)]);
    await own.close();
  };
  await Promise.all([1, 2, 3, 4, 5, 6].map(visit));
  const reader = new DatabaseSync(file, { readOnly: true });
  expect(reader.prepare('SELECT SUM(x) AS sum FROM t').get()).toMatchObject({ sum: 21 });
  reader.close();
  await close();
});

it('keeps a file from other processes, which may still read it', async () => {
  const { database, file, close } = await openTemporary();
  await database.batch([run('CREATE TABLE t (x BIGINT)'), run('INSERT INTO t VALUES (7)')]);
  const script = `
    import { openSqlite } from ${JSON.stringify(new URL('../../src/platform/sqlite.ts', import.meta.url).href)};
    await openSqlite({ file: process.argv[1] }).catch((error) => { console.log(error.message); });`;
  const other = spawnSync(process.execPath, ['--input-type=module', '-e', script, file], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(other.stdout).toContain(`${file}: it is in use by another process`);
  const reader = new DatabaseSync(file, { readOnly: true });
  expect(reader.prepare('SELECT x FROM t').get()).toMatchObject({ x: 7 });
  reader.close();
  await close();
});

it('opens a file again once its owner has closed it', async () => {
  const { database, file, close } = await openTemporary();
  await database.batch([run('CREATE TABLE t (x BIGINT)'), run('INSERT INTO t VALUES (7)')]);
  await database.close();
  const again = await openSqlite({ file });
  expect(await again.batch([run('SELECT x FROM t')])).toEqual([[{ x: 7 }]]);
  await again.close();
  await close();
});

it.each(['/dev/null/ledger.db', tmpdir()])('says so when %s cannot be opened', async (file) => {
  const opening = openSqlite({ file });
  await expect(opening).rejects.toThrow(LedgerUnavailable);
  await expect(opening).rejects.toThrow(file);
});

it('finishes what was given before it closes, and takes nothing after', async () => {
  const { database, close } = await openTemporary();
  const given = Array.from({ length: 1_500 }, (_, at) => database.batch([run('SELECT ? AS at', at)]));
  const closed = close();
  expect((await Promise.all(given)).map(([rows]) => rows?.[0]?.['at'])).toEqual(given.map((_, at) => at));
  await closed;
  await expect(database.batch([run('SELECT 1')])).rejects.toThrow(LedgerUnavailable);
});

it('refuses at once what would wait behind too many', async () => {
  const { database, close } = await openTemporary();
  const given = Array.from({ length: 16_400 }, () => database.batch([run('SELECT 1 AS one')]));
  const outcomes = await Promise.allSettled(given);
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(16);
  expect(await database.batch([run('SELECT 1 AS one')])).toEqual([[{ one: 1 }]]);
  await close();
});

it('refuses a parameter that is no value, and serves the others', async () => {
  const { database, close } = await openTemporary();
  const wrong = run('SELECT ?', undefined as unknown as null);
  const [bad, good] = await Promise.allSettled([database.batch([wrong]), database.batch([run('SELECT 1')])]);
  expect([bad.status, good.status]).toEqual(['rejected', 'fulfilled']);
  await close();
});

it('rejects all that waits and all that comes when its thread dies', async () => {
  const { database } = await openTemporary();
  const waiting = [1, 2, 3].map(() => database.batch([run('SELECT 1')]));
  const outcomes = Promise.allSettled(waiting);
  await threads.at(-1)?.terminate();
  for (const outcome of await outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(LedgerUnavailable) });
  await expect(database.batch([run('SELECT 1')])).rejects.toThrow('its thread ended');
  await database.close();
});

it(
  'waits once, not once for each, when another program has locked the file',
  { timeout: 20_000 },
  async () => {
    const { database, file, close } = await openTemporary();
    await database.batch([run('CREATE TABLE t (x BIGINT)')]);
    const other = new DatabaseSync(file);
    other.exec('BEGIN IMMEDIATE');
    const insert = (n: number) => database.batch([run('INSERT INTO t VALUES (?)', n)]);
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5, 6, 7, 8].map(insert));
    const busy = { status: 'rejected', reason: { name: 'LedgerUnavailable', cause: { errcode: 5 } } };
    expect(outcomes).toMatchObject(outcomes.map(() => busy));
    other.close();
    await insert(9);
    expect(await database.batch([run('SELECT x FROM t')])).toEqual([[{ x: 9 }]]);
    await close();
  },
);

it('refuses what a full disk cannot take, and serves the rest of the same group', async () => {
  const { database, close } = await openTemporary({ pagesMax: 40 });
  await database.batch([run('CREATE TABLE t (x TEXT)')]);
  const insert = (text: string) => database.batch([run('INSERT INTO t VALUES (?)', text)]);
  const outcomes = await Promise.allSettled([insert('a'), insert('x'.repeat(400_000)), insert('b')]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(outcomes[1]).toMatchObject({ reason: { name: 'LedgerUnavailable', cause: { errcode: 13 } } });
  expect(await database.batch([run('SELECT x FROM t ORDER BY x')])).toEqual([[{ x: 'a' }, { x: 'b' }]]);
  await close();
});

/** Admits calls, many at a time, until the first is refused; answers those admitted. */
async function admittedUntilFull(database: Database): Promise<string[]> {
  const ledger = createLedger({ database, bootId: 'full' });
  const admitted: string[] = [];
  for (;;) {
    const calls = Array.from({ length: 32 }, () => callToOpen());
    const outcomes = await Promise.allSettled(calls.map((call) => ledger.admit(call)));
    calls.forEach(({ id }, at) => outcomes[at]?.status === 'fulfilled' && admitted.push(id));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) continue;
    expect(failed.reason).toBeInstanceOf(LedgerUnavailable);
    return admitted;
  }
}

it('admits no call it cannot record when the disk is full, and goes on when there is room', async () => {
  const { database, file, close } = await openTemporary({ pagesMax: 120 });
  await migrate(database);
  const admitted = await admittedUntilFull(database);
  expect(admitted.length).toBeGreaterThan(0);
  await database.close();
  const roomy = await openSqlite({ file });
  const ledger = createLedger({ database: roomy, bootId: 'full' });
  expect((await ledger.totals()).openCalls).toBe(admitted.length);
  expect(await ledger.admit(callToOpen())).toEqual({ kind: 'admitted' });
  await roomy.close();
  await close();
});
