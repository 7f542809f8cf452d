/** What the HTTP cases are told in: a gateway somewhere, a provider and Stripe's stand-in beside it, over real HTTP. */
import { expect } from 'vitest';
import { createStripeSimulator, THIN_TYPES, type StripeSimulator } from '../../src/simulator/stripe.ts';
import { signWebhook } from '../../src/simulator/webhooks.ts';
import { startTestResponses, type TestResponses } from '../support/stored.ts';
import { KEY_GIVEN, startTestUpstream, type TestUpstream } from '../support/upstream.ts';

export const SERVICE_KEY = 'service-key-of-the-tests-0123456789abcdef';
export const ADMIN_KEY = 'admin-key-of-the-tests-0123456789abcdef';
const WEBHOOK_SECRET = 'whsec_of_the_tests';
const METER = 'token-billing-tokens';

/** A gateway that can be asked. */
export interface Place {
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

/** Starts a gateway from its environment and the text of its configuration file. */
export type Start = (env: Readonly<Record<string, string>>, yaml: string) => Promise<Place>;

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  /** Laid over the usual ones; undefined takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** An object is sent as JSON. */
  readonly body?: object | string;
  readonly signal?: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The connection broke before the reply's end. */
  readonly broken: boolean;
}

/** A call as the admin routes tell it. */
export interface CallJson {
  readonly id: string;
  readonly model: string;
  readonly state: string;
  readonly outcome: string | null;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number } | null;
  readonly usage_source: string | null;
  readonly cost_usd: string | null;
  readonly events: readonly { readonly state: string }[];
}

export interface World {
  readonly upstream: TestUpstream;
  /** The provider `keeper`. */
  readonly responses: TestResponses;
  readonly stripe: StripeSimulator;
  readonly place: Place;
  /** A customer Stripe knows and the gateway has not seen. */
  newCustomer(): string;
  /** Asks for `customer` with the service key, unless `ask` says otherwise, and reads the reply. */
  ask(customer: string, ask: Ask): Promise<Reply>;
  /** The same, without reading the reply. */
  open(customer: string, ask: Ask): Promise<Response>;
  admin(path: string, init?: RequestInit): Promise<{ readonly status: number; readonly json: unknown }>;
  /** The customer's calls, newest first. */
  calls(customer: string): Promise<readonly CallJson[]>;
  /** What Stripe has counted of the customer after a flush, by token type. */
  billed(customer: string): Promise<Readonly<Record<string, number>>>;
  /** Makes something happen at Stripe, and answers the webhook's body. */
  happens(type: string, overrides: Readonly<Record<string, unknown>>): Promise<string>;
  /** Sends a webhook. Seconds are added to the signature's time; another secret makes it wrong. */
  tell(body: string, signing?: { readonly offsetS?: number; readonly secret?: string }): Promise<Response>;
  close(): Promise<void>;
}

const YAML = (upstreamUrl: string, keeperUrl: string): string => `
providers:
  acme: { type: openai-compatible, base_url: "${upstreamUrl}", api_key: "\${OPENAI_API_KEY}" }
  keeper: { type: openai-compatible, base_url: "${keeperUrl}", api_key: x }
  down: { type: openai-compatible, base_url: "http://127.0.0.1:1/v1", api_key: x }
models:
  fast: acme/plain
  either: [down/plain, acme/plain]
budget: { top_up_link: { base_url: "https://gate.example" } }
prices:
  acme/plain: { input: 1, output: 4, cache_read: 0.1 }
`;

export async function startWorld(start: Start): Promise<World> {
  const upstream = await startTestUpstream();
  const responses = await startTestResponses();
  const stripe = createStripeSimulator({ now: Date.now, webhookSecret: WEBHOOK_SECRET });
  await stripe.listen();
  stripe.addMeter(METER);
  const env = {
    STRIPE_API_BASE: stripe.url,
    STRIPE_SECRET_KEY: 'sk_test_sandbox',
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    OPENAI_API_KEY: KEY_GIVEN,
    OPENAI_BASE_URL: upstream.url,
    FAREGATE_SERVICE_KEY: SERVICE_KEY,
    FAREGATE_ADMIN_KEY: ADMIN_KEY,
  };
  const place = await start(env, YAML(upstream.url, responses.url));
  let customers = 0;
  return {
    upstream,
    responses,
    stripe,
    place,
    newCustomer() {
      const customer = `cus_case${String((customers += 1))}`;
      stripe.addCustomer(customer);
      return customer;
    },
    ask: async (customer, ask) => readReply(await place.fetch(pathOf(ask), initOf(customer, ask))),
    open: (customer, ask) => place.fetch(pathOf(ask), initOf(customer, ask)),
    ...adminOf(place, stripe),
    async happens(type, overrides) {
      const late = THIN_TYPES.includes(type);
      const { event } = await stripe[late ? 'triggerLate' : 'trigger'](type, overrides);
      return JSON.stringify(event);
    },
    tell(body, { offsetS = 0, secret = WEBHOOK_SECRET } = {}) {
      const signature = signWebhook(body, secret, Math.floor(Date.now() / 1000) + offsetS);
      return place.fetch('/webhooks/stripe', {
        method: 'POST',
        headers: { 'stripe-signature': signature },
        body,
      });
    },
    async close() {
      await place.close();
      await Promise.all([upstream.close(), responses.close(), stripe.close()]);
    },
  };
}

function adminOf(place: Place, stripe: StripeSimulator): Pick<World, 'admin' | 'calls' | 'billed'> {
  const admin: World['admin'] = async (path, init) => {
    const headers = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
    const response = await place.fetch(`/admin/v1${path}`, { headers, ...init });
    return { status: response.status, json: await response.json() };
  };
  return {
    admin,
    async calls(customer) {
      const { json } = await admin(`/calls?customer=${customer}`);
      return (json as { data: readonly CallJson[] }).data;
    },
    async billed(customer) {
      expect((await admin(`/flush?customer=${customer}`, { method: 'POST' })).status).toBe(200);
      const sums = stripe.sums().filter((sum) => sum.customer === customer);
      return Object.fromEntries(sums.map((sum) => [sum.dimensions['token_type'] ?? '', sum.value]));
    },
  };
}

const pathOf = ({ path = '/v1/chat/completions' }: Ask): string => path;

function initOf(customer: string, { method = 'POST', headers, body, signal }: Ask): RequestInit {
  const all: Record<string, string | undefined> = {
    authorization: `Bearer ${SERVICE_KEY}`,
    'x-stripe-customer-id': customer,
    'content-type': 'application/json',
    'accept-encoding': 'identity',
    ...headers,
  };
  const sent = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const text = typeof body === 'object' ? JSON.stringify(body) : body;
  return {
    method,
    headers: sent,
    ...(text === undefined ? {} : { body: text }),
    ...(signal === undefined ? {} : { signal }),
  };
}

export async function readReply(response: Response): Promise<Reply> {
  const decoder = new TextDecoder();
  let text = '';
  let broken = false;
  const reader = response.body?.getReader();
  try {
    for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
      text += decoder.decode(read.value as Uint8Array, { stream: true });
    }
  } catch {
    broken = true;
  }
  return { status: response.status, headers: response.headers, text, broken };
}
