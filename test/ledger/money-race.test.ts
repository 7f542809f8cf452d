/** Many calls at once against money for some of them, from several ledgers over one database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBudgets } from '../../src/billing/budgets/budgets.ts';
import type { Guard } from '../../src/ledger/accounts-port.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { seeded } from '../support/chunks.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

const SEED = 20261121;
const TRIALS = 1_000;
const AT_ONCE = 64;
const FITTING = 10;
const HOLD = 1_000;
const NOW = 1_000_000;

let opened: TemporaryDatabase;
let ledgers: readonly Ledger[];
beforeAll(async () => {
  opened = await openTemporary();
  await migrate(opened.database);
  ledgers = [1, 2, 3, 4].map((boot) =>
    createLedger({ database: opened.database, bootId: `boot_${String(boot)}` }),
  );
});
afterAll(() => opened.close());

const ledgerOf = (at: number): Ledger => {
  const ledger = ledgers[at % ledgers.length];
  if (ledger === undefined) throw new Error('There are ledgers.');
  return ledger;
};
async function fund(customer: string, pico: number): Promise<void> {
  const amount = String(pico);
  const grant = { id: `grant_${customer}`, name: null, category: 'paid', priority: 50 } as const;
  const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
  await ledgerOf(0).recordGrants({
    customer,
    readAtMs: 1,
    grants: [{ ...grant, ...times, amountPico: amount, balancePico: amount, applies: true }],
  });
}
const guard: Guard = {
  nowMs: NOW,
  version: 2,
  period: null,
  holdPico: String(HOLD),
  fitPico: String(HOLD),
  creditChecked: true,
  gracePico: '0',
  observe: false,
};
async function admitted(customer: string): Promise<readonly { id: string; at: number }[]> {
  const calls = Array.from({ length: AT_ONCE }, (_, at) => ({ at, call: callToOpen({ customer }) }));
  const answers = await Promise.all(calls.map(({ at, call }) => ledgerOf(at).admit(call, guard)));
  expect(answers.every(({ kind }) => kind === 'admitted' || kind === 'short')).toBe(true);
  return calls
    .filter((_, at) => answers[at]?.kind === 'admitted')
    .map(({ at, call }) => ({ id: call.id, at }));
}

describe('64 calls at once', () => {
  it(
    `are opened ten times in each of ${String(TRIALS)} trials where the money is for ten, and overshoot by nothing`,
    { timeout: 120_000 },
    async () => {
      const random = seeded(SEED);
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const customer = `cus_race_${String(trial)}`;
        await fund(customer, FITTING * HOLD);
        expect((await ledgerOf(0).account(customer))?.version).toBe(guard.version);
        const open = await admitted(customer);
        expect(open.length).toBe(FITTING);
        const costs = open.map(() => 1 + Math.floor(random() * HOLD));
        await Promise.all(
          open.map(({ id, at }, place) =>
            ledgerOf(at).settle(ending(id, { costPico: String(costs[place]), endedAtMs: NOW })),
          ),
        );
        const left = FITTING * HOLD - costs.reduce((sum, cost) => sum + cost, 0);
        expect(await ledgerOf(1).balance(customer, NOW)).toMatchObject({
          availablePico: String(left),
          overdrawnPico: '0',
        });
      }
      expect(await violations(opened.database)).toEqual([]);
    },
  );

  it('are all opened where they need half of the money', async () => {
    for (let trial = 0; trial < 50; trial += 1) {
      const customer = `cus_half_${String(trial)}`;
      await fund(customer, 2 * AT_ONCE * HOLD);
      expect((await admitted(customer)).length).toBe(AT_ONCE);
    }
  });

  it('are all served in turn where the money is for ten bounds and each costs a twentieth of its bound', async () => {
    const customer = 'cus_turns';
    await fund(customer, FITTING * HOLD);
    const runtime = createNodeRuntime({ json: true, write: () => undefined });
    const ledger = ledgerOf(0);
    const held = { holdPico: BigInt(HOLD), fitPico: BigInt(HOLD), outputPico: null };
    const budgets = createBudgets({
      ledger,
      assess: () => ({ kind: 'held', ...held }),
      runtime,
      defaults: { mode: 'strict', noCredit: 'serve', onEmpty: { kind: 'block' }, plans: new Map() },
    });
    const asked = {
      endpoint: 'chat.completions',
      bodyBytes: 0,
      body: () => ({}),
      estimateInput: () => 0,
      targets: [],
    };
    const served = Array.from({ length: AT_ONCE }, async () => {
      const call = callToOpen({ customer });
      const verdict = await budgets.admit(call, asked);
      if (verdict.kind !== 'admitted') return verdict.kind;
      const ended = ending(call.id, { heldBy: call, costPico: String(HOLD / 20), endedAtMs: NOW });
      await ledger.settle(ended);
      budgets.freed(call);
      return 'served';
    });
    expect(new Set(await Promise.all(served))).toEqual(new Set(['served']));
    expect((await ledger.balance(customer, NOW)).availablePico).toBe(
      String(FITTING * HOLD - (AT_ONCE * HOLD) / 20),
    );
  });
});
