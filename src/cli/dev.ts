/** The sandbox: gateway, Stripe simulator and demo provider in one process, each on a port of its own. */
import { randomBytes } from 'node:crypto';
import { join, dirname } from 'node:path';
import { mkdirSync } from 'node:fs';
import type { Settings } from '../config.ts';
import { startGateway, type RunningGateway } from '../node.ts';
import { createNodeRuntime } from '../platform/node-runtime.ts';
import type { Runtime } from '../runtime.ts';
import { createDemoProvider, type DemoProvider } from '../simulator/demo-provider.ts';
import { DEMO_MODELS } from '../simulator/demo-replies.ts';
import { createStripeSimulator, type StripeSimulator } from '../simulator/stripe.ts';
import { formatUsd, PICO } from '../usage/money.ts';
import { sandboxLedger } from './admin.ts';
import { createDevReporter } from './dev-reporter.ts';

export interface DevOptions {
  readonly settings: Settings;
  readonly json: boolean;
  /** Resolves when the process was asked to stop. */
  readonly stopped: Promise<string>;
  /** 12111 unless another is asked for; 0 takes a free one. */
  readonly simulatorPort?: number;
  /** Takes the lines of the log; standard error unless given. */
  readonly write?: (line: string) => void;
}

const SIMULATOR_PORT = 12_111;
const CUSTOMER = 'cus_demo';
const CREDIT_CENTS = 500;
/** What the demo models cost: a dollar per million tokens read, four per million generated. */
const DEMO_PRICE = {
  input: 1_000_000n,
  output: 4_000_000n,
  cacheRead: undefined,
  cacheWrite: undefined,
  cacheWrite1h: undefined,
};

/** Runs until it is stopped. */
export async function runDev(options: DevOptions): Promise<void> {
  const { settings, simulatorPort = SIMULATOR_PORT } = options;
  const directory = settings.database.kind === 'sqlite' ? dirname(settings.database.path) : '.faregate';
  mkdirSync(directory, { recursive: true });
  const webhookSecret = `whsec_${randomBytes(24).toString('base64url')}`;
  const stripe = createStripeSimulator({
    now: Date.now,
    webhookSecret,
    snapshotFile: join(directory, 'simulator.json'),
  });
  const demo = createDemoProvider({ now: Date.now });
  try {
    await stripe.listen(simulatorPort);
    await demo.listen();
    await serve(options, { stripe, demo, webhookSecret });
  } finally {
    await Promise.all([stripe.close(), demo.close()]);
  }
}

interface Neighbours {
  readonly stripe: StripeSimulator;
  readonly demo: DemoProvider;
  readonly webhookSecret: string;
}

async function serve(options: DevOptions, neighbours: Neighbours): Promise<void> {
  const { settings, json, stopped } = options;
  const { stripe, demo, webhookSecret } = neighbours;
  seed(stripe, settings.billing.eventName);
  const runtime = createNodeRuntime(options);
  const reporter = createDevReporter({ runtime, json, balance: () => balance() });
  const own: Own = { url: null };
  const urls = { stripeUrl: stripe.url, webhookSecret, demoUrl: demo.url };
  const { staying, off } = keptHere(settings);
  if (off.length > 0) runtime.log('warn', 'off_in_the_sandbox', { places: off.join(', ') });
  const sandbox = sandboxSettings(staying, urls, own);
  const running = await startGateway(sandbox, reporter.runtime);
  own.url = running.url;
  stripe.sendWebhooksTo(`${running.url}/webhooks/stripe`);
  // He was given his credit before there was anybody to tell: commands would show none until his first call.
  await running.gateway.side.customers.verify(CUSTOMER);
  const balance = async (): Promise<bigint> => balanceOf(stripe, running);
  reporter.watch(running.ledger);
  await greet({ settings: sandbox, json, runtime, stripe, running });

  await stopped;
  reporter.stop();
  await running.close();
}

function seed(stripe: StripeSimulator, eventName: string): void {
  const fresh = !stripe.world.customers.has(CUSTOMER);
  stripe.addMeter(eventName);
  stripe.addCustomer(CUSTOMER, 'Demo customer');
  if (fresh) stripe.addCredit(CUSTOMER, CREDIT_CENTS);
}

/** Where the gateway listens: known once it does, since a port of 0 is for the system to choose. */
interface Own {
  url: string | null;
}

function sandboxSettings(
  settings: Settings,
  urls: { readonly stripeUrl: string; readonly webhookSecret: string; readonly demoUrl: string },
  own: Readonly<Own>,
): Settings {
  const prices = new Map(settings.prices);
  for (const model of DEMO_MODELS) prices.set(`demo/${model}`, DEMO_PRICE);
  const demo = {
    name: 'demo',
    type: 'openai-compatible',
    baseUrl: `${urls.demoUrl}/v1`,
    apiKey: null,
    asksUsage: true,
    timeouts: settings.timeouts,
    // All it speaks: who asks in another dialect is translated, and tries that too.
    endpoints: ['chat.completions'],
  } as const;
  const { base_url: given, ...link } = settings.budget.topUpLink;
  const topUpLink = {
    ...link,
    get base_url() {
      return given ?? own.url;
    },
  };
  return {
    ...settings,
    budget: { ...settings.budget, topUpLink },
    database:
      settings.database.kind === 'sqlite'
        ? { kind: 'sqlite', path: sandboxLedger(settings.database.path) }
        : settings.database,
    upstreams: [demo, ...settings.upstreams],
    prices,
    stripe: { secretKey: 'sk_test_sandbox', webhookSecret: urls.webhookSecret, apiBase: urls.stripeUrl },
  };
}

/**
 * Usage of the sandbox is nobody's: a place that bills by it would charge somebody. So those of the configuration get it
 * only where they are on this machine, as one is that somebody tries out.
 */
function keptHere(settings: Settings): { readonly staying: Settings; readonly off: readonly string[] } {
  const { billing, notify } = settings;
  const sinks = [...billing.sinks].filter(([, { url }]) => isHere(url));
  const off = [...billing.sinks.keys()]
    .filter((name) => !sinks.some(([kept]) => kept === name))
    .map((name) => `billing.sinks.${name}`);
  const tells = notify === null || isHere(notify.url);
  return {
    staying: {
      ...settings,
      billing: { ...billing, sinks: new Map(sinks) },
      notify: tells ? notify : null,
    },
    off: tells ? off : [...off, 'notify.url'],
  };
}

const isHere = (url: string | null): boolean =>
  url !== null && URL.canParse(url) && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);

/** Granted credit less what settled calls cost: Stripe's own balance does not fall before an invoice is final. */
async function balanceOf(stripe: StripeSimulator, running: RunningGateway): Promise<bigint> {
  const cents = [...stripe.world.grants.values()]
    .filter((grant) => grant.customer === CUSTOMER && grant.voided_at === null)
    .reduce((sum, grant) => sum + (grant.amount.monetary?.value ?? 0), 0);
  const { costPico } = await running.ledger.totals(CUSTOMER);
  return (BigInt(cents) * PICO) / 100n - BigInt(costPico);
}

interface Greeting {
  readonly settings: Settings;
  readonly json: boolean;
  readonly runtime: Runtime;
  readonly stripe: StripeSimulator;
  readonly running: RunningGateway;
}

async function greet({ settings, json, runtime, stripe, running }: Greeting): Promise<void> {
  const { secret } = await running.keys.create({ customer: CUSTOMER, label: 'sandbox' });
  const balance = formatUsd(await balanceOf(stripe, running));
  if (json) {
    runtime.log('info', 'listening', {
      url: running.url,
      stripe: stripe.url,
      key: secret,
      customer: CUSTOMER,
    });
    return;
  }
  const live = settings.upstreams.filter(({ name }) => name !== 'demo').map(({ name }) => name);
  process.stdout.write(`
  faregate dev: a sandbox. Nothing here can charge anyone.

  Gateway    ${running.url}/v1
  Stripe     ${stripe.url} (simulator)
  Providers  demo${live.length === 0 ? '' : `, live: ${live.join(', ')}`}
  Key        ${secret}
             shown once, for customer ${CUSTOMER}, balance $${balance}

  Try it:
  curl ${running.url}/v1/chat/completions -H "Authorization: Bearer ${secret}" -H "Content-Type: application/json" -d '{"model":"demo/echo","messages":[{"role":"user","content":"Hello, gate"}]}'

  Refuse the next call:  npx faregate trigger billing.alert.triggered
  Let it pass again:     npx faregate trigger billing.credit_grant.created

`);
}
