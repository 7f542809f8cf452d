/** What it costs the ledger's writer that a customer asks what Stripe has not been told of him. */
import { expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Database, Statement } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openMemory } from '../support/memory-database.ts';

it('what Stripe has not is read off the indexes of open events, however many of his it has', async () => {
  const database = openMemory();
  await migrate(database);
  const asked: Statement[] = [];
  const watched: Database = {
    batch(statements) {
      asked.push(...statements);
      return database.batch(statements);
    },
  };
  await createLedger({ database: watched, bootId: 'boot' }).undelivered('cus_a');
  const plans = await database.batch(
    asked.map(({ sql, params }) => ({ sql: `EXPLAIN QUERY PLAN ${sql}`, params })),
  );
  const ofEvents = plans
    .flat()
    .map((row) => String(row['detail']))
    .filter((detail) => detail.includes('meter_events'));
  expect(ofEvents.length).toBeGreaterThan(3);
  for (const detail of ofEvents) expect(detail).toMatch(/USING INDEX meter_events_(due|parked)\b/);
  database.close();
});
