/** What it costs the ledger's writer that a customer asks what Stripe has not been told of him. */
import { expect, it, onTestFinished } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Database, Statement } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openMemory } from '../support/memory-database.ts';

/** How each part of the reading finds its events, where so many of other customers are in a state. */
async function plansBeside(others: number, state: string): Promise<readonly string[]> {
  const database = openMemory();
  onTestFinished(() => database.close());
  await migrate(database);
  await database.batch([{ sql: OTHERS, params: [others, state] }]);
  const asked: Statement[] = [];
  const watched: Database = {
    batch(statements) {
      asked.push(...statements.filter(({ sql }) => sql.includes('customer')));
      return database.batch(statements);
    },
  };
  const ledger = createLedger({ database: watched, bootId: 'boot' });
  await ledger.record({ ...UNIT, identifier: 'fg_rec_1', customer: 'cus_a', timestampMs: 1, value: '7' });
  asked.length = 0;
  expect(await ledger.undelivered('cus_a')).toEqual({
    costPico: '0',
    lines: [{ model: '', tokenType: '', tokens: '7' }],
  });
  const plans = await database.batch(
    asked.map(({ sql, params }) => ({ sql: `EXPLAIN QUERY PLAN ${sql}`, params })),
  );
  const details = plans.flat().map((row) => String(row['detail']));
  return details.filter((detail) => detail.includes('meter_events'));
}

const UNIT = { destination: 'dimensions', eventName: 'documents', model: '', tokenType: '' };
const OTHERS = `
  WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n <= ?)
  INSERT INTO meter_events (identifier, destination, event_name, customer, model, token_type, value, timestamp_ms, state,
    attempts, unsure, not_before_ms)
  SELECT 'fg_' || n, 'dimensions', 'meter', 'cus_b', 'demo/echo', 'input', 1, n, ?, 0, 0, 0 FROM numbers WHERE n > 1`;

it('what Stripe has not is read off the indexes of open events, however many of his it has', async () => {
  const plans = await plansBeside(4_998, 'pending');
  expect(plans.length).toBeGreaterThan(3);
  for (const plan of plans) expect(plan).toMatch(/USING INDEX meter_events_(due|parked)\b/);
});

it.each(['pending', 'refused'])(
  'it is read off his own events while thousands of others are %s, such as in an outage',
  async (state) => {
    const plans = await plansBeside(4_999, state);
    expect(plans.length).toBeGreaterThan(3);
    for (const plan of plans) expect(plan).toContain('meter_events_by_customer');
  },
);
