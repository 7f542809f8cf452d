/** What standard mode promises: the limit is passed by what the calls cost that ran when it was reached, and by no more. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Guard } from '../../src/ledger/accounts-port.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { openTemporary } from '../support/sqlite.ts';

const LIMIT = 1_000;
const EXPECTED = 100;
const guard = (version: number): Guard => ({
  nowMs: 1,
  version,
  period: null,
  holdPico: String(EXPECTED),
  // The prompt must fit; the reply has no cap and is only expected.
  fitPico: '1',
  creditChecked: true,
  gracePico: '0',
  observe: false,
});
/** A call that costs so much, whatever was expected; or the end of one that runs. */
const step = fc.oneof(
  fc.record({ asks: fc.integer({ min: 1, max: 2_000 }) }),
  fc.record({ ends: fc.nat(50) }),
);

it('is passed by the cost of the calls that ran when it was reached, at most', async () => {
  const { database, close } = await openTemporary();
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'one' });
  let customers = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      const customer = `cus_${String((customers += 1))}`;
      const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
      const amount = { amountPico: String(LIMIT), balancePico: String(LIMIT), applies: true };
      const kind = { id: `grant_${customer}`, name: null, category: 'paid', priority: 50 } as const;
      await ledger.recordGrants({ customer, readAtMs: 1, grants: [{ ...kind, ...times, ...amount }] });
      const version = (await ledger.account(customer))?.version ?? 0;
      const running: { id: string; cost: number }[] = [];
      let spent = 0;
      let allowed: number | undefined;
      const end = async (at: number): Promise<void> => {
        const [call] = running.splice(at % Math.max(1, running.length), 1);
        if (call === undefined) return;
        const ran = running.reduce((sum, { cost }) => sum + cost, call.cost);
        if (spent + call.cost >= LIMIT) allowed ??= spent + ran;
        spent += call.cost;
        await ledger.settle(ending(call.id, { costPico: String(call.cost), endedAtMs: 1 }));
      };
      for (const one of steps) {
        if ('ends' in one) {
          await end(one.ends);
          continue;
        }
        const call = callToOpen({ customer });
        const { kind: answer } = await ledger.admit(call, guard(version));
        expect(answer).toBe(spent + running.length * EXPECTED < LIMIT ? 'admitted' : 'short');
        if (answer === 'admitted') running.push({ id: call.id, cost: one.asks });
      }
      while (running.length > 0) await end(0);
      expect(spent).toBeLessThanOrEqual(allowed ?? LIMIT);
    }),
    { numRuns: 40 },
  );
  expect(await violations(database)).toEqual([]);
  await close();
});
