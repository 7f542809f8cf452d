import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GrantFact } from '../../src/ledger/accounts-port.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { grantOf } from '../support/grants.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

const CUSTOMER = 'cus_money';
const NOW = 1_000_000;
let opened: TemporaryDatabase;
let ledger: Ledger;

beforeEach(async () => {
  opened = await openTemporary();
  await migrate(opened.database);
  ledger = createLedger({ database: opened.database, bootId: 'one' });
});
afterEach(() => opened.close());

const grant = (id: string, more: Partial<GrantFact> = {}): GrantFact => grantOf(id, 100n, more);
const record = (...grants: GrantFact[]) => ledger.recordGrants({ customer: CUSTOMER, readAtMs: NOW, grants });
const state = (name: string) => ({ id: 'sub_1', state: name });
const credit = async (nowMs: number) => (await ledger.balance(CUSTOMER, nowMs)).creditPico;

describe('an account', () => {
  it('is not there until somebody watches the money of the customer', async () => {
    expect(await ledger.account(CUSTOMER)).toBeUndefined();
    await ledger.changeAccount(CUSTOMER, { mode: 'strict', plan: 'pro' }, NOW);
    expect(await ledger.account(CUSTOMER)).toMatchObject({ mode: 'strict', plan: 'pro', hasHadGrant: false });
  });

  it('keeps what a change does not name', async () => {
    await ledger.changeAccount(CUSTOMER, { mode: 'strict', onEmpty: 'grace', gracePico: '7' }, NOW);
    const account = await ledger.changeAccount(CUSTOMER, { mode: null, frozen: { why: 'fraud' } }, NOW);
    expect(account).toMatchObject({
      mode: null,
      onEmpty: 'grace',
      gracePico: '7',
      frozen: { atMs: NOW, why: 'fraud' },
    });
  });

  it('takes the later of two readings of its subscription, in whatever order they come', async () => {
    const reading = { customer: CUSTOMER, paymentBlock: null, period: null };
    expect(await ledger.recordSubscription({ ...reading, readAtMs: 20, subscription: state('active') })).toBe(
      'recorded',
    );
    expect(
      await ledger.recordSubscription({ ...reading, readAtMs: 10, subscription: state('past_due') }),
    ).toBe('stale');
    expect((await ledger.account(CUSTOMER))?.subscription).toEqual(state('active'));
  });
});

describe('credit', () => {
  it('is there from the moment a grant takes effect until the moment it expires', async () => {
    await record(grant('a', { effectiveAtMs: 10, expiresAtMs: 20 }));
    expect(await credit(9)).toBe('0');
    expect(await credit(10)).toBe('100');
    expect(await credit(19)).toBe('100');
    expect(await credit(20)).toBe('0');
  });

  it('has nothing of a grant that is void or does not pay for tokens', async () => {
    await record(grant('a', { voidedAtMs: 5 }), grant('b', { applies: false }));
    expect(await credit(NOW)).toBe('0');
  });

  it('lists the grants in the order they burn', async () => {
    await record(
      grant('created-later', { createdAtMs: 1 }),
      grant('created-sooner'),
      grant('effective-sooner', { effectiveAtMs: -1, createdAtMs: 2 }),
      grant('promotional', { category: 'promotional', createdAtMs: 3 }),
      grant('expires-sooner', { expiresAtMs: 9_000_000, createdAtMs: 4 }),
      grant('first', { priority: 0, createdAtMs: 5 }),
    );
    expect((await ledger.balance(CUSTOMER, NOW)).grants.map(({ id }) => id)).toEqual([
      'first',
      'expires-sooner',
      'promotional',
      'effective-sooner',
      'created-sooner',
      'created-later',
    ]);
  });

  it('is not set back by a reading that is older than the one on record', async () => {
    await ledger.recordGrants({
      customer: CUSTOMER,
      readAtMs: 20,
      grants: [grant('a', { balancePico: '40' })],
    });
    await ledger.recordGrants({ customer: CUSTOMER, readAtMs: 10, grants: [grant('a')] });
    expect(await credit(NOW)).toBe('40');
  });

  it('past four million dollars counts as four million, since its sums would not fit: what is in effect first', async () => {
    const huge = { amountPico: '5000000000000000000000', balancePico: '5000000000000000000000' };
    await record(
      grant('over', { ...huge, expiresAtMs: NOW - 1 }),
      grant('a', { balancePico: '100' }),
      grant('b', huge),
      grant('c', { balancePico: '100' }),
    );
    expect(await credit(NOW)).toBe('4000000000000000000');
    const { grants } = await ledger.balance(CUSTOMER, NOW);
    const balances = Object.fromEntries(grants.map(({ id, balancePico }) => [id, balancePico]));
    expect(balances).toEqual({ over: '0', a: '100', b: '3999999999999999900', c: '0' });
  });
});
