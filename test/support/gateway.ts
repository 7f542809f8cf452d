/**
 * A whole gateway for a test: Node's own entry on a socket, a ledger in a directory of its own, the scripted provider
 * and the Stripe simulator, all on ports the system chose. `close` ends all of it.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Settings, settingsFor } from '../../src/config.ts';
import { type RunningGateway, type StartOptions, startGateway } from '../../src/node.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';
import { createStripeSimulator, type StripeSimulator } from '../../src/simulator/stripe.ts';
import { temporaryDirectory } from './sqlite.ts';
import { KEY_GIVEN, startTestUpstream, type TestUpstream } from './upstream.ts';

export const CUSTOMER = 'cus_demo';
export const SERVICE_KEY = 'service-key-of-tests-0123456789abcdef';
export const ADMIN_KEY = 'admin-key-of-tests-0123456789abcdef';

/** One call as `GET /admin/v1/calls` gives it. */
export interface AdminCall {
  readonly id: string;
  readonly customer: string;
  readonly model: string;
  readonly stream: boolean;
  readonly state: 'open' | 'settled';
  readonly outcome: string | null;
  readonly status: number | null;
  readonly usage: Readonly<Record<string, number>> | null;
  readonly usage_source: 'reported' | 'estimated' | 'none' | null;
  readonly cost_usd: string | null;
  readonly response_id: string | null;
  readonly events: readonly { readonly state: string; readonly token_type: string; readonly value: string }[];
}
interface AdminTotals {
  readonly open_calls: number;
  readonly unsealed_lines: number;
  readonly events: readonly { readonly state: string }[];
}

export interface TestGateway {
  /** Without `/v1`. */
  readonly url: string;
  readonly running: RunningGateway;
  /** The ledger's database. */
  readonly file: string;
  /** The provider `demo`; `openai` is the same place. */
  readonly upstream: TestUpstream;
  readonly stripe: StripeSimulator;
  /** The gateway's log, one object a line. */
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** Makes a key that is bound to the customer; answers its secret. */
  boundKey(customer?: string): Promise<string>;
  admin<T>(path: string, init?: RequestInit): Promise<T>;
  /** Every call on record, newest first as the admin API gives them. */
  calls(customer?: string): Promise<AdminCall[]>;
  /** Resolves when no call is open and Stripe has answered every event that is due. */
  flushed(): Promise<void>;
  /** Accepted tokens by `model token_type`. */
  billed(customer?: string): Record<string, number>;
  close(): Promise<void>;
}

export interface TestGatewayOptions {
  /** Members of the configuration file, laid over what the harness configures. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Further providers by name, as the configuration file has them. */
  readonly providers?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly start?: StartOptions;
}

/** Waiting for running calls is given up after this long. */
const SETTLED_WITHIN_MS = 20_000;
const WEBHOOK_SECRET = 'whsec_tests';

export async function startTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const directory = temporaryDirectory();
  const upstream = await startTestUpstream();
  const stripe = createStripeSimulator({
    now: Date.now,
    webhookSecret: WEBHOOK_SECRET,
    retryDelaysMs: [1, 1],
  });
  const stripeUrl = await stripe.listen();
  stripe.addMeter('token-billing-tokens');
  stripe.addCustomer(CUSTOMER);
  const log: Record<string, unknown>[] = [];
  const runtime = createNodeRuntime({
    json: true,
    write: (line) => log.push(JSON.parse(line) as Record<string, unknown>),
  });
  const settings = settingsOf(options, { directory, stripeUrl, upstreamUrl: upstream.url });
  const running = await startGateway(settings, runtime, options.start);
  stripe.sendWebhooksTo(`${running.url}/webhooks/stripe`);
  const reads = readsOf(running.url);
  return {
    url: running.url,
    running,
    file: join(directory, 'ledger.db'),
    upstream,
    stripe,
    log,
    ...reads,
    boundKey: async (customer = CUSTOMER) => (await running.keys.create({ customer, label: 'test' })).secret,
    billed: (customer = CUSTOMER) => billedBy(stripe, customer),
    async close() {
      upstream.release();
      await running.close();
      await stripe.close();
      await upstream.close();
      rmSync(directory, { recursive: true });
    },
  };
}

function settingsOf(
  { config, providers, env }: TestGatewayOptions,
  at: { readonly directory: string; readonly stripeUrl: string; readonly upstreamUrl: string },
): Settings {
  const own = { api_key: '${UPSTREAM_KEY}', base_url: at.upstreamUrl };
  const file = {
    providers: { openai: own, demo: { type: 'openai-compatible', ...own }, ...providers },
    prices: { 'demo/plain': { input: 1, output: 2 } },
    ...config,
  };
  const result = settingsFor('start', {
    env: {
      PORT: '0',
      DATABASE_URL: `sqlite:${join(at.directory, 'ledger.db')}`,
      FAREGATE_SERVICE_KEY: SERVICE_KEY,
      FAREGATE_ADMIN_KEY: ADMIN_KEY,
      STRIPE_SECRET_KEY: 'sk_test_tests',
      STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
      STRIPE_API_BASE: at.stripeUrl,
      UPSTREAM_KEY: KEY_GIVEN,
      ...env,
    },
    // JSON is YAML too.
    readFile: () => JSON.stringify(file),
  });
  if (result.kind === 'ok') return result.settings;
  throw new Error(result.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
}

function readsOf(url: string): Pick<TestGateway, 'admin' | 'calls' | 'flushed'> {
  const admin = async <T>(path: string, init: RequestInit = {}): Promise<T> => {
    const reply = await fetch(`${url}/admin/v1${path}`, {
      ...init,
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    });
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
    return (await reply.json()) as T;
  };
  return {
    admin,
    async calls(customer) {
      const calls: AdminCall[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const query = new URLSearchParams({ limit: '1000' });
        if (customer !== undefined) query.set('customer', customer);
        if (cursor !== '') query.set('cursor', cursor);
        const page: { data: AdminCall[]; next_cursor: string | null } = await admin(`/calls?${query}`);
        calls.push(...page.data);
        cursor = page.next_cursor;
      }
      return calls;
    },
    async flushed() {
      const deadline = performance.now() + SETTLED_WITHIN_MS;
      for (;;) {
        await admin('/flush', { method: 'POST' });
        const totals = await admin<AdminTotals>('/totals');
        const due = totals.events.some(({ state }) => state === 'pending' || state === 'sending');
        if (totals.open_calls === 0 && totals.unsealed_lines === 0 && !due) return;
        if (performance.now() > deadline) throw new Error(`not flushed: ${JSON.stringify(totals)}`);
      }
    },
  };
}

function billedBy(stripe: StripeSimulator, customer: string): Record<string, number> {
  const billed: Record<string, number> = {};
  for (const sum of stripe.sums()) {
    if (sum.customer !== customer) continue;
    billed[`${sum.dimensions['model']} ${sum.dimensions['token_type']}`] = sum.value;
  }
  return billed;
}
