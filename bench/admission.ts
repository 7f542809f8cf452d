/**
 * CPU of admission at many customers: what opening a call costs where nobody watches the customer's money, where he has
 * credit (one in five a budget too), and where the same few call who have both. `node bench/admission.ts [customers]
 * [calls]`; real file, 64 in flight, both threads. Apart from it: settlement; what a streamed call costs more, whose head
 * tells the balance, which is read beside; and the judging itself (bound, price, policy), without the ledger. Runs with
 * the room for young objects that `faregate start` gives itself.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBudgets } from '../src/billing/budgets/budgets.ts';
import { createHolds } from '../src/billing/budgets/holds.ts';
import { createPrices } from '../src/billing/prices/prices.ts';
import { createLedger } from '../src/ledger/create-ledger.ts';
import type { CallToOpen } from '../src/ledger/ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { createNodeRuntime } from '../src/platform/node-runtime.ts';
import { openSqlite } from '../src/platform/sqlite.ts';
import { YOUNG_OBJECTS } from './young-objects.ts';

const IN_FLIGHT = 64;
/** Each opens what may be in flight and settles it. */
const WAVES = 16;
const TURN = WAVES * IN_FLIGHT;
const WARM_UP_TURNS = 3;
const customers = Number(process.argv[2] ?? 100_000);
const calls = Number(process.argv[3] ?? 20_000);
/** So many customers have a budget too: of all a fifth, of the few that call again and again every one. */
const BUDGETED = 20_000;
const MODEL = 'openai/gpt-4o-mini';

if (!process.execArgv.includes(YOUNG_OBJECTS)) {
  const { status } = spawnSync(process.execPath, [YOUNG_OBJECTS, ...process.argv.slice(1)], {
    stdio: 'inherit',
  });
  process.exit(status ?? 1);
}

const directory = mkdtempSync(join(tmpdir(), 'faregate-bench-'));
const database = await openSqlite({ file: join(directory, 'ledger.db') });
await migrate(database);
const ledger = createLedger({ database, bootId: 'bench' });
const runtime = createNodeRuntime({ json: true, write: () => undefined });
const prices = createPrices({ runtime });
const assess = createHolds({ prices, vendorOf: (provider) => provider });
const budgets = createBudgets({
  ledger,
  assess,
  runtime,
  defaults: { mode: 'standard', noCredit: 'serve', onEmpty: { kind: 'block' }, plans: new Map() },
});
const body = JSON.stringify({
  model: 'gpt-4o-mini',
  max_tokens: 400,
  messages: [
    { role: 'system', content: 'You are terse.' },
    { role: 'user', content: 'x'.repeat(900) },
  ],
});
const asked = {
  endpoint: 'chat.completions',
  bodyBytes: body.length,
  body: () => JSON.parse(body) as unknown,
  estimateInput: () => 240,
  targets: [{ billedModel: MODEL, upstreamModel: 'gpt-4o-mini', providerType: 'openai' }],
};
let made = 0;

await lanes(customers, (at) => fund(`cus_credit_${String(at)}`));
await lanes(Math.min(customers, BUDGETED), (at) => budget(`cus_credit_${String(at)}`));
judging();
// Who has credit was looked up in Stripe. The others were not, so that what is measured against is the cheapest opening.
await lanes(customers, (at) => ledger.rememberCustomer(`cus_credit_${String(at)}`, 'known', 1));
// Each customer once, as after a day: a first call since the start asks the ledger for his account before.
const credit = caseOf('cus_credit_', customers);
await lanes(customers, async (at) => settle(await admit(credit, at)));
await measure([
  caseOf('cus_free_', customers),
  credit,
  caseOf('cus_credit_', 500),
  caseOf('cus_credit_', customers, true),
  caseOf('cus_credit_', 500, true),
]);
await database.close();
rmSync(directory, { recursive: true });

async function lanes(count: number, work: (at: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work((next += 1) - 1);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

function fund(customer: string): Promise<void> {
  const grant = {
    id: `grant_${customer}`,
    name: null,
    category: 'paid',
    priority: 50,
    applies: true,
  } as const;
  const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
  const amount = { amountPico: '100000000000000', balancePico: '100000000000000' };
  return ledger.recordGrants({ customer, readAtMs: 1, grants: [{ ...grant, ...times, ...amount }] });
}

function budget(customer: string): Promise<void> {
  const of = { scope: 'customer', subject: customer, span: 'month', limitPico: '100000000000000' } as const;
  return ledger.putBudget({ id: `b_${customer}`, ...of }, Date.now());
}

function judging(): void {
  for (let at = 0; at < 2_000; at += 1) assess(asked, { mode: 'strict', plan: null });
  const before = process.cpuUsage();
  for (let at = 0; at < calls; at += 1) assess(asked, { mode: 'strict', plan: null });
  const used = process.cpuUsage(before);
  const each = (used.user + used.system) / calls;
  console.log(`judging a request of ${String(body.length)} bytes: ${each.toFixed(1)} us`);
}

interface Case {
  readonly title: string;
  readonly prefix: string;
  readonly among: number;
  readonly stream: boolean;
  /** Microseconds of CPU a call, of each turn. */
  readonly opened: number[];
  readonly settled: number[];
}

function caseOf(prefix: string, among: number, stream = false): Case {
  const title = [
    prefix === 'cus_free_' ? 'nobody watches' : 'credit',
    ...(among < customers ? [`the same ${String(among)} customers, with a budget`] : []),
    ...(stream ? ['streamed'] : []),
  ].join(', ');
  return { title, prefix, among, stream, opened: [], settled: [] };
}

/** As many calls as are in flight; answers microseconds of CPU. */
async function timed(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  const used = process.cpuUsage(before);
  return used.user + used.system;
}

/** The cases take turns: what one is measured against runs in the same second, since the machine's own pace changes. */
async function measure(cases: readonly Case[]): Promise<void> {
  for (let turn = -WARM_UP_TURNS; turn < calls / TURN; turn += 1) {
    for (const one of cases) {
      let [opened, settled] = [0, 0];
      for (let wave = 0; wave < WAVES; wave += 1) {
        const open: CallToOpen[] = [];
        opened += await timed(async () => void open.push(await admit(one, made * 7919)));
        settled += await timed(async () => settle(open.pop()));
      }
      if (turn < 0) continue;
      one.opened.push(opened / TURN);
      one.settled.push(settled / TURN);
    }
  }
  const [plain] = cases;
  for (const one of cases) {
    const told = one.stream ? cases.find(({ prefix, among }) => isLike(one, prefix, among)) : undefined;
    const more =
      told === undefined
        ? `${beyond(one, plain)} of them for its money`
        : `${beyond(told, plain)} of them for its money and ${beyond(one, told)} to tell the balance`;
    console.log(
      `${one.title}: ${median(one.opened).toFixed(1)} us of CPU to open, ${more}; ${median(one.settled).toFixed(1)} us to settle`,
    );
  }
}

/** The first of them is the one that is not streamed. */
function isLike(one: Case, prefix: string, among: number): boolean {
  return one.prefix === prefix && one.among === among;
}

/** The median of what one took more than the other in the same turn. */
function beyond({ opened }: Case, other: Case | undefined): string {
  return median(opened.map((each, turn) => each - (other?.opened[turn] ?? NaN))).toFixed(1);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

async function admit({ prefix, among, stream }: Case, at: number): Promise<CallToOpen> {
  const number = (made += 1);
  const call: CallToOpen = {
    id: `01k${number.toString(32).padStart(23, '0')}`,
    customer: `${prefix}${String(at % among)}`,
    keyId: 'k_demo',
    endpoint: 'chat.completions',
    provider: 'openai',
    model: MODEL,
    stream,
    openedAtMs: Date.now(),
  };
  const verdict = await budgets.admit(call, asked);
  if (verdict.kind !== 'admitted') throw new Error(`${call.customer}: ${JSON.stringify(verdict.kind)}`);
  return call;
}

async function settle(call: CallToOpen | undefined): Promise<void> {
  if (call === undefined) return;
  const heldBy = call.customer.startsWith('cus_free_') ? undefined : call;
  await ledger.settle({
    id: call.id,
    heldBy,
    endedAtMs: Date.now(),
    outcome: 'finished',
    status: 200,
    usageSource: 'reported',
    lines: [{ attempt: 1, model: MODEL, tokenType: 'input', tokens: 1200 }],
    usageJson: '[]',
    costPico: '390000000',
    responseId: 'r',
  });
  if (heldBy !== undefined) budgets.freed(heldBy);
}
