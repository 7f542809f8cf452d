/** Notices to the operator: which levels are told, once each; how they are signed; what becomes of them while nobody takes them. */
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Account, Balance, BudgetView, Grant } from '../../../src/ledger/accounts-port.ts';
import { newsOf, type Standing } from '../../../src/billing/notices/notice-levels.ts';
import { createNotifier, type Notifier } from '../../../src/billing/notices/notices.ts';
import { createNodeCrypto } from '../../../src/platform/crypto.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { openSqlite, type SqliteDatabase } from '../../../src/platform/sqlite.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const USD = 1_000_000_000_000n;
const grant = {
  amountPico: String(10n * USD),
  applies: true,
  voidedAtMs: null,
  effectiveAtMs: 0,
  expiresAtMs: null,
};
const standing = (leftDollars: number, more: Partial<Standing> = {}): Standing => ({
  customer: 'cus_1',
  account: { hasHadGrant: true } as Account,
  balance: {
    creditPico: String(BigInt(leftDollars) * USD),
    overdrawnPico: '0',
    heldPico: '0',
    availablePico: '0',
    grants: [grant as Grant],
  } as Balance,
  budgets: [],
  lowBalancePico: null,
  nowMs: 1,
  ...more,
});
const told = ({ items }: ReturnType<typeof newsOf>): readonly unknown[] =>
  items.map(({ type, data }) => [type, (data as { percent?: number }).percent]);

describe('of credit', () => {
  it.each([
    [6, []],
    [5, [['budget.threshold', 50]]],
    [2, [['budget.threshold', 80]]],
    [
      0,
      [
        ['budget.threshold', 100],
        ['balance.exhausted', undefined],
      ],
    ],
  ])('with $%i of $10 left the highest step that was passed is told', (left, expected) => {
    expect(told(newsOf(standing(left), []))).toEqual(expected);
  });

  it('each step is told once, and recovery after it was used up', () => {
    const empty = newsOf(standing(0), []);
    expect(newsOf(standing(0), empty.levels)).toEqual({ levels: [], items: [] });
    const filled = newsOf(standing(9), empty.levels);
    expect(told(filled)).toEqual([['balance.recovered', undefined]]);
    expect(told(newsOf(standing(4), filled.levels))).toEqual([['budget.threshold', 50]]);
  });

  it('nothing is told of who never had any', () => {
    expect(newsOf(standing(0, { account: undefined }), []).items).toEqual([]);
  });

  it('a low balance is told once until it was higher', () => {
    const low = { lowBalancePico: 7n * USD };
    const first = newsOf(standing(7, low), []);
    expect(told(first)).toEqual([['balance.low', undefined]]);
    expect(newsOf(standing(6, low), first.levels).items).toEqual([]);
    const higher = newsOf(standing(9, low), first.levels);
    expect(higher.items).toEqual([]);
    expect(told(newsOf(standing(7, low), higher.levels))).toEqual([['balance.low', undefined]]);
  });
});

it('of a budget each step is told once in a window, and again in the next', () => {
  const budget = {
    id: 'bud_1',
    span: 'day',
    limitPico: '100',
    spentPico: '85',
    windowStartMs: 10,
  } as BudgetView;
  const first = newsOf(standing(10, { account: undefined, budgets: [budget] }), []);
  expect(told(first)).toEqual([['budget.threshold', 80]]);
  const next = { ...budget, windowStartMs: 20, spentPico: '0' };
  const calm = newsOf(standing(10, { account: undefined, budgets: [next] }), first.levels);
  expect(calm.items).toEqual([]);
  const again = newsOf(
    standing(10, { account: undefined, budgets: [{ ...next, spentPico: '80' }] }),
    calm.levels,
  );
  expect(told(again)).toEqual([['budget.threshold', 80]]);
});

const KEY = Buffer.from('0123456789abcdef0123456789abcdef');
const SECRET = `whsec_${KEY.toString('base64')}`;

describe('a notice', () => {
  let database: SqliteDatabase;
  afterEach(() => database.close());
  async function setUp(): Promise<{
    notifier: Notifier;
    clock: { nowMs: number };
    sent: { headers: Readonly<Record<string, string>>; body: string }[];
    answer: { status: number };
  }> {
    database = await openSqlite({ file: ':memory:' });
    await migrate(database);
    const clock = { nowMs: 1_763_726_000_000 };
    const answer = { status: 200 };
    const sent: { headers: Readonly<Record<string, string>>; body: string }[] = [];
    const notifier = createNotifier({
      settings: { url: 'https://operator.test/hook', secret: SECRET, lowBalancePico: null },
      ledger: createLedger({ database, bootId: 'boot' }),
      crypto: createNodeCrypto(),
      runtime: { now: () => clock.nowMs, id: () => `id${sent.length}`, log: () => undefined },
      async post(_url, request) {
        sent.push(request);
        return { status: answer.status, retryAfter: undefined, text: '' };
      },
    });
    return { notifier, clock, sent, answer };
  }
  const call = { customer: 'cus_1', model: 'demo/plain', inputTokens: 3, outputTokens: 2, costPico: 5n };

  it('of usage does not wait for the time that the clock was set back from', async () => {
    const { notifier, clock, sent } = await setUp();
    clock.nowMs -= 86_400_000;
    notifier.used(call);
    await notifier.pass();
    expect(sent).toHaveLength(1);
  });

  it('of usage sums what was recorded in ten seconds', async () => {
    const { notifier, clock, sent } = await setUp();
    notifier.used(call);
    notifier.used(call);
    await notifier.pass();
    expect(sent).toEqual([]);
    clock.nowMs += 10_000;
    await notifier.pass();
    expect(sent).toHaveLength(1);
    expect(JSON.parse(sent[0]?.body ?? '')).toEqual({
      type: 'usage.recorded',
      timestamp: '2025-11-21T11:53:30.000Z',
      data: {
        customer: 'cus_1',
        calls: 2,
        cost_usd: '0.00000000001',
        models: [{ model: 'demo/plain', input_tokens: 6, output_tokens: 4 }],
      },
    });
    expect(await notifier.pass()).toBe(Infinity);
  });

  it('that nobody takes is sent again with the same id, ever more seldom, and given up in the end', async () => {
    const { notifier, clock, sent, answer } = await setUp();
    answer.status = 503;
    notifier.used(call);
    clock.nowMs += 10_000;
    const waits: number[] = [];
    for (let wait = await notifier.pass(); wait < Infinity; wait = await notifier.pass()) {
      waits.push(wait);
      clock.nowMs += wait;
    }
    expect(waits.slice(0, 3)).toEqual([5_000, 300_000, 1_800_000]);
    expect(sent).toHaveLength(10);
    expect(new Set(sent.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });
});

describe('on a whole gateway', () => {
  const received: { headers: NodeJS.Dict<string | string[]>; body: string }[] = [];
  let hook: Server;
  let gateway: TestGateway;
  beforeAll(async () => {
    hook = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        received.push({ headers: request.headers, body: Buffer.concat(pieces).toString() });
        response.end();
      });
    });
    await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
    const { port } = hook.address() as AddressInfo;
    gateway = await startTestGateway({
      config: { notify: { url: `http://127.0.0.1:${port}/hook`, secret: '${NOTIFY_SECRET}' } },
      env: { NOTIFY_SECRET: SECRET },
    });
  });
  afterAll(async () => {
    await gateway.close();
    hook.close();
  });

  it('credit used up and filled again is told, signed as Standard Webhooks says', async () => {
    const { stripe, running } = gateway;
    const { side, notifier } = running.gateway;
    const customer = 'cus_demo';
    await stripe.trigger('billing.credit_grant.created', { customer });
    await side.refresher.pass();
    await stripe.trigger('invoice.finalized', { customer, total: 500 });
    await side.refresher.pass();
    await notifier.pass();
    await stripe.trigger('billing.credit_grant.created', { customer });
    await side.refresher.pass();
    await notifier.pass();
    const types = received.map(({ body }) => (JSON.parse(body) as { type: string }).type);
    expect(types.toSorted()).toEqual(['balance.exhausted', 'balance.recovered', 'budget.threshold']);
    for (const { headers, body } of received) {
      const text = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
      const expected = createHmac('sha256', KEY).update(text).digest('base64');
      expect(headers['webhook-signature']).toBe(`v1,${expected}`);
    }
  });
});
