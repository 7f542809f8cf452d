/**
 * CPU of the durable record per call: `admit` and `settle` with two lines, 64 calls in flight, on a real file.
 * `node bench/ledger.ts [calls]`. The figure covers both threads, user and system time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLedger } from '../src/ledger/create-ledger.ts';
import type { Ledger } from '../src/ledger/ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { openSqlite } from '../src/platform/sqlite.ts';

const IN_FLIGHT = 64;
const WARM_UP_CALLS = 5_000;

const calls = Number(process.argv[2] ?? 40_000);
const directory = mkdtempSync(join(tmpdir(), 'faregate-bench-'));
const database = await openSqlite({ file: join(directory, 'ledger.db') });
await migrate(database);
const ledger = createLedger({ database, bootId: 'bench' });
let made = 0;

await run(ledger, WARM_UP_CALLS);
const before = process.cpuUsage();
const startedMs = performance.now();
await run(ledger, calls);
const wallMs = performance.now() - startedMs;
const used = process.cpuUsage(before);
const perCall = (microseconds: number): string => (microseconds / calls).toFixed(1);
console.log(
  `${calls} calls, ${IN_FLIGHT} in flight: ${perCall(used.user + used.system)} us CPU per admit and settle ` +
    `(user ${perCall(used.user)}, system ${perCall(used.system)}), ${Math.round(calls / (wallMs / 1000))} calls a second`,
);
await database.close();
rmSync(directory, { recursive: true });

async function run(target: Ledger, count: number): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await oneCall(target, (made += 1));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

async function oneCall(target: Ledger, number: number): Promise<void> {
  const id = `01k${number.toString(32).padStart(23, '0')}`;
  const customer = `cus_${number % 500}`;
  const model = 'openai/gpt-4o-mini';
  const openedAtMs = 1_790_000_000_000 + number;
  await target.admit({
    id,
    customer,
    keyId: 'k_demo',
    endpoint: 'chat.completions',
    provider: 'openai',
    model,
    stream: true,
    openedAtMs,
  });
  await target.settle({
    id,
    endedAtMs: openedAtMs + 900,
    outcome: 'finished',
    status: 200,
    usageSource: 'reported',
    lines: [
      { attempt: 1, model, tokenType: 'input', tokens: 1200 },
      { attempt: 1, model, tokenType: 'output', tokens: 350 },
    ],
    usageJson: '[{"servedModel":"gpt-4o-mini-2024-07-18","uncachedInput":1200,"textOutput":350}]',
    costPico: '390000000',
    responseId: `chatcmpl-${number}`,
  });
}
