import { expect, it } from 'vitest';
import { LedgerUnavailable } from '../../src/ledger/ledger.ts';
import { createDurableDatabase, type DurableStorage } from '../../src/platform/durable-sqlite.ts';

const WRITE = [{ sql: 'UPDATE calls SET over = 1', params: [] }];

/** An object's storage whose disk is given. */
const storageOn = (disk: Promise<void>): DurableStorage => ({
  sql: { exec: () => ({ toArray: () => [] }) },
  transactionSync: (work) => work(),
  sync: () => disk,
});

it('a batch in an object is over when the disk has it', async () => {
  const disk = Promise.withResolvers<void>();
  let over = false;
  const batch = createDurableDatabase(storageOn(disk.promise))
    .batch(WRITE)
    .then(() => (over = true));
  await new Promise(setImmediate);
  expect(over).toBe(false);
  disk.resolve();
  await batch;
  expect(over).toBe(true);
});

it('a batch in an object has failed when the disk has', async () => {
  const database = createDurableDatabase(storageOn(Promise.reject(new Error('no disk'))));
  await expect(database.batch(WRITE)).rejects.toThrow(LedgerUnavailable);
});
