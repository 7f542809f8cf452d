/**
 * The proof by killing: the gateway is killed with SIGKILL at random moments under load and started again on the same
 * database, while an upstream and a Stripe that outlive it keep their own counts. At the end the three must agree.
 */
import { rmSync } from 'node:fs';
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import { violations } from '../../src/ledger/invariants.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { randomNumbers } from '../../src/simulator/faults.ts';
import { createStripeSimulator, type StripeSimulator } from '../../src/simulator/stripe.ts';
import { temporaryDirectory } from '../support/sqlite.ts';
import type { Books, LedgerEntry } from './books.ts';
import { type Load, startLoad } from './callers.ts';
import { compare, type Problem } from './compare.ts';
import {
  admin,
  databaseFile,
  type GatewayPlace,
  type GatewayProcess,
  startGatewayProcess,
} from './gateway-process.ts';
import { startCountingUpstream } from './upstream.ts';

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  readonly lanes?: number;
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

const MOMENTS = ['starting', 'ready', 'loaded', 'delivering'] as const;
/** `starting`: before it serves, so also while it recovers. `delivering`: when Stripe has just taken an event. */
type Moment = (typeof MOMENTS)[number];

const CUSTOMERS = ['cus_kill_1', 'cus_kill_2', 'cus_kill_3', 'cus_kill_4', 'cus_kill_5'];
const RECOVERY_MS_MAX = 10_000;
/** The last leases run out after 25 s; then there is a backlog to deliver. */
const DRAIN_MS_MAX = 180_000;
const FAULTS: readonly (readonly [kind: string, probability: number])[] = [
  ['rate_limited', 0.01],
  ['conflict', 0.01],
  ['server_error', 0.005],
  ['server_error_after_commit', 0.01],
  ['drop', 0.005],
  ['drop_after_commit', 0.01],
];

interface Run extends GatewayPlace {
  readonly stripe: StripeSimulator;
  readonly load: Load;
  readonly random: () => number;
  readonly moments: Record<Moment, number>;
  readonly failures: string[];
  slowestStartMs: number;
}

export async function proveKills(options: KillOptions): Promise<KillReport> {
  const startedMs = performance.now();
  const directory = temporaryDirectory();
  const upstream = await startCountingUpstream(options.seed + 1);
  const stripe = await startStripe(options.seed + 2);
  const load = startLoad({ seed: options.seed + 3, lanes: options.lanes ?? 16, customers: CUSTOMERS });
  const run: Run = {
    directory,
    upstreamUrl: upstream.url,
    stripeUrl: stripe.url,
    stripe,
    load,
    random: randomNumbers(options.seed),
    moments: { starting: 0, ready: 0, loaded: 0, delivering: 0 },
    failures: [],
    slowestStartMs: 0,
  };
  try {
    for (let kill = 1; kill <= options.kills; kill += 1) {
      await liveAndDie(run);
      options.progress?.(kill);
    }
    const ledger = await drained(run);
    const books: Books = { callers: load.callers, upstream: upstream.served, ledger, stripe: sums(stripe) };
    return { ...report(run, options, books), seconds: Math.round((performance.now() - startedMs) / 1_000) };
  } finally {
    await load.stop();
    await Promise.all([upstream.close(), stripe.close()]);
    rmSync(directory, { recursive: true });
  }
}

async function startStripe(seed: number): Promise<StripeSimulator> {
  const stripe = createStripeSimulator({ now: Date.now, webhookSecret: 'whsec_crash' });
  await stripe.listen(0);
  stripe.addMeter('token-billing-tokens');
  for (const customer of CUSTOMERS) stripe.addCustomer(customer);
  const route = 'POST /v2/billing/meter_events';
  FAULTS.forEach(([kind, probability], index) =>
    stripe.faults.add({ route, kind, probability, seed: seed + index }),
  );
  return stripe;
}

/** One life of the gateway, ended at a moment drawn by lot. */
async function liveAndDie(run: Run): Promise<void> {
  const { random, load } = run;
  const moment = MOMENTS[Math.floor(random() * MOMENTS.length)] ?? 'loaded';
  const delayMs = random() * 300;
  const gateway = startGatewayProcess(run);
  run.moments[moment] += 1;
  if (moment === 'starting') {
    // A start takes some 300 to 600 ms; the recovery is at its end.
    await Promise.race([pause(delayMs * 2), gateway.ready]);
  } else {
    load.aim(await readyUrl(run, gateway));
    if (moment === 'loaded') await pause(300);
    if (moment === 'delivering') await nextAcceptance(run.stripe);
    else await pause(delayMs);
  }
  gateway.kill('SIGKILL');
  load.aim(undefined);
  await gateway.ended;
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

/** A last life, without faults, that delivers everything and stops as it is asked to; answers the ledger's book. */
async function drained(run: Run): Promise<readonly LedgerEntry[]> {
  const { load, stripe } = run;
  const gateway = startGatewayProcess(run);
  const url = await readyUrl(run, gateway);
  load.aim(url);
  await pause(300);
  await load.stop();
  stripe.faults.clear();
  await allDelivered(run, url);
  const ledger: LedgerEntry[] = [];
  for (const customer of CUSTOMERS) ledger.push(...(await callsOf(url, customer)));
  gateway.kill('SIGTERM');
  const { code } = await gateway.ended;
  if (code !== 0) run.failures.push(`SIGTERM ended it with code ${code}.`);
  run.failures.push(...gateway.alarms);
  const database = await openSqlite({ file: databaseFile(run) });
  for (const violation of await violations(database)) run.failures.push(JSON.stringify(violation));
  await database.close();
  return ledger;
}

interface Totals {
  readonly open_calls: number;
  readonly unsealed_lines: number;
  readonly events: readonly { readonly state: string; readonly count: number }[];
}

async function allDelivered(run: Run, url: string): Promise<void> {
  const deadline = performance.now() + DRAIN_MS_MAX;
  for (;;) {
    const totals = (await admin(url, '/totals')) as Totals;
    const waiting = totals.events.filter(({ state }) => state !== 'accepted');
    if (totals.open_calls === 0 && totals.unsealed_lines === 0 && waiting.length === 0) return;
    if (performance.now() > deadline) {
      run.failures.push(`Not delivered in ${DRAIN_MS_MAX} ms: ${JSON.stringify(totals.events)}`);
      return;
    }
    await pause(250);
  }
}

async function callsOf(url: string, customer: string): Promise<LedgerEntry[]> {
  const calls: LedgerEntry[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = (await admin(url, `/calls?customer=${customer}&limit=500${from}`)) as {
      data: LedgerEntry[];
      next_cursor: string | null;
    };
    calls.push(...page.data);
    cursor = page.next_cursor;
  }
  return calls;
}

const sums = (stripe: StripeSimulator): Books['stripe'] =>
  stripe.sums().map(({ customer, dimensions, value }) => ({
    customer,
    model: dimensions['model'] ?? '',
    tokenType: dimensions['token_type'] ?? '',
    tokens: value,
  }));

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
    stripeEvents: run.stripe.world.accepted.length,
    problems: compare(books),
    failures: run.failures,
  };
}

const ledgerTokens = (calls: readonly LedgerEntry[]): Tokens => ({
  input: calls.reduce((total, { usage }) => total + (usage?.input_tokens ?? 0), 0),
  output: calls.reduce((total, { usage }) => total + (usage?.output_tokens ?? 0), 0),
});
