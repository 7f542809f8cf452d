/** A backlog of settled usage in a real SQLite file, and its delivery through the stream to the simulator in another process. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDelivery } from '../src/billing/delivery/delivery.ts';
import { createStripeClient } from '../src/billing/stripe/client.ts';
import { createStripeWays, type Way } from '../src/billing/delivery/ways.ts';
import { createLedger } from '../src/ledger/create-ledger.ts';
import type { Database, Ledger } from '../src/ledger/ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { createNodeCrypto } from '../src/platform/crypto.ts';
import { createNodeRuntime } from '../src/platform/node-runtime.ts';
import { openSqlite } from '../src/platform/sqlite.ts';

export interface BacklogReport {
  readonly events: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** User and system time of this process, both threads, without the simulator's. */
  readonly cpuMicrosecondsPerEvent: number;
  readonly simulatorCpuMicrosecondsPerEvent: number;
  readonly rssMib: readonly number[];
  /** Customers and token types whose sum at Stripe is not the ledger's. */
  readonly differences: number;
  /** More events at Stripe than were made, or fewer. */
  readonly surplus: number;
}

export interface BacklogOptions {
  readonly events: number;
  /** Many, so that no customer's events pile up and are summed. */
  readonly customers?: number | undefined;
  /** The stream unless given. */
  readonly way?: Way | undefined;
  /** Told of every tenth part that is delivered. */
  readonly progress?: ((text: string) => void) | undefined;
}

const METER = 'token-billing-tokens';
const SEED_CALLS = 10_000;

export async function proveBacklog({
  events,
  customers = 2_000,
  way = 'stream',
  progress = () => undefined,
}: BacklogOptions): Promise<BacklogReport> {
  const directory = mkdtempSync(join(tmpdir(), 'faregate-backlog-'));
  const database = await openSqlite({ file: join(directory, 'ledger.db') });
  const simulator = await startSimulator(customers);
  try {
    await migrate(database);
    const made = await seed(database, { calls: events / 2, customers });
    const ledger = createLedger({ database, bootId: 'backlog' });
    progress(`${String(events)} events to deliver are in ${directory}`);
    const before = await simulator.tell();
    const drained = await drain(ledger, { url: simulator.url, way, events, progress });
    const after = await simulator.tell();
    const counted = new Map(after.sums);
    return {
      ...drained,
      simulatorCpuMicrosecondsPerEvent: Math.round((cpuOf(after.cpu) - cpuOf(before.cpu)) / events),
      differences: [...made].filter(([name, value]) => counted.get(name) !== value).length,
      surplus: after.events - events,
    };
  } finally {
    simulator.child.kill();
    await database.close();
    rmSync(directory, { recursive: true });
  }
}

const cpuOf = ({ user, system }: NodeJS.CpuUsage): number => user + system;

async function drain(
  ledger: Ledger,
  { url, way, events, progress }: { url: string; way: Way; events: number; progress: (text: string) => void },
): Promise<Omit<BacklogReport, 'simulatorCpuMicrosecondsPerEvent' | 'differences' | 'surplus'>> {
  const runtime = createNodeRuntime({ json: true });
  const crypto = createNodeCrypto();
  const stripe = createStripeClient({ secretKey: 'sk_test_sandbox', apiBase: url });
  const delivery = createDelivery({
    ledger,
    runtime,
    crypto,
    sink: createStripeWays(way, { stripe, runtime }),
    eventName: METER,
  });
  const rss: number[] = [];
  const watch = setInterval(
    () => {
      rss.push(Math.round(process.memoryUsage.rss() / 1_048_576));
      progress(`rss ${String(rss.at(-1))} MiB`);
    },
    Math.max(500, events / 50),
  );
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  let accepted = 0;
  while (accepted < events) {
    const report = await delivery.flush();
    accepted += report.accepted;
    progress(`${String(accepted)} of ${String(events)} accepted`);
    if (report.accepted === 0) break;
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  clearInterval(watch);
  return {
    events: accepted,
    seconds: Math.round(seconds * 10) / 10,
    eventsPerSecond: Math.round(accepted / seconds),
    cpuMicrosecondsPerEvent: Math.round(cpuOf(process.cpuUsage(cpu)) / accepted),
    rssMib: rss,
  };
}

/** Settled calls of two lines each, in bulk; answers what each customer and token type comes to. */
async function seed(
  database: Database,
  { calls, customers }: { calls: number; customers: number },
): Promise<ReadonlyMap<string, number>> {
  const startMs = Date.now() - 3_600_000;
  for (let from = 0; from < calls; from += SEED_CALLS)
    await database.batch([
      { sql: SEED, params: [from, Math.min(calls, from + SEED_CALLS) - 1, customers, startMs, startMs] },
    ]);
  const sums = new Map<string, number>();
  for (let at = 0; at < calls; at += 1)
    for (const [type, tokens] of [
      ['input', (at % 1_000) + 1],
      ['output', (at % 100) + 1],
    ] as const) {
      const name = `cus_${String(at % customers)} ${type}`;
      sums.set(name, (sums.get(name) ?? 0) + tokens);
    }
  return sums;
}

const SEED = `
  WITH RECURSIVE numbers (n) AS (SELECT CAST(? AS INTEGER) UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
  INSERT INTO calls (id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, opened_by, ended_at_ms,
    outcome, status, usage_source, usage_json, cost_pico, lines_json, line_count, tokens, sealed)
  SELECT printf('01k%023d', n), 'cus_' || (n % CAST(? AS INTEGER)), 'k', 'chat.completions', 'openai', 'openai/gpt-4o-mini', 0, CAST(? AS INTEGER) + n, 'seed',
    CAST(? AS INTEGER) + n, 'finished', 200, 'reported', '[]', 1000000,
    printf('[{"attempt":1,"model":"openai/gpt-4o-mini","tokenType":"input","tokens":%d},' ||
      '{"attempt":1,"model":"openai/gpt-4o-mini","tokenType":"output","tokens":%d}]', n % 1000 + 1, n % 100 + 1),
    2, n % 1000 + n % 100 + 2, 0 FROM numbers`;

interface SimulatorTells {
  readonly sums: readonly (readonly [string, number])[];
  readonly events: number;
  readonly cpu: NodeJS.CpuUsage;
}

async function startSimulator(customers: number): Promise<{
  url: string;
  child: ChildProcess;
  tell: () => Promise<SimulatorTells>;
}> {
  const child = fork(new URL('simulator.ts', import.meta.url), [METER, String(customers)], {
    execArgv: ['--max-old-space-size=4096'],
  });
  const next = async (): Promise<unknown> => ((await once(child, 'message')) as unknown[])[0];
  const { url } = (await next()) as { url: string };
  return {
    url,
    child,
    tell: async () => {
      const answer = next();
      child.send('sums');
      return (await answer) as SimulatorTells;
    },
  };
}
