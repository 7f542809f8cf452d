import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { callToOpen, ending } from '../contract/ledger.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

let opened: TemporaryDatabase;
beforeEach(async () => {
  opened = await openTemporary();
  const { database } = opened;
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot' });
  const call = callToOpen({ customer: 'cus_1' });
  await ledger.admit(call);
  await ledger.admit(callToOpen({ customer: 'cus_2', id: 'still_open' }));
  await ledger.settle(ending(call.id));
  const lines = await ledger.unsealed(9);
  await ledger.seal(
    lines.map((line) => ({
      event: {
        identifier: `event_${line.tokenType}`,
        destination: 'dimensions',
        eventName: 'token-billing-tokens',
        customer: line.customer,
        model: line.model,
        tokenType: line.tokenType,
        value: String(line.tokens),
        timestampMs: line.endedAtMs,
      },
      members: [line],
    })),
  );
});
afterEach(() => opened.close());

it('finds nothing wrong with a sound ledger', async () => {
  expect(await violations(opened.database)).toEqual([]);
});

it.each([
  ["An event's value is the sum of its lines.", `UPDATE meter_events SET value = value + 1`],
  ["An event's value is the sum of its lines.", `DELETE FROM lines WHERE event = 'event_input'`],
  ['A sealed line names an event that exists.', `DELETE FROM meter_events WHERE identifier = 'event_input'`],
  ["A line's model, token type and customer are its event's.", `UPDATE meter_events SET customer = 'cus_2'`],
  ['Every sealed line belongs to a settled call.', `UPDATE lines SET call = 'still_open'`],
  ['A call is sealed when each of its lines is in an event, and not before.', `UPDATE calls SET sealed = 0`],
  ['A settled call has an outcome, a usage source and lines', `UPDATE calls SET outcome = 'finished'`],
  ['A settled call keeps no checkpoint.', `UPDATE calls SET checkpoint_json = '[]'`],
  ['A call has tokens exactly when it has lines', `UPDATE calls SET usage_source = 'none' WHERE tokens > 0`],
  ['An event has an acceptance time', `UPDATE meter_events SET state = 'accepted', attempts = 1`],
  ['An event that is not pending has been tried', `UPDATE meter_events SET state = 'sending', attempts = 1`],
  [
    'A purchase of credit that was granted has a payment and a grant of its own',
    `INSERT INTO top_ups (id, customer, kind, cents, state, created_at_ms, ended_at_ms)
     VALUES ('top_1', 'cus_1', 'auto', 500, 'granted', 1, 2)`,
  ],
  [
    'A purchase of credit that was granted has a payment and a grant of its own',
    `INSERT INTO top_ups (id, customer, kind, cents, state, payment, created_at_ms, ended_at_ms)
     VALUES ('top_1', 'cus_1', 'auto', 500, 'failed', 'pi_1', 1, 2), ('top_2', 'cus_1', 'link', 500, 'failed', 'pi_1', 1, 2)`,
  ],
])('finds what breaks "%s" after %s', async (invariant, sql) => {
  await opened.database.batch([{ sql, params: [] }]);
  const found = (await violations(opened.database)).map((violation) => violation.invariant);
  expect(found.some((sentence) => sentence.startsWith(invariant))).toBe(true);
});
