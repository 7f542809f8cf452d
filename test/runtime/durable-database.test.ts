import { afterAll, beforeAll } from 'vitest';
import { createTestHarness } from 'wrangler';
import { LedgerUnavailable, type Database, type Row } from '../../src/ledger/ledger.ts';
import { describeDatabase } from '../contract/database.ts';
import { describeLedger } from '../contract/ledger.ts';

const harness = createTestHarness({ workers: [{ configPath: 'test/support/database-worker.toml' }] });
let url: URL;
beforeAll(async () => {
  ({ url } = await harness.listen());
});
afterAll(() => harness.close());

/** The port of the object of that name, a request a batch. One at a time, as a request may overtake another. */
const databaseOf = (name: string): Database => {
  let last: Promise<unknown> = Promise.resolve();
  const send: Database['batch'] = async (statements) => {
    const response = await fetch(new URL(name, url), { method: 'POST', body: JSON.stringify(statements) });
    const answer: unknown = await response.json();
    if (response.ok) return answer as readonly (readonly Row[])[];
    const { message, cause } = answer as { message: string; cause: string };
    throw new LedgerUnavailable(message, { cause });
  };
  return {
    batch(statements) {
      const sent = last.then(() => send(statements));
      last = sent.catch(() => undefined);
      return sent;
    },
  };
};

const open = (name: string) => async () => ({ database: databaseOf(name), close: async () => undefined });

describeDatabase('a Durable Object', open('database'));
describeLedger('a Durable Object', open('ledger'));
