/**
 * The gateway of `bench/delivery-share.ts`: the product as `faregate start` runs it, whose delivery its parent switches on
 * and off, and whose ledger it may fill with settled calls that nobody made. Arguments: the upstream's base URL, the
 * stand-in's, a directory, the way to Stripe.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { settingsFor } from '../src/config.ts';
import { startGateway } from '../src/node.ts';
import { createFlushLoop, type FlushLoop } from '../src/platform/flush-loop.ts';
import { createNodeRuntime } from '../src/platform/node-runtime.ts';

export type Order =
  | { readonly kind: 'deliver'; readonly on: boolean }
  | {
      readonly kind: 'seed';
      readonly calls: number;
      readonly perSecond: number;
      readonly customers: readonly string[];
    }
  | { readonly kind: 'drain' }
  | { readonly kind: 'cpu' };

/** Microseconds, of the process with all its threads, and of the thread that serves. */
export interface Cpu {
  readonly process: number;
  readonly serving: number;
}

const TICK_MS = 10;
const [upstream = '', stripe = '', directory = '', transport = 'auto', serviceKey = ''] =
  process.argv.slice(2);
const result = settingsFor('start', {
  env: {
    PORT: '0',
    DATABASE_URL: `sqlite:${join(directory, 'bench.db')}`,
    FAREGATE_CONFIG: 'bench.yaml',
    FAREGATE_SERVICE_KEY: serviceKey,
    STRIPE_SECRET_KEY: 'sk_test_bench',
    STRIPE_WEBHOOK_SECRET: 'whsec_bench',
    STRIPE_API_BASE: stripe,
    OPENAI_API_KEY: 'sk-upstream',
    OPENAI_BASE_URL: `${upstream}/v1`,
  },
  readFile: (path) => (path === 'bench.yaml' ? `billing:\n  transport: ${transport}\n` : undefined),
});
if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
const running = await startGateway(result.settings, createNodeRuntime({ json: true }), { delivers: false });
const { delivery } = running.gateway;
let loop: FlushLoop | undefined;
let waking: NodeJS.Timeout | undefined;
let seeded = 0;

const pass = async (): Promise<number | undefined> => (await delivery.flush()).next;

/** As the product's own loop does it under load: a pass 20 ms after the first settlement since the last. */
function start(): void {
  loop = createFlushLoop(pass, (error) => console.error(error));
  waking = setInterval(() => loop?.wake(), TICK_MS);
}

async function stop(): Promise<void> {
  clearInterval(waking);
  await loop?.stop();
  loop = undefined;
}

async function seed({ calls, perSecond, customers }: Extract<Order, { kind: 'seed' }>): Promise<void> {
  const startedMs = performance.now();
  const work: Promise<void>[] = [];
  for (let made = 0; made < calls;) {
    const due = Math.min(calls, Math.floor(((performance.now() - startedMs) * perSecond) / 1_000));
    for (; made < due; made += 1) work.push(settleOne(customers[made % customers.length] ?? ''));
    await pause(TICK_MS);
  }
  await Promise.all(work);
}

async function settleOne(customer: string): Promise<void> {
  const id = `01seed${String((seeded += 1)).padStart(20, '0')}`;
  const model = 'openai/gpt-4o-mini';
  const line = { attempt: 1, model };
  await running.ledger.admit({
    id,
    customer,
    keyId: 'bench',
    endpoint: 'chat.completions',
    provider: 'openai',
    model,
    stream: false,
    openedAtMs: Date.now(),
  });
  await running.ledger.settle({
    id,
    endedAtMs: Date.now(),
    outcome: 'finished',
    status: 200,
    usageSource: 'reported',
    usageJson: '[]',
    costPico: '31800000',
    responseId: null,
    lines: [
      { ...line, tokenType: 'input', tokens: 12 },
      { ...line, tokenType: 'output', tokens: 50 },
    ],
  });
}

async function drain(): Promise<void> {
  for (;;) {
    const { sealed, sent, next = 0 } = await delivery.flush();
    if (sealed === 0 && sent === 0 && next === 0) return;
    if (sent === 0) await pause(TICK_MS);
  }
}

function cpu(): Cpu {
  const [all, own] = [process.cpuUsage(), process.threadCpuUsage()];
  return { process: all.user + all.system, serving: own.user + own.system };
}

async function obey(order: Order): Promise<Cpu> {
  if (order.kind === 'deliver') await (order.on ? start() : stop());
  if (order.kind === 'seed') await seed(order);
  if (order.kind === 'drain') await drain();
  return cpu();
}

process.on('message', (order: Order) => void obey(order).then((used) => process.send?.(used)));
process.on('disconnect', () => process.exit());
process.send?.({ port: Number(new URL(running.url).port) });
