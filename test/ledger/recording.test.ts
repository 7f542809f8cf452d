/** Units recorded once for ever, whatever becomes of their events. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openMemory } from '../support/memory-database.ts';

const NOW = Date.UTC(2026, 10, 21, 12);
const DAY = 86_400_000;
const UNIT = {
  identifier: `fg_rec_${'a'.repeat(64)}`,
  destination: 'dimensions',
  eventName: 'documents',
  customer: 'cus_a',
  model: '',
  tokenType: '',
  value: '3',
  timestampMs: NOW,
};

let database: ReturnType<typeof openMemory>;
let ledger: Ledger;
beforeEach(async () => {
  database = openMemory();
  await migrate(database);
  ledger = createLedger({ database, bootId: 'boot' });
});
afterEach(() => database.close());

const accepted = async (identifier: string): Promise<void> => {
  await ledger.lease({ nowMs: NOW, leaseMs: 1_000, limit: 1, identifier });
  await ledger.mark([{ identifier, kind: 'accepted' }], NOW);
};
const identifiers = async (): Promise<string[]> =>
  (await ledger.events({ limit: 10 })).data.map(({ identifier }) => identifier);

it('a unit that is sent again under a new identifier is not recorded anew', async () => {
  await ledger.record(UNIT);
  let { identifier } = UNIT;
  for (const round of [1, 2]) {
    await accepted(identifier);
    const refused = [{ identifier, error: 'told by a test' }];
    const verdict = { type: 'v1.billing.meter.error_report_triggered', message: '', errorCount: 1 };
    await ledger.applyVerdict({
      id: `evt_${String(round)}`,
      ...verdict,
      refused,
      receivedAtMs: NOW,
      validatedUntilMs: NOW,
    });
    expect(await ledger.retryEvent(identifier, NOW)).toBe(true);
    identifier = `${identifier}_r`;
    expect(await ledger.record(UNIT)).toEqual({ kind: 'already', value: '3', timestampMs: NOW });
    expect(await identifiers()).toEqual([identifier]);
  }
});

it('a unit that retention has deleted is not recorded anew, and another value under it is told', async () => {
  await ledger.record(UNIT);
  await accepted(UNIT.identifier);
  await ledger.confirmEvents([UNIT.identifier]);
  const dropped = await ledger.dropUnits({ beforeMs: NOW + DAY, cursor: null });
  expect([dropped.events, await identifiers()]).toEqual([1, []]);
  const again = { ...UNIT, value: '4', timestampMs: NOW + 40 * DAY };
  expect(await ledger.record(again)).toEqual({ kind: 'already', value: '3', timestampMs: NOW });
  expect(await identifiers()).toEqual([]);
});
