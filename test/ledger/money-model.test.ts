/**
 * Random histories of a customer's money, against a plain model of it: grants that come, take effect, expire and are
 * voided, calls that are opened, shrink, settle and crash, invoices that are finalised, budgets that start over.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { GrantFact } from '../../src/ledger/accounts-port.ts';
import type { Database, Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { openTemporary } from '../support/sqlite.ts';

const START = Date.UTC(2026, 1, 27, 22);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

interface ModelGrant {
  readonly fact: GrantFact;
  balance: number;
}
interface ModelCall {
  readonly id: string;
  hold: number;
  readonly openedAtMs: number;
  evidence: number;
}
interface Burn {
  readonly grant: string;
  readonly pico: number;
  readonly endedAtMs: number;
}
interface Model {
  readonly customer: string;
  nowMs: number;
  grants: ModelGrant[];
  open: ModelCall[];
  burns: Burn[];
  settled: { readonly cost: number; readonly endedAtMs: number }[];
  finalisedMs: number;
  dayLimit: number | null;
  hasHadGrant: boolean;
  names: number;
}
interface Real {
  ledger: Ledger;
  readonly database: Database;
  boots: number;
}

const unbilled = (model: Model) => model.burns.filter(({ endedAtMs }) => endedAtMs >= model.finalisedMs);
const burnedOf = (model: Model, grant: string): number =>
  unbilled(model)
    .filter((one) => one.grant === grant)
    .reduce((sum, { pico }) => sum + pico, 0);
const leftOf = (model: Model, { fact, balance }: ModelGrant): number => balance - burnedOf(model, fact.id);
const isAlive = ({ fact }: ModelGrant, fromMs: number, untilMs: number): boolean =>
  fact.voidedAtMs === null &&
  fact.effectiveAtMs <= untilMs &&
  (fact.expiresAtMs === null || fact.expiresAtMs > fromMs);
const creditOf = (model: Model): number =>
  model.grants
    .filter((grant) => isAlive(grant, model.nowMs, model.nowMs))
    .reduce((sum, grant) => sum + Math.max(0, leftOf(model, grant)), 0);
const heldOf = (model: Model): number => model.open.reduce((sum, { hold }) => sum + hold, 0);
const dayOf = (ms: number): number => Math.floor(ms / DAY);
const spentToday = (model: Model): number =>
  model.settled
    .filter(({ endedAtMs }) => dayOf(endedAtMs) === dayOf(model.nowMs))
    .reduce((sum, { cost }) => sum + cost, 0);

const burnOrder = (a: ModelGrant, b: ModelGrant): number => {
  const key = ({ fact }: ModelGrant) => [
    fact.priority,
    fact.expiresAtMs ?? Infinity,
    fact.category === 'promotional' ? 0 : 1,
    fact.effectiveAtMs,
    fact.createdAtMs,
  ];
  const [left, right] = [key(a), key(b)];
  const at = left.findIndex((part, place) => part !== right[place]);
  return at < 0 ? (a.fact.id < b.fact.id ? -1 : 1) : (left[at] ?? 0) - (right[at] ?? 0);
};

function burn(model: Model, call: ModelCall, cost: number): void {
  const endedAtMs = model.nowMs;
  let rest = cost;
  for (const grant of model.grants
    .filter((one) => isAlive(one, call.openedAtMs, endedAtMs))
    .toSorted(burnOrder)) {
    const pico = Math.min(rest, Math.max(0, leftOf(model, grant)));
    if (pico > 0) model.burns.push({ grant: grant.fact.id, pico, endedAtMs });
    rest -= pico;
  }
  if (rest > 0) model.burns.push({ grant: model.hasHadGrant ? '' : '-', pico: rest, endedAtMs });
  model.settled.push({ cost, endedAtMs });
}

type Command = fc.AsyncCommand<Model, Real>;
const command = (
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
  check?: (model: Model) => boolean,
): Command => ({
  check: (model) => check?.(model as Model) ?? true,
  async run(model, real) {
    await run(model, real);
    await agree(model, real);
  },
  toString: () => name,
});

/** After every step the ledger says what the model says, and its own counters are the sums of its rows. */
async function agree(model: Model, { ledger, database }: Real): Promise<void> {
  const credit = creditOf(model);
  const overdrawn = burnedOf(model, '');
  const held = heldOf(model);
  const balance = await ledger.balance(model.customer, model.nowMs);
  expect(balance).toMatchObject({
    creditPico: String(credit),
    overdrawnPico: String(overdrawn),
    heldPico: String(held),
    availablePico: String(credit - overdrawn - held),
  });
  expect(Object.fromEntries(balance.grants.map(({ id, burnedPico }) => [id, Number(burnedPico)]))).toEqual(
    Object.fromEntries(model.grants.map(({ fact }) => [fact.id, burnedOf(model, fact.id)])),
  );
  if (model.dayLimit !== null)
    expect(await ledger.budgets(model.customer, model.nowMs)).toMatchObject([
      { spentPico: String(spentToday(model)) },
    ]);
  expect(await violations(database)).toEqual([]);
}

const factOf = ({ fact, balance }: ModelGrant): GrantFact => ({
  ...fact,
  balancePico: String(balance),
});
const record = (model: Model, { ledger }: Real, grants: readonly ModelGrant[], finalisedThroughMs?: number) =>
  ledger.recordGrants({
    customer: model.customer,
    readAtMs: model.nowMs,
    grants: grants.map((grant) => factOf(grant)),
    finalisedThroughMs,
  });

const advance = fc.integer({ min: 1, max: 20 }).map((hours) =>
  command(`advance ${String(hours)} h`, async (model) => {
    model.nowMs += hours * HOUR + 1;
    await Promise.resolve();
  }),
);
const give = fc
  .record({
    amount: fc.integer({ min: 1, max: 300 }),
    priority: fc.constantFrom(0, 50, 50, 100),
    category: fc.constantFrom('paid' as const, 'promotional' as const),
    inHours: fc.constantFrom(-5, 0, 0, 3, 15),
    forHours: fc.option(fc.integer({ min: 1, max: 60 })),
    rereads: fc.boolean(),
  })
  .map(({ amount, priority, category, inHours, forHours, rereads }) =>
    command(`grant ${String(amount)}`, async (model, real) => {
      const effectiveAtMs = model.nowMs + inHours * HOUR;
      const fact: GrantFact = {
        id: `${model.customer}_grant_${String((model.names += 1)).padStart(3, '0')}`,
        name: null,
        category,
        priority,
        amountPico: String(amount),
        balancePico: String(amount),
        applies: true,
        effectiveAtMs,
        expiresAtMs: forHours === null ? null : effectiveAtMs + forHours * HOUR,
        createdAtMs: model.nowMs,
        voidedAtMs: null,
      };
      model.grants.push({ fact, balance: amount });
      model.hasHadGrant = true;
      await record(model, real, rereads ? model.grants : model.grants.slice(-1));
    }),
  );
const voiding = fc.nat(20).map((which) =>
  command(
    'void a grant',
    async (model, real) => {
      const at = which % model.grants.length;
      const grant = model.grants[at];
      if (grant === undefined) return;
      model.grants[at] = { ...grant, fact: { ...grant.fact, voidedAtMs: model.nowMs } };
      await record(model, real, [model.grants[at]]);
    },
    (model) => model.grants.length > 0,
  ),
);
const admit = fc
  .record({ hold: fc.integer({ min: 1, max: 120 }), grace: fc.constantFrom(0, 0, 30) })
  .map(({ hold, grace }) =>
    command(`admit ${String(hold)}`, async (model, { ledger }) => {
      const account = await ledger.account(model.customer);
      const call = callToOpen({
        id: `${model.customer}_call_${String((model.names += 1)).padStart(4, '0')}`,
        customer: model.customer,
        openedAtMs: model.nowMs,
      });
      const creditChecked = account?.hasHadGrant === true;
      const answer = await ledger.admit(call, {
        nowMs: model.nowMs,
        version: account?.version ?? 0,
        period: null,
        holdPico: String(hold),
        fitPico: String(hold),
        creditChecked,
        gracePico: String(grace),
        observe: false,
      });
      const free = creditOf(model) - burnedOf(model, '') + grace - heldOf(model);
      const day = model.dayLimit === null ? Infinity : model.dayLimit - spentToday(model) - heldOf(model);
      const fits = (!creditChecked || free >= hold) && day >= hold;
      expect(answer.kind).toBe(fits ? 'admitted' : 'short');
      if (fits) model.open.push({ id: call.id, hold, openedAtMs: model.nowMs, evidence: 0 });
    }),
  );
const isRunning = (model: Model): boolean => model.open.length > 0;
const settle = fc
  .record({ which: fc.nat(50), share: fc.integer({ min: 0, max: 100 }), twice: fc.boolean() })
  .map(({ which, share, twice }) =>
    command(
      `settle at ${String(share)} %`,
      async (model, { ledger }) => {
        const [call] = model.open.splice(which % model.open.length, 1);
        if (call === undefined) return;
        const cost = Math.floor((call.hold * share) / 100);
        const end = ending(call.id, { costPico: String(cost), endedAtMs: model.nowMs });
        expect(await ledger.settle(end)).toMatchObject({ kind: 'settled' });
        if (twice) expect(await ledger.settle(end)).toMatchObject({ kind: 'already' });
        burn(model, call, cost);
      },
      isRunning,
    ),
  );
const shrink = fc
  .record({ which: fc.nat(50), hold: fc.integer({ min: 0, max: 150 }) })
  .map(({ which, hold }) =>
    command(
      `shrink to ${String(hold)}`,
      async (model, { ledger }) => {
        const call = model.open[which % model.open.length];
        if (call === undefined) return;
        // A provider's count of what it read is never below what was evident of it.
        const least = Math.max(hold, call.evidence);
        await ledger.shrinkHold({ id: call.id, customer: model.customer, keyId: 'k_1' }, String(least));
        call.hold = Math.min(call.hold, least);
      },
      isRunning,
    ),
  );
const checkpoint = fc
  .record({ which: fc.nat(50), share: fc.integer({ min: 1, max: 100 }) })
  .map(({ which, share }) =>
    command(
      'checkpoint',
      async (model, { ledger }) => {
        const call = model.open[which % model.open.length];
        if (call === undefined) return;
        call.evidence = Math.floor((call.hold * share) / 100);
        const lines = [{ attempt: 1, model: 'demo/m', tokenType: 'input', tokens: 1 }];
        await ledger.checkpoint({ id: call.id, lines, usageJson: '[]', costPico: String(call.evidence) });
      },
      isRunning,
    ),
  );
const crash = fc.constant(
  command('crash and recover', async (model, real) => {
    real.ledger = createLedger({ database: real.database, bootId: `boot_${String((real.boots += 1))}` });
    await real.ledger.recover({ nowMs: model.nowMs });
    const ended = model.open.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    model.open = [];
    for (const call of ended) burn(model, call, call.evidence);
  }),
);
const finalise = fc.integer({ min: 0, max: 10 }).map((hoursAgo) =>
  command(
    'an invoice is finalised',
    async (model, real) => {
      const through = Math.max(model.finalisedMs, model.nowMs - hoursAgo * HOUR);
      // Stripe applies what was burned up to then.
      const applied = model.burns.filter(
        ({ endedAtMs }) => endedAtMs >= model.finalisedMs && endedAtMs < through,
      );
      for (const grant of model.grants)
        grant.balance -= applied
          .filter((one) => one.grant === grant.fact.id)
          .reduce((sum, { pico }) => sum + pico, 0);
      model.finalisedMs = through;
      await record(model, real, model.grants, through);
    },
    (model) => model.hasHadGrant,
  ),
);
const budget = fc.integer({ min: 0, max: 400 }).map((limit) =>
  command(`a budget of ${String(limit)} a day`, async (model, { ledger }) => {
    model.dayLimit = limit;
    await ledger.putBudget(
      {
        id: `${model.customer}_day`,
        scope: 'customer',
        subject: model.customer,
        span: 'day',
        limitPico: String(limit),
      },
      model.nowMs,
    );
  }),
);

it('agrees with the model after every step of any history', { timeout: 180_000 }, async () => {
  let customers = 0;
  const commands = fc.commands(
    [
      advance,
      give,
      voiding,
      admit,
      admit,
      admit,
      settle,
      settle,
      shrink,
      checkpoint,
      crash,
      finalise,
      budget,
    ],
    // Without the size most histories would be a few steps long, and nothing would happen in them.
    { maxCommands: 40, size: 'max' },
  );
  const runs = Number(process.env['FAREGATE_MODEL_RUNS'] ?? 12);
  await fc.assert(
    fc.asyncProperty(commands, async (steps) => {
      const opened = await openTemporary();
      await migrate(opened.database);
      const ledger = createLedger({ database: opened.database, bootId: 'boot_0' });
      const customer = `cus_model_${String((customers += 1))}`;
      await ledger.changeAccount(customer, { mode: 'strict' }, START);
      const setup = () => ({
        model: {
          customer,
          nowMs: START,
          grants: [],
          open: [],
          burns: [],
          settled: [],
          finalisedMs: 0,
          dayLimit: null,
          hasHadGrant: false,
          names: 0,
        } satisfies Model as Model,
        real: { ledger, database: opened.database, boots: 0 } satisfies Real as Real,
      });
      try {
        await fc.asyncModelRun(setup, steps);
      } finally {
        await opened.close();
      }
    }),
    { numRuns: runs, endOnFailure: false },
  );
});
