/** The gateway as the operator starts it: a process of its own, known by its log and its signals only. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';

export const SERVICE_KEY = 'service-key-of-the-crash-proof-0123456789';
export const ADMIN_KEY = 'admin-key-of-the-crash-proof-0123456789';

export interface GatewayProcess {
  readonly startedAtMs: number;
  /** Its URL once it serves; rejects when it ends before, undefined when it was killed before. */
  readonly ready: Promise<string | undefined>;
  /** How it ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Log lines that tell of a bug or of lost work. */
  readonly alarms: readonly string[];
  kill(signal: NodeJS.Signals): void;
  /** Where the process sees a path of its own file system, for whoever looks in from outside. */
  seen(path: string): string;
}

export interface GatewayPlace {
  /** Holds the database, and nothing the gateway would read as configuration. */
  readonly directory: string;
  readonly upstreamUrl: string;
  readonly stripeUrl: string;
  /** Puts a disk of so many bytes over the directory, in the process's own view of the file system. Needs root. */
  readonly diskBytes?: number;
  /** What strace does to the calls that write to the disk, e.g. `signal=KILL:when=7`. Needs strace. */
  readonly injects?: string;
  /** Runs it under strace with these options. */
  readonly strace?: readonly string[];
}

/** Whether system calls can be interfered with here. */
export const hasStrace = (): boolean => spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status === 0;

/** The calls by which SQLite's file changes. */
const WRITES = 'pwrite64,fsync,fdatasync,ftruncate,unlink';

const BIN = join(import.meta.dirname, '../../bin/faregate.mjs');
const ALARM =
  /"event":"(internal_error|deferred_work_failed|settlement_failed|flush_failed|meter_event_refused|meter_event_quarantined)"/;
const ALARMS_MAX = 20;

export const databaseFile = ({ directory }: Pick<GatewayPlace, 'directory'>): string =>
  join(directory, 'ledger.db');

/** A proof that fails half way leaves no gateway behind. */
const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export function startGatewayProcess(place: GatewayPlace): GatewayProcess {
  const startedAtMs = Date.now();
  const [command = '', ...args] = [...onDisk(place), ...traced(place), process.execPath, BIN, 'start'];
  const child = spawn(command, args, {
    cwd: place.directory,
    env: environment(place),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  living.add(child);
  const alarms: string[] = [];
  const ready = Promise.withResolvers<string | undefined>();
  let tail = '';
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-2_000);
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const url = line.includes('"event":"listening"') ? /"url":"([^"]+)"/.exec(line)?.[1] : undefined;
      if (url !== undefined) ready.resolve(url);
      if (ALARM.test(line) && alarms.length < ALARMS_MAX) alarms.push(line);
    }
  });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => {
      living.delete(child);
      if (signal === 'SIGKILL') ready.resolve(undefined);
      else ready.reject(new Error(`The gateway ended with code ${code}, signal ${signal}: ${tail}`));
      resolve({ code, signal });
    });
  });
  // Whoever does not wait for readiness need not hear of its failure: the next start does.
  ready.promise.catch(() => undefined);
  return {
    startedAtMs,
    ready: ready.promise,
    ended,
    alarms,
    kill: (signal) => void child.kill(signal),
    seen: (path) => `/proc/${child.pid}/root${path}`,
  };
}

/** The gateway keeps the process id that was spawned: its signals reach it, and its disk is seen under /proc. */
const onDisk = ({ diskBytes, directory }: GatewayPlace): readonly string[] =>
  diskBytes === undefined
    ? []
    : [
        'unshare',
        '--mount',
        'sh',
        '-c',
        `mount -t tmpfs -o size=${diskBytes} tmpfs "$0" && cd "$0" && exec "$@"`,
        directory,
      ];

/** `-D`: the tracer is a process apart, and the gateway keeps the process id that was spawned. */
function traced({ injects, strace }: GatewayPlace): readonly string[] {
  if (strace !== undefined) return ['strace', ...strace];
  if (injects === undefined) return [];
  const calls = ['-e', `trace=${WRITES}`, '-e', `inject=${WRITES}:${injects}`];
  return ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...calls];
}

const environment = (place: GatewayPlace): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOST: '127.0.0.1',
  PORT: '0',
  DATABASE_URL: `sqlite:${databaseFile(place)}`,
  FAREGATE_SERVICE_KEY: SERVICE_KEY,
  FAREGATE_ADMIN_KEY: ADMIN_KEY,
  STRIPE_SECRET_KEY: 'sk_test_crash',
  STRIPE_WEBHOOK_SECRET: 'whsec_crash',
  STRIPE_API_BASE: place.stripeUrl,
  OPENAI_API_KEY: 'sk-upstream-of-the-crash-proof',
  OPENAI_BASE_URL: place.upstreamUrl,
});

/** One GET or POST of the admin API. Throws when it is not answered well. */
export async function admin(url: string, path: string, method: 'GET' | 'POST' = 'GET'): Promise<unknown> {
  const response = await fetch(`${url}/admin/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
