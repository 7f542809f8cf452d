/**
 * What delivery adds to the request path: `npm run bench:share -- --rounds 20 --calls 1500 --rate 600`.
 *
 * Delivery takes CPU of its own; the question is whether the request path takes more because of it. So each round has
 * four parts, in a random order, in one process, at one rate: calls without delivery, calls with it, settled calls put
 * straight into the ledger without delivery, and with it. The last two differ by the deliverer's own share; what the first
 * two differ by beyond it, over the first, is the growth. Its mean over the rounds is printed with its 95 % interval, for
 * the process with all its threads and for the thread that serves; and what the stand-in took.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import type { Cpu, Order } from './share-gateway.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    calls: { type: 'string', default: '1500' },
    rate: { type: 'string', default: '600' },
    transport: { type: 'string', default: 'auto' },
    customers: { type: 'string', default: '200' },
  },
});
const [rounds, calls, perSecond] = [options.rounds, options.calls, options.rate].map(Number) as [
  number,
  number,
  number,
];
const METER = 'token-billing-tokens';
const SERVICE_KEY = 'bench-service-key-0123456789-0123456789';
/** Rounds that do not count: the compilers are still at work in them. */
const WARM_UP_ROUNDS = 2;
const TICK_MS = 10;
const customers = Array.from({ length: Number(options.customers) }, (_, at) => `cus_${String(at)}`);
const body = JSON.stringify({
  model: 'openai/gpt-4o-mini',
  messages: [{ role: 'user', content: 'Is the fare gate open? '.repeat(20) }],
});

const PARTS = ['calls', 'calls delivered', 'seeds', 'seeds delivered'] as const;
type Part = (typeof PARTS)[number];
type Round = Readonly<Record<Part, Cpu>>;

const directory = mkdtempSync(join(tmpdir(), 'faregate-share-'));
const children: ChildProcess[] = [];
try {
  const { url: stripe } = (await child('simulator.ts', [METER, options.customers])).ready as { url: string };
  const { port: upstream } = (await child('upstream.ts', [])).ready as { port: number };
  const gateway = await child('share-gateway.ts', [
    `http://127.0.0.1:${String(upstream)}`,
    stripe,
    directory,
    options.transport,
    SERVICE_KEY,
  ]);
  const { port } = gateway.ready as { port: number };
  const pool = new Pool(`http://127.0.0.1:${String(port)}`, { connections: 64 });
  const measured: Round[] = [];
  for (let round = -WARM_UP_ROUNDS; round < rounds; round += 1) {
    const one = await liveRound(gateway.tell, pool);
    if (round >= 0) measured.push(one);
  }
  await pool.close();
  report(measured);
} finally {
  for (const one of children) one.kill();
  rmSync(directory, { recursive: true, force: true });
}

type Tell = (order: Order) => Promise<Cpu>;

async function liveRound(tell: Tell, pool: Pool): Promise<Round> {
  const used = new Map<Part, Cpu>();
  for (const part of PARTS.toSorted(() => Math.random() - 0.5)) {
    const isDelivered = part.endsWith('delivered');
    const before = isDelivered ? await tell({ kind: 'deliver', on: true }) : await tell({ kind: 'cpu' });
    if (part.startsWith('calls')) await load(pool);
    else await tell({ kind: 'seed', calls, perSecond, customers });
    let after = await tell({ kind: 'cpu' });
    if (isDelivered) {
      await tell({ kind: 'deliver', on: false });
      after = await tell({ kind: 'drain' });
    }
    used.set(part, {
      process: (after.process - before.process) / calls,
      serving: (after.serving - before.serving) / calls,
    });
    await tell({ kind: 'drain' });
  }
  return Object.fromEntries(used) as unknown as Round;
}

/** Calls at the rate, whatever becomes of those before. */
async function load(pool: Pool): Promise<void> {
  const startedMs = performance.now();
  const work: Promise<void>[] = [];
  for (let made = 0; made < calls;) {
    const due = Math.min(calls, Math.floor(((performance.now() - startedMs) * perSecond) / 1_000));
    for (; made < due; made += 1) work.push(call(pool, customers[made % customers.length] ?? ''));
    await pause(TICK_MS);
  }
  await Promise.all(work);
}

async function call(pool: Pool, customer: string): Promise<void> {
  const headers = {
    'content-type': 'application/json',
    authorization: `Bearer ${SERVICE_KEY}`,
    'x-stripe-customer-id': customer,
  };
  const answer = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`A call failed: ${String(answer.statusCode)} ${text}`);
}

async function child(file: string, args: readonly string[]): Promise<{ ready: unknown; tell: Tell }> {
  // The upstream says where it is on stdout, the others by a message; a log line a call goes nowhere.
  const isTold = file !== 'upstream.ts';
  const made = fork(new URL(file, import.meta.url), args, {
    stdio: ['ignore', isTold ? 'ignore' : 'pipe', 'ignore', 'ipc'],
  });
  children.push(made);
  const next = async (): Promise<unknown> => ((await once(made, 'message')) as unknown[])[0];
  const ready = isTold ? await next() : (JSON.parse(String(await lineOf(made))) as unknown);
  const tell: Tell = async (order) => {
    const answer = next();
    made.send(order);
    return (await answer) as Cpu;
  };
  return { ready, tell };
}

async function lineOf({ stdout }: ChildProcess): Promise<unknown> {
  return stdout === null ? '' : ((await once(stdout, 'data')) as unknown[])[0];
}

function report(measured: readonly Round[]): void {
  console.log(
    `Node ${process.version}, ${String(perSecond)} calls a second, ${String(calls)} calls a part, ${String(rounds)} rounds, ` +
      `by ${options.transport}. Means, with 95 % intervals.`,
  );
  for (const [name, of] of [
    ['whole process', 'process'],
    ['serving thread', 'serving'],
  ] as const) {
    const cpu = (part: Part): string => interval(measured.map((one) => one[part][of])).text(' us', 0);
    const share = interval(measured.map((one) => one['seeds delivered'][of] - one['seeds'][of]));
    const growth = interval(
      measured.map((one) => {
        const added = one['calls delivered'][of] - one['calls'][of];
        return (100 * (added - (one['seeds delivered'][of] - one['seeds'][of]))) / one['calls'][of];
      }),
    );
    console.log(
      `${name.padEnd(15)} a call ${cpu('calls')}; delivering ${cpu('calls delivered')}; the deliverer alone ` +
        `${share.text(' us', 0)}; the request path grows by ${growth.text(' %', 1)}`,
    );
  }
}

/** The mean and half the width of its 95 % interval, by Student's t. */
function interval(numbers: readonly number[]): { text: (unit: string, digits: number) => string } {
  const n = numbers.length;
  const mean = numbers.reduce((sum, one) => sum + one, 0) / n;
  const variance = numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0) / Math.max(1, n - 1);
  const half = studentT(n - 1) * Math.sqrt(variance / n);
  return {
    text: (unit, digits) =>
      `${mean.toFixed(digits)}${unit} [${(mean - half).toFixed(digits)}, ${(mean + half).toFixed(digits)}]`,
  };
}

/** The quantile at 97.5 %, to a hundredth for 4 degrees of freedom and more. */
function studentT(degrees: number): number {
  return 1.96 + 2.37 / degrees + 2.8 / degrees ** 2 + 2.5 / degrees ** 3;
}
