/** Who is judged by what: an account that is remembered, one the ledger tells, or none. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBudgets } from '../../../src/billing/budgets/budgets.ts';
import type { Asked, Assessment } from '../../../src/billing/budgets/holds.ts';
import type { PolicyDefaults } from '../../../src/billing/budgets/policy.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import type { CallToOpen, Ledger } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { createNodeRuntime } from '../../../src/platform/node-runtime.ts';
import { grantOf } from '../../support/grants.ts';
import { openTemporary, type TemporaryDatabase } from '../../support/sqlite.ts';

const CUSTOMER = 'cus_judged';
const DEFAULTS: PolicyDefaults = {
  mode: 'standard',
  noCredit: 'refuse',
  onEmpty: { kind: 'block' },
  plans: new Map(),
};
const UNPRICED: Assessment = { kind: 'unpriced', model: 'acme/new' };
const FREE: Assessment = { kind: 'held', holdPico: 0n, fitPico: 0n, outputPico: null };
const ASKED: Asked = {
  endpoint: 'chat.completions',
  bodyBytes: 2,
  body: () => ({}),
  estimateInput: () => 1,
  targets: [],
};

let opened: TemporaryDatabase;
let ledger: Ledger;
let assessed: Assessment;
let calls = 0;
const runtime = createNodeRuntime({ json: true, write: () => undefined });
const doubted: string[] = [];
const budgetsOf = (defaults: PolicyDefaults = DEFAULTS) =>
  createBudgets({
    ledger,
    runtime,
    defaults,
    assess: () => assessed,
    doubted: (customer) => doubted.push(customer),
  });
const call = (customer = CUSTOMER): CallToOpen => ({
  id: `call_${String((calls += 1))}`,
  customer,
  keyId: 'k',
  endpoint: 'chat.completions',
  provider: 'acme',
  model: 'acme/new',
  stream: false,
  openedAtMs: Date.now(),
});
const openCalls = async () => (await ledger.totals()).openCalls;

beforeEach(async () => {
  opened = await openTemporary();
  await migrate(opened.database);
  ledger = createLedger({ database: opened.database, bootId: 'one' });
});
afterEach(() => opened.close());

describe('where credit is required of everybody', () => {
  it('is served by his own settings who was never seen since the start', async () => {
    assessed = UNPRICED;
    await ledger.changeAccount(CUSTOMER, { mode: 'observe' }, 1);
    expect(await budgetsOf().admit(call(), ASKED)).toMatchObject({ kind: 'admitted' });
    expect(await openCalls()).toBe(1);
  });

  it('refuses a stranger what has no price, also after he was served what is free', async () => {
    const budgets = budgetsOf();
    assessed = FREE;
    expect(await budgets.admit(call(), ASKED)).toMatchObject({ kind: 'admitted' });
    assessed = UNPRICED;
    for (const _again of [1, 2])
      expect(await budgets.admit(call(), ASKED)).toMatchObject({ kind: 'refused', code: 'model_not_priced' });
    expect(await openCalls()).toBe(1);
  });
});

describe('who never had credit', () => {
  it('has no grace either where credit is required', async () => {
    const budgets = budgetsOf({ ...DEFAULTS, onEmpty: { kind: 'grace', pico: 1_000n } });
    assessed = { kind: 'held', holdPico: 10n, fitPico: 10n, outputPico: null };
    const refused = { kind: 'refused', code: 'credit_balance_exhausted' };
    expect(await budgets.admit(call(), ASKED)).toMatchObject(refused);
    await ledger.changeAccount(CUSTOMER, { mode: 'standard' }, 1);
    expect(await budgets.admit(call(), ASKED)).toMatchObject(refused);
    expect(await openCalls()).toBe(0);
  });
});

describe('who asks for more than his credit', () => {
  it('is read again, as new credit may have gone unheard of', async () => {
    const grants = [grantOf('credgr_1', 100n)];
    await ledger.recordGrants({ customer: CUSTOMER, readAtMs: 1, grants });
    doubted.length = 0;
    assessed = { kind: 'held', holdPico: 1_000n, fitPico: 1_000n, outputPico: null };
    expect(await budgetsOf({ ...DEFAULTS, mode: 'strict' }).admit(call(), ASKED)).toMatchObject({
      kind: 'refused',
      code: 'request_exceeds_balance',
    });
    expect(doubted).toEqual([CUSTOMER]);
  });
});

describe('an account that is remembered', () => {
  it('refuses nobody by what was changed since', async () => {
    const budgets = budgetsOf({ ...DEFAULTS, noCredit: 'serve' });
    assessed = FREE;
    await ledger.changeAccount(CUSTOMER, { mode: 'standard' }, 1);
    expect(await budgets.admit(call(), ASKED)).toMatchObject({ kind: 'admitted' });
    await ledger.changeAccount(CUSTOMER, { frozen: { why: 'fraud' } }, 2);
    for (const _again of [1, 2])
      expect(await budgets.admit(call(), ASKED)).toMatchObject({ kind: 'refused', code: 'customer_frozen' });
    await ledger.changeAccount(CUSTOMER, { frozen: null }, 3);
    expect(await budgets.admit(call(), ASKED)).toMatchObject({ kind: 'admitted' });
    expect(await openCalls()).toBe(2);
  });
});
