/**
 * The proof by killing: the gateway is killed with SIGKILL at random moments under load and started again on the same
 * database, while an upstream and a Stripe that outlive it keep their own counts. At the end the three must agree.
 */
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import { randomNumbers } from '../../src/simulator/faults.ts';
import type { StripeSimulator } from '../../src/simulator/stripe.ts';
import type { Books, LedgerEntry } from './books.ts';
import { type Load, startLoad } from './callers.ts';
import { compare, type Problem } from './compare.ts';
import { admin, type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { delivered, type Scene, setScene } from './scene.ts';

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  readonly lanes?: number;
  /** Where the lot falls; everywhere but `writing` unless given. */
  readonly moments?: readonly Moment[];
  /** Told after each kill. */
  readonly progress?: (done: number) => void;
}

type Tokens = { readonly input: number; readonly output: number };

export interface KillReport {
  readonly seed: number;
  readonly node: string;
  readonly kills: number;
  /** How many of them at which moment. */
  readonly moments: Readonly<Record<Moment, number>>;
  readonly calls: number;
  /** Calls whose caller saw the whole reply. */
  readonly complete: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** Recovered calls that had evidence and were billed by it. */
  readonly recoveredBilled: number;
  readonly slowestStartMs: number;
  /** What the upstream finished serving, what the ledger settled as reported and as recovered, what Stripe accepted. */
  readonly tokens: {
    readonly upstreamFinished: Tokens;
    readonly ledgerReported: Tokens;
    readonly ledgerRecovered: Tokens;
    readonly stripe: Tokens;
  };
  readonly stripeEvents: number;
  readonly seconds: number;
  readonly problems: readonly Problem[];
  /** What else went wrong: invariants of the ledger, late recovery, alarms in the log. */
  readonly failures: readonly string[];
}

const BY_CHANCE = ['starting', 'ready', 'loaded', 'delivering'] as const;
/**
 * `starting`: before it serves, so also while it recovers. `delivering`: when Stripe has just taken an event. `writing`:
 * at the system call that writes to the disk, the first in the first such life, the second in the second, and so on.
 */
export type Moment = (typeof BY_CHANCE)[number] | 'writing';
/** A life that never comes to its write is ended after this long. */
const WRITING_MS_MAX = 10_000;

const RECOVERY_MS_MAX = 10_000;
/** Retries wait for 30 s at most; then there is a backlog to deliver. */
const DRAIN_MS_MAX = 180_000;
const FAULTS: readonly (readonly [kind: string, probability: number])[] = [
  ['rate_limited', 0.01],
  ['conflict', 0.01],
  ['server_error', 0.005],
  ['server_error_after_commit', 0.01],
  ['drop', 0.005],
  ['drop_after_commit', 0.01],
];

interface Run {
  readonly scene: Scene;
  readonly load: Load;
  readonly random: () => number;
  readonly moments: Record<Moment, number>;
  readonly drawn: readonly Moment[];
  readonly failures: string[];
  slowestStartMs: number;
}

export async function proveKills(options: KillOptions): Promise<KillReport> {
  const startedMs = performance.now();
  const scene = await setScene(options.seed + 1);
  orderFaults(scene.stripe, options.seed + 2);
  const { customers } = scene;
  const load = startLoad({ seed: options.seed + 3, lanes: options.lanes ?? 16, customers });
  const run: Run = {
    scene,
    load,
    random: randomNumbers(options.seed),
    moments: { starting: 0, ready: 0, loaded: 0, delivering: 0, writing: 0 },
    drawn: options.moments ?? BY_CHANCE,
    failures: [],
    slowestStartMs: 0,
  };
  try {
    for (let kill = 1; kill <= options.kills; kill += 1) {
      await liveAndDie(run);
      options.progress?.(kill);
    }
    const books = await drained(run);
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    return { ...report(run, options, books), seconds };
  } finally {
    await load.stop();
    await scene.close();
  }
}

function orderFaults(stripe: StripeSimulator, seed: number): void {
  const route = 'POST /v2/billing/meter_events';
  for (const [index, [kind, probability]] of FAULTS.entries())
    stripe.faults.add({ route, kind, probability, seed: seed + index });
}

/** One life of the gateway, ended at a moment drawn by lot. */
async function liveAndDie(run: Run): Promise<void> {
  const { random, load, drawn } = run;
  const moment = drawn[Math.floor(random() * drawn.length)] ?? 'loaded';
  const delayMs = random() * 300;
  if (moment === 'writing') return writeAndDie(run);
  const gateway = startGatewayProcess(run.scene.place);
  run.moments[moment] += 1;
  if (moment === 'starting') {
    // A start takes some 300 to 600 ms; the recovery is at its end.
    await Promise.race([pause(delayMs * 2), gateway.ready]);
  } else {
    load.aim(await readyUrl(run, gateway));
    if (moment === 'loaded') await pause(300);
    if (moment === 'delivering') await nextAcceptance(run.scene.stripe);
    else await pause(delayMs);
  }
  gateway.kill('SIGKILL');
  load.aim(undefined);
  await gateway.ended;
  run.failures.push(...gateway.alarms);
}

/** One life that ends before its n-th write has happened: the disk has all that was written before, and nothing after. */
async function writeAndDie(run: Run): Promise<void> {
  const { load, scene } = run;
  run.moments.writing += 1;
  const gateway = startGatewayProcess({
    ...scene.place,
    injects: `signal=KILL:when=${run.moments.writing}`,
  });
  const tooLong = setTimeout(() => gateway.kill('SIGKILL'), WRITING_MS_MAX);
  const url = await gateway.ready;
  if (url !== undefined) load.aim(url);
  await gateway.ended;
  clearTimeout(tooLong);
  load.aim(undefined);
  run.failures.push(...gateway.alarms);
}

/** Waits until it serves, and checks that it then has recovered whatever an earlier life left open. */
async function readyUrl(run: Run, gateway: GatewayProcess): Promise<string> {
  const url = await gateway.ready;
  if (url === undefined) throw new Error('The gateway was killed by somebody else.');
  const tookMs = Date.now() - gateway.startedAtMs;
  run.slowestStartMs = Math.max(run.slowestStartMs, tookMs);
  if (tookMs > RECOVERY_MS_MAX) run.failures.push(`A start took ${tookMs} ms.`);
  const { data } = (await admin(url, '/calls?state=open&limit=1000')) as { data: LedgerEntry[] };
  for (const call of data) run.failures.push(`${call.id} was not recovered at the start.`);
  return url;
}

/** The turn in which Stripe takes an event: its answer is on its way and nobody has marked it. */
async function nextAcceptance({ world }: StripeSimulator): Promise<void> {
  const before = world.accepted.length;
  const deadline = performance.now() + 5_000;
  while (world.accepted.length === before && performance.now() < deadline) await turn();
}

/** A last life, without faults, that delivers everything and stops as it is asked to; answers the books. */
async function drained(run: Run): Promise<Books> {
  const { load, scene } = run;
  const gateway = startGatewayProcess(scene.place);
  const url = await readyUrl(run, gateway);
  load.aim(url);
  await pause(300);
  await load.stop();
  scene.stripe.faults.clear();
  const waiting = await delivered(url, DRAIN_MS_MAX);
  if (waiting !== undefined) run.failures.push(waiting);
  const books = await scene.books(url, load.callers);
  gateway.kill('SIGTERM');
  const { code } = await gateway.ended;
  if (code !== 0) run.failures.push(`SIGTERM ended it with code ${code}.`);
  run.failures.push(...gateway.alarms, ...(await scene.violations()));
  return books;
}

function report(run: Run, { seed, kills }: KillOptions, books: Books): Omit<KillReport, 'seconds'> {
  const { callers, upstream, ledger, stripe } = books;
  const outcomes: Record<string, number> = {};
  for (const { outcome } of ledger) outcomes[String(outcome)] = (outcomes[String(outcome)] ?? 0) + 1;
  const recovered = ledger.filter(({ outcome }) => outcome === 'recovered');
  const ofType = (type: string): number =>
    stripe.reduce((total, { tokenType, tokens }) => total + (tokenType === type ? tokens : 0), 0);
  return {
    seed,
    node: process.version,
    kills,
    moments: run.moments,
    calls: callers.length,
    complete: callers.filter(({ complete }) => complete).length,
    outcomes,
    recoveredBilled: recovered.filter(({ events }) => events.length > 0).length,
    slowestStartMs: run.slowestStartMs,
    tokens: {
      upstreamFinished: {
        input: upstream.reduce((total, call) => total + (call.finished ? call.inputTokens : 0), 0),
        output: upstream.reduce((total, call) => total + (call.finished ? call.outputTokens : 0), 0),
      },
      ledgerReported: ledgerTokens(ledger.filter(({ usage_source: source }) => source === 'reported')),
      ledgerRecovered: ledgerTokens(recovered),
      stripe: { input: ofType('input'), output: ofType('output') },
    },
    stripeEvents: run.scene.stripe.world.accepted.length,
    problems: compare(books),
    failures: run.failures,
  };
}

const ledgerTokens = (calls: readonly LedgerEntry[]): Tokens => ({
  input: calls.reduce((total, { usage }) => total + (usage?.input_tokens ?? 0), 0),
  output: calls.reduce((total, { usage }) => total + (usage?.output_tokens ?? 0), 0),
});
