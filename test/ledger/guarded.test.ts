import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GrantFact, Guard } from '../../src/ledger/accounts-port.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { grantOf } from '../support/grants.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

const CUSTOMER = 'cus_money';
const NOW = Date.UTC(2026, 10, 21, 12);
const DAY = 86_400_000;
let opened: TemporaryDatabase;
let ledger: Ledger;

beforeEach(async () => {
  opened = await openTemporary();
  await migrate(opened.database);
  ledger = createLedger({ database: opened.database, bootId: 'one' });
});
afterEach(async () => {
  expect(await violations(opened.database)).toEqual([]);
  await opened.close();
});

const grant = (id: string, pico: number, more: Partial<GrantFact> = {}): GrantFact =>
  grantOf(id, BigInt(pico), more);
const record = (...grants: GrantFact[]) => ledger.recordGrants({ customer: CUSTOMER, readAtMs: 1, grants });

interface Ask extends Partial<Guard> {
  readonly hold: number;
  readonly keyId?: string;
  readonly customer?: string;
}
/** Admits a call with a guard made from the account as it is; answers its id, or why not. */
async function ask({ hold, keyId = 'key_1', customer = CUSTOMER, ...more }: Ask) {
  const account = await ledger.account(customer);
  const hasBudgets = account === undefined ? undefined : (await ledger.budgets(customer, NOW)).length > 0;
  const guard: Guard = {
    nowMs: NOW,
    version: account?.version ?? 0,
    hasBudgets,
    period: account?.period ?? null,
    holdPico: String(hold),
    fitPico: String(hold),
    creditChecked: true,
    gracePico: '0',
    observe: false,
    ...more,
  };
  const call = callToOpen({ customer, keyId, openedAtMs: guard.nowMs });
  const admission = await ledger.admit(call, guard);
  return { id: call.id, kind: admission.kind, admission };
}
const settle = (id: string, cost: number | null, endedAtMs = NOW) =>
  ledger.settle(ending(id, { costPico: cost === null ? null : String(cost), endedAtMs }));
const spend = async (cost: number, more: Partial<Ask> = {}) => {
  const { id, kind } = await ask({ hold: cost, ...more });
  expect(kind).toBe('admitted');
  await settle(id, cost, more.nowMs ?? NOW);
};
const burned = async () =>
  Object.fromEntries(
    (await ledger.balance(CUSTOMER, NOW)).grants.map(({ id, burnedPico }) => [id, Number(burnedPico)]),
  );

describe('a settlement', () => {
  it('tells what the call leaves of the credit, where it is asked to, and once', async () => {
    await record(grant('a', 100));
    const heldBy = { customer: CUSTOMER, keyId: 'key_1' };
    const end = async (cost: number, tellsBalance: boolean) => {
      const { id } = await ask({ hold: 50 });
      return { ...ending(id, { costPico: String(cost), endedAtMs: NOW }), heldBy, tellsBalance };
    };
    const told = await end(30, true);
    expect(await ledger.settle(told)).toEqual({ kind: 'settled', balancePico: '70' });
    expect(await ledger.settle(told)).toEqual({ kind: 'already' });
    expect(await ledger.settle(await end(5, false))).toEqual({ kind: 'settled' });
    expect(await ledger.settle(await end(90, true))).toEqual({ kind: 'settled', balancePico: '-25' });
  });
});

describe('a customer whose money nobody watches', () => {
  it('is served without a look at it', async () => {
    const call = callToOpen({ customer: CUSTOMER });
    expect(await ledger.admit(call)).toEqual({ kind: 'admitted' });
    expect(await settle(call.id, 5)).toMatchObject({ kind: 'settled' });
    expect(await settle(call.id, 5)).toMatchObject({ kind: 'already' });
  });

  it('is counted from the call that runs while his first grant arrives', async () => {
    const call = callToOpen({ customer: CUSTOMER, openedAtMs: NOW });
    await ledger.admit(call);
    await record(grant('a', 100));
    await settle(call.id, 30);
    expect(await burned()).toEqual({ a: 30 });
  });
});

describe('a guarded call', () => {
  it('is asked for its guard, and asked again when the account has changed since', async () => {
    await record(grant('a', 100));
    expect(await ledger.admit(callToOpen({ customer: CUSTOMER }))).toMatchObject({
      kind: 'guarded',
      account: { hasHadGrant: true },
    });
    expect((await ask({ hold: 1, version: 0 })).kind).toBe('guarded');
    expect((await ask({ hold: 1 })).kind).toBe('admitted');
  });

  it('fits to the last picodollar and not one further', async () => {
    await record(grant('a', 100));
    expect((await ask({ hold: 60 })).kind).toBe('admitted');
    expect((await ask({ hold: 41 })).kind).toBe('short');
    expect((await ask({ hold: 40 })).kind).toBe('admitted');
    expect((await ask({ hold: 1 })).admission).toMatchObject({
      kind: 'short',
      money: { creditPico: '100', heldPico: '100' },
    });
  });

  it('frees what it held and did not cost', async () => {
    await record(grant('a', 100));
    const first = await ask({ hold: 100 });
    expect((await ask({ hold: 50 })).kind).toBe('short');
    await settle(first.id, 50);
    expect((await ask({ hold: 51 })).kind).toBe('short');
    expect((await ask({ hold: 50 })).kind).toBe('admitted');
  });

  it('holds less when told so, and never more', async () => {
    await record(grant('a', 100));
    const { id } = await ask({ hold: 90 });
    const held = { id, customer: CUSTOMER, keyId: 'k_1' };
    await ledger.shrinkHold(held, '20');
    await ledger.shrinkHold(held, '70');
    expect((await ask({ hold: 80 })).kind).toBe('admitted');
  });

  it('is opened with a mark where the mode only observes', async () => {
    await record(grant('a', 100));
    expect((await ask({ hold: 101, observe: true })).admission).toMatchObject({
      kind: 'admitted',
      over: true,
    });
    expect((await ask({ hold: 1 })).kind).toBe('short');
  });

  it('may go below nothing by its grace', async () => {
    await record(grant('a', 100));
    expect((await ask({ hold: 151, gracePico: '50' })).kind).toBe('short');
    await spend(150, { gracePico: '50' });
    expect((await ask({ hold: 1, gracePico: '50' })).kind).toBe('short');
    expect((await ledger.balance(CUSTOMER, NOW)).availablePico).toBe('-50');
  });

  it('is not held up by another customer', async () => {
    await record(grant('a', 100));
    await ledger.recordGrants({ customer: 'cus_other', readAtMs: 1, grants: [grant('b', 100)] });
    await ask({ hold: 100, customer: 'cus_other' });
    expect((await ask({ hold: 100 })).kind).toBe('admitted');
  });

  it('leaves no hold behind when a crash ends it', async () => {
    await record(grant('a', 100));
    const { id } = await ask({ hold: 100 });
    await ask({ hold: 100 });
    await ledger.checkpoint({ id, lines: [], usageJson: '[]', costPico: '30' });
    const next = createLedger({ database: opened.database, bootId: 'two' });
    await next.recover({ nowMs: NOW });
    expect(await ledger.balance(CUSTOMER, NOW)).toMatchObject({ heldPico: '0', availablePico: '70' });
  });
});

describe('grants', () => {
  it('burn in their order, one call across several, exactly', async () => {
    await record(
      grant('last', 100, { priority: 90 }),
      grant('soon', 30, { expiresAtMs: NOW + DAY }),
      grant('gift', 20, { category: 'promotional' }),
      grant('later', 10, { createdAtMs: 5 }),
    );
    await spend(25);
    expect(await burned()).toEqual({ soon: 25, gift: 0, later: 0, last: 0 });
    await spend(41);
    expect(await burned()).toEqual({ soon: 30, gift: 20, later: 10, last: 6 });
  });

  it('are counted by the clock of each call, whichever moment what is kept of them was counted at', async () => {
    await record(
      grant('soon', 100, { expiresAtMs: NOW + 2 * DAY }),
      grant('later', 40, { effectiveAtMs: NOW + DAY }),
      grant('never', 7, { effectiveAtMs: NOW + DAY, expiresAtMs: NOW }),
      grant('void', 1_000, { voidedAtMs: 1 }),
      grant('elsewhere', 1_000, { applies: false }),
    );
    // Counted at each of these moments, forwards and back again, the kept sum is good for some of them and not for others.
    const left = [100, 140, 40, 100, 40, 140].map((credit, at) => ({
      credit,
      day: [0, 1, 2, 0, 2, 1][at] ?? 0,
    }));
    for (const counted of [...left, ...left.toReversed()]) {
      await ledger.recordGrants({ customer: CUSTOMER, readAtMs: NOW + counted.day * DAY, grants: [] });
      expect(await violations(opened.database)).toEqual([]);
      for (const { credit, day } of left) {
        const nowMs = NOW + day * DAY;
        expect((await ask({ hold: credit + 1, nowMs })).kind).toBe('short');
        const { id, admission } = await ask({ hold: credit, nowMs, tells: 'balance' });
        expect(admission).toEqual({ kind: 'admitted', balancePico: String(credit) });
        await settle(id, 0, nowMs);
      }
    }
  });

  it('leave what was burned of an expired one burned', async () => {
    await record(grant('soon', 100, { expiresAtMs: NOW + DAY }), grant('later', 100));
    await spend(60);
    expect((await ledger.balance(CUSTOMER, NOW + DAY)).availablePico).toBe('100');
  });

  it('pay for a call that outlives them, since they were there when it was opened', async () => {
    await record(grant('soon', 100, { expiresAtMs: NOW + DAY }), grant('later', 100));
    const { id } = await ask({ hold: 60 });
    await settle(id, 60, NOW + 2 * DAY);
    expect(await burned()).toEqual({ soon: 60, later: 0 });
  });

  it('pay for a call that they came in the middle of', async () => {
    await record(grant('a', 10));
    const { id } = await ask({ hold: 10 });
    await ledger.recordGrants({ customer: CUSTOMER, readAtMs: 2, grants: [grant('b', 100)] });
    await settle(id, 30);
    expect(await ledger.balance(CUSTOMER, NOW)).toMatchObject({ availablePico: '80', overdrawnPico: '0' });
  });

  it('owe nothing for what was used before the first of them', async () => {
    await ledger.changeAccount(CUSTOMER, { mode: 'strict' }, NOW);
    await spend(500, { creditChecked: false });
    await record(grant('a', 100));
    expect((await ledger.balance(CUSTOMER, NOW)).availablePico).toBe('100');
    expect((await ledger.account(CUSTOMER))?.unbilledPico).toBe('500');
  });

  it('start over from what a finalised invoice left, without what ended before it', async () => {
    await record(grant('a', 100));
    await spend(30, { nowMs: NOW });
    await spend(5, { nowMs: NOW + 1 });
    const left = grant('a', 100, { balancePico: '70' });
    const reading = { customer: CUSTOMER, readAtMs: 2, grants: [left], finalisedThroughMs: NOW + 1 };
    await ledger.recordGrants(reading);
    await ledger.recordGrants(reading);
    expect(await burned()).toEqual({ a: 5 });
    expect((await ledger.balance(CUSTOMER, NOW)).availablePico).toBe('65');
    expect((await ledger.account(CUSTOMER))?.unbilledPico).toBe('5');
  });
});

const budget = (span: 'day' | 'week' | 'month' | 'period' | 'total', limit: number) =>
  ledger.putBudget(
    { id: `bud_${span}`, scope: 'customer', subject: CUSTOMER, span, limitPico: String(limit) },
    NOW,
  );

describe('a local budget', () => {
  const free = { creditChecked: false };

  it('counts what was spent in its window before it was made', async () => {
    const call = callToOpen({ customer: CUSTOMER });
    await ledger.admit(call);
    await settle(call.id, 60);
    await budget('month', 100);
    expect((await ask({ hold: 41, ...free })).kind).toBe('short');
    expect((await ask({ hold: 40, ...free })).kind).toBe('admitted');
  });

  it('starts over when its window is over, and counts the calls that then still run', async () => {
    await budget('day', 100);
    await spend(90, free);
    const running = await ask({ hold: 10, ...free });
    expect((await ask({ hold: 1, ...free })).kind).toBe('short');
    expect((await ask({ hold: 91, ...free, nowMs: NOW + DAY })).kind).toBe('short');
    expect((await ask({ hold: 90, ...free, nowMs: NOW + DAY })).kind).toBe('admitted');
    await settle(running.id, 10, NOW + DAY);
    expect((await ledger.budgets(CUSTOMER, NOW + DAY))[0]).toMatchObject({ spentPico: '10' });
  });

  it("follows the subscription's period", async () => {
    await ledger.recordSubscription({
      customer: CUSTOMER,
      readAtMs: 1,
      subscription: { id: 'sub_1', state: 'active' },
      paymentBlock: null,
      period: { startMs: NOW - 5, endMs: NOW + 5 },
    });
    await budget('period', 100);
    await spend(100, { ...free, nowMs: NOW + 4 });
    expect((await ask({ hold: 1, ...free, nowMs: NOW + 4 })).kind).toBe('short');
    await spend(100, { ...free, nowMs: NOW + 5 });
    expect((await ask({ hold: 1, ...free, nowMs: NOW + 6 })).kind).toBe('short');
  });

  it.each([
    ['of ten milliseconds', NOW - 5],
    ['that has no length', NOW + 5],
  ])('opens and counts calls long after the last period that Stripe told of, %s', async (_what, startMs) => {
    await ledger.recordSubscription({
      customer: CUSTOMER,
      readAtMs: 1,
      subscription: { id: 'sub_1', state: 'canceled' },
      paymentBlock: null,
      period: { startMs, endMs: NOW + 5 },
    });
    await budget('period', 100);
    await spend(100, { ...free, nowMs: NOW + 1_006 });
    expect((await ask({ hold: 1, ...free, nowMs: NOW + 1_007 })).kind).toBe('short');
    const hasLength = startMs < NOW + 5;
    expect((await ask({ hold: 1, ...free, nowMs: NOW + 1_015 })).kind).toBe(hasLength ? 'admitted' : 'short');
  });

  it('of a key counts every customer the key acts for, and no other key', async () => {
    await ledger.putBudget(
      { id: 'bud_key', scope: 'key', subject: 'key_1', span: 'total', limitPico: '100' },
      NOW,
    );
    await spend(60, { ...free, customer: 'cus_a' });
    expect((await ask({ hold: 41, ...free, customer: 'cus_b' })).kind).toBe('short');
    expect((await ask({ hold: 40, ...free, customer: 'cus_b' })).kind).toBe('admitted');
    expect(
      await ledger.admit(callToOpen({ customer: 'cus_b', keyId: 'key_2', openedAtMs: NOW })),
    ).toMatchObject({ kind: 'admitted' });
  });

  it('that is made after an account was judged without one is not passed by', async () => {
    await record(grant('g', 1_000));
    const before = (await ledger.account(CUSTOMER))?.version ?? 0;
    await budget('total', 10);
    const late = await ask({ hold: 11, ...free, version: before, hasBudgets: false });
    expect(late.admission).toMatchObject({ kind: 'guarded', hasBudgets: true });
    expect((await ask({ hold: 11, ...free })).kind).toBe('short');
  });

  it('of a key that is made after an account was judged without one has the call judged again', async () => {
    await record(grant('g', 1_000));
    const before = await ask({ hold: 60 });
    await ledger.putBudget(
      { id: 'bud_key', scope: 'key', subject: 'key_1', span: 'total', limitPico: '100' },
      NOW,
    );
    // The account's version is the one that was judged: the key's budget alone says that it must be judged again.
    const again = await ask({ hold: 40 });
    expect(again.admission).toMatchObject({ kind: 'guarded', hasBudgets: true });
    // What ran before the budget was made is held of it.
    expect((await ask({ hold: 41, hasBudgets: true })).kind).toBe('short');
    expect((await ask({ hold: 40, hasBudgets: true })).kind).toBe('admitted');
    expect((await ask({ hold: 900, keyId: 'key_2' })).kind).toBe('admitted');
    await settle(before.id, 10);
    expect((await ask({ hold: 50, hasBudgets: true, creditChecked: false })).kind).toBe('admitted');
  });

  it('may be changed and taken away', async () => {
    await budget('total', 10);
    expect((await ask({ hold: 11, ...free })).kind).toBe('short');
    await budget('total', 11);
    expect((await ask({ hold: 11, ...free })).kind).toBe('admitted');
    expect(await ledger.removeBudget('bud_total')).toBe(true);
    expect(await ledger.removeBudget('bud_total')).toBe(false);
    expect((await ask({ hold: 500, ...free })).kind).toBe('admitted');
  });
});
