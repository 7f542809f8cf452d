/**
 * CPU per call and added latency, beside bare undici proxies and beside Portkey, in one run: `npm run bench`.
 *
 * Every gateway is its own process on loopback, one after the other in turns, so that a noisy machine is noisy for all.
 * What counts is the ratio within a round; the median over the rounds is printed. CPU is the kernel's count of the
 * gateway's process, its threads included.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createStripeSimulator } from '../src/simulator/stripe.ts';
import { runLoad, type LoadResult } from './load.ts';
import { YOUNG_OBJECTS } from './young-objects.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    calls: { type: 'string', default: '4000' },
    streams: { type: 'string', default: '1500' },
    'warm-up': { type: 'string', default: '8' },
    'no-portkey': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const IN_FLIGHT = 64;
/** Rounds that do not count: the compilers are still at work in them, in every gateway for some 20,000 calls. */
const WARM_UP_ROUNDS = Number(options['warm-up']);
const CUSTOMER = 'cus_bench';
const SERVICE_KEY = 'bench-service-key-0123456789-0123456789';
const here = import.meta.dirname;

const KINDS = ['json', 'stream', 'apart'] as const;
type Kind = (typeof KINDS)[number];
const TITLES: Readonly<Record<Kind, string>> = {
  json: 'JSON',
  stream: '50-chunk stream',
  apart: '50-chunk stream, every chunk in a segment of its own',
};

/** Of the measured rounds. */
const median = (numbers: number[]): number =>
  numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;

interface Contender {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly child: ChildProcess;
}
interface Sample extends LoadResult {
  readonly cpuUsPerCall: number;
}

const children: ChildProcess[] = [];
const directory = mkdtempSync(join(tmpdir(), 'faregate-bench-'));
const stripe = createStripeSimulator({ now: Date.now, webhookSecret: 'whsec_bench' });
await stripe.listen();
stripe.addCustomer(CUSTOMER);
stripe.addMeter('token-billing-tokens');
try {
  const upstream = await start('upstream', [join(here, 'upstream.ts')]);
  const base = `http://127.0.0.1:${upstream.port}`;
  const bare = (name: string, api: string) => start(name, [join(here, 'bare-proxy.ts'), base, api]);
  const faregate = (name: string, deliver: 'yes' | 'no') =>
    start(
      name,
      // As bin/faregate.mjs runs it.
      [
        YOUNG_OBJECTS,
        join(here, 'gateway.ts'),
        base,
        stripe.url,
        join(directory, deliver),
        deliver,
        SERVICE_KEY,
      ],
      {
        authorization: `Bearer ${SERVICE_KEY}`,
        'x-stripe-customer-id': CUSTOMER,
      },
    );
  const contenders = [
    await bare('bare proxy', 'stream'),
    await bare('bare request', 'request'),
    await bare('bare dispatch', 'dispatch'),
    await bare('bare with a ledger', 'ledger'),
    await faregate('faregate', 'no'),
  ];
  if (!options['no-portkey']) contenders.push(await startPortkey(base));
  const delivering = await faregate('faregate, delivering', 'yes');
  report(await measure([...contenders, delivering]));
} finally {
  for (const child of children) child.kill();
  await stripe.close();
  rmSync(directory, { recursive: true, force: true });
}

type Samples = Map<string, Record<Kind, Sample[]>>;

async function measure(contenders: readonly Contender[]): Promise<Samples> {
  const samples: Samples = new Map(contenders.map(({ name }) => [name, { json: [], stream: [], apart: [] }]));
  for (let round = -WARM_UP_ROUNDS; round < Number(options.rounds); round++) {
    for (const kind of KINDS) {
      for (const contender of contenders) {
        const sample = await measureOne(contender, kind);
        if (round >= 0) samples.get(contender.name)?.[kind].push(sample);
      }
    }
  }
  return samples;
}

async function measureOne(contender: Contender, kind: Kind): Promise<Sample> {
  const portkey = contender.name === 'portkey';
  const calls = Number(kind === 'json' ? options.calls : options.streams) / (portkey ? 4 : 1);
  const before = cpuMs(contender.pid);
  const result = await runLoad({
    url: `http://127.0.0.1:${contender.port}/v1/chat/completions`,
    headers: contender.headers,
    body: JSON.stringify({
      model: `${portkey ? '' : 'openai/'}${kind === 'apart' ? 'apart' : 'gpt-4o-mini'}`,
      ...(kind === 'json' ? {} : { stream: true }),
      messages: [
        { role: 'system', content: 'You answer in one short sentence.' },
        { role: 'user', content: 'Is the fare gate open? '.repeat(20) },
      ],
    }),
    calls,
    inFlight: IN_FLIGHT,
  });
  if (result.failures > 0) throw new Error(`${contender.name}: ${result.failures} of ${calls} calls failed`);
  return { ...result, cpuUsPerCall: ((cpuMs(contender.pid) - before) * 1000) / calls };
}

/** What a process and its threads have run so far, in milliseconds: the scheduler counts nanoseconds. */
function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ran = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8'));
  return ran.reduce((sum, text) => sum + Number(text.split(' ')[0]) / 1e6, 0);
}

async function start(name: string, args: string[], headers: Record<string, string> = {}): Promise<Contender> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it listened`)));
    child.stdout.once('data', (line: Buffer) =>
      resolve((JSON.parse(line.toString()) as { port: number }).port),
    );
  });
  return { name, pid: child.pid ?? 0, port, headers, child };
}

async function startPortkey(upstream: string): Promise<Contender> {
  const folder = join(here, 'peers');
  const entry = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  if (!existsSync(entry))
    spawnSync('npm', ['install', '--no-package-lock', '--no-audit'], { cwd: folder, stdio: 'ignore' });
  const port = await freePort();
  const child = spawn(process.execPath, [entry, `--port=${port}`, '--headless'], {
    stdio: 'ignore',
    cwd: folder,
  });
  children.push(child);
  const headers = {
    authorization: 'Bearer sk-upstream',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${upstream}/v1`,
  };
  for (let tries = 0; ; tries++) {
    const up = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (up) return { name: 'portkey', pid: child.pid ?? 0, port, headers, child };
    if (tries > 100)
      throw new Error('Portkey does not start: run npm install in bench/peers, or pass --no-portkey.');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** Of CPU, within the rounds. */
function ratio(own: readonly Sample[], to: readonly Sample[] = []): number {
  return median(own.map(({ cpuUsPerCall }, round) => cpuUsPerCall / (to[round]?.cpuUsPerCall ?? NaN)));
}

function report(samples: Samples): void {
  const rows = [...samples].flatMap(([name, kinds]) =>
    KINDS.map((kind) => {
      const own = kinds[kind];
      const against = samples.get('bare proxy')?.[kind] ?? [];
      return {
        kind: TITLES[kind],
        name,
        cpuUs: Math.round(median(own.map(({ cpuUsPerCall }) => cpuUsPerCall))),
        toBare: ratio(own, against),
        toRequest: ratio(own, samples.get('bare request')?.[kind]),
        toPortkey: ratio(own, samples.get('portkey')?.[kind]),
        addedMs: median(
          own.map((sample, round) => sample.lastByteMs.p50 - (against[round]?.lastByteMs.p50 ?? NaN)),
        ),
        firstByteMs: median(own.map(({ firstByteMs }) => firstByteMs.p50)),
        callsPerS: Math.round(median(own.map(({ calls, wallMs }) => (calls * 1000) / wallMs))),
      };
    }),
  );
  if (options.json) {
    console.log(JSON.stringify({ node: process.version, inFlight: IN_FLIGHT, rows }, null, 2));
    return;
  }
  console.log(
    `Node ${process.version}, ${IN_FLIGHT} calls in flight, ${options.rounds} rounds, medians. Ratios within a round.\n`,
  );
  for (const kind of Object.values(TITLES)) {
    console.log(
      `${kind}\n  ${'gateway'.padEnd(22)} CPU us/call   x bare   x request   of Portkey   added p50 ms   first byte p50 ms   calls/s`,
    );
    for (const row of rows.filter((candidate) => candidate.kind === kind)) {
      const cells = [
        String(row.cpuUs).padStart(11),
        row.toBare.toFixed(2).padStart(8),
        row.toRequest.toFixed(2).padStart(11),
        (Number.isNaN(row.toPortkey) ? '' : row.toPortkey.toFixed(2)).padStart(12),
        row.addedMs.toFixed(1).padStart(14),
      ];
      console.log(
        `  ${row.name.padEnd(22)} ${cells.join(' ')} ${row.firstByteMs.toFixed(1).padStart(19)} ${String(row.callsPerS).padStart(9)}`,
      );
    }
  }
}
