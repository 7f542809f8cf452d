/**
 * The gateway on Cloudflare Workers: the same application, run inside a Durable Object per customer.
 *
 * The front finds out whose request it is and hands it, unchanged, to that customer's object. The object owns the
 * ledger (its SQLite), the upstream fetch (which therefore outlives the caller) and delivery (its alarm). Keys live in
 * one more object, named "keys", and are cached wherever they are used.
 */
import { DurableObject, type DurableObjectNamespace, type DurableObjectState } from 'cloudflare:workers';
import Stripe from 'stripe';
import { assemble, type Gateway } from './assemble.ts';
import { createStripeClient } from './billing/stripe-client.ts';
import { type Settings, settingsFor } from './config.ts';
import { Refusal, refusalReply } from './errors.ts';
import { authenticate, customerOf } from './gateway/authenticate.ts';
import { readRequestHeaders } from './gateway/headers.ts';
import { createKeys } from './keys/create-keys.ts';
import type { Keys } from './keys/keys.ts';
import { createLedger } from './ledger/create-ledger.ts';
import type { Database, Row, Statement } from './ledger/ledger.ts';
import { migrate } from './ledger/migrations.ts';
import { createNodeCrypto } from './platform/crypto.ts';
import { createDurableDatabase } from './platform/durable-sqlite.ts';
import { createFetchCaller } from './platform/fetch-caller.ts';
import { createFetchRelay, FETCH_RELAY_DEFAULTS } from './platform/fetch-relay.ts';
import { createWorkersRuntime } from './platform/workers-runtime.ts';

interface CustomerObject extends Database {
  fetch(request: Request): Promise<Response>;
}

interface Env {
  readonly OBJECTS: DurableObjectNamespace<CustomerObject>;
  readonly [variable: string]: unknown;
}

const KEYS_OBJECT = 'keys';
/** Account-wide events of Stripe, which speak of no customer. */
const ACCOUNT_OBJECT = 'account';
/** A little later than the settlement, so that calls ending together are delivered together. */
const GATHER_MS = 50;
const FAILED_MS = 1_000;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const runtime = createWorkersRuntime((work) => void work);
    try {
      const name = await objectOf(request, env);
      return await env.OBJECTS.get(env.OBJECTS.idFromName(name)).fetch(request);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal('internal_error', 'The gateway failed.');
      if (refusal !== error) runtime.log('error', 'internal_error', { error: String(error) });
      const { status, headers, body } = refusalReply(refusal, 'openai', `req_${runtime.id()}`);
      return new Response(body, { status, headers });
    }
  },
};

/** Which object a request belongs to. */
async function objectOf(request: Request, env: Env): Promise<string> {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === '/webhooks/stripe') return customerOfEvent(await request.clone().text());
  if (pathname.startsWith('/admin/')) return searchParams.get('customer') ?? KEYS_OBJECT;
  if (request.method === 'GET' && !pathname.startsWith('/v1/')) return ACCOUNT_OBJECT;
  const headers = readRequestHeaders([...request.headers].flat());
  const key = await authenticate(keysOf(env, settingsOf(env)), headers);
  // The list of models is nobody's in particular.
  return request.method === 'GET' ? (key.customer ?? ACCOUNT_OBJECT) : customerOf(key, headers);
}

/** Only chooses the object: the object verifies the signature before it believes a word. */
function customerOfEvent(body: string): string {
  try {
    const { type, data } = JSON.parse(body) as {
      type?: string;
      data?: { object?: { id?: string; customer?: unknown } };
    };
    const customer =
      type?.startsWith('customer.') && !type.startsWith('customer.sub')
        ? data?.object?.id
        : data?.object?.customer;
    return typeof customer === 'string' && customer.startsWith('cus_') ? customer : ACCOUNT_OBJECT;
  } catch {
    return ACCOUNT_OBJECT;
  }
}

export class FaregateObject extends DurableObject<Env> implements CustomerObject {
  readonly #gateway: Gateway;
  readonly #database: Database;
  #alarmAtMs = Infinity;

  constructor(context: DurableObjectState, env: Env) {
    super(context, env);
    const settings = settingsOf(env);
    const runtime = createWorkersRuntime((work) => context.waitUntil(work));
    this.#database = createDurableDatabase(context.storage);
    const ledger = createLedger({ database: this.#database, bootId: runtime.id() });
    context.blockConcurrencyWhile(async () => {
      await migrate(this.#database);
      const recovered = await ledger.recover({ nowMs: runtime.now() });
      // Also without open calls: a crash may have come between a settlement and its alarm.
      this.#wake(recovered.length > 0 ? 0 : GATHER_MS);
    });
    this.#gateway = assemble({
      settings,
      runtime,
      crypto: createNodeCrypto(),
      ledger,
      keys: context.id.equals(env.OBJECTS.idFromName(KEYS_OBJECT))
        ? createKeys({
            database: this.#database,
            crypto: createNodeCrypto(),
            now: Date.now,
            serviceKey: settings.serviceKey,
          })
        : keysOf(env, settings),
      relay: createFetchRelay({ ...FETCH_RELAY_DEFAULTS, defer: runtime.defer }),
      stripe: createStripeClient({
        secretKey: settings.stripe.secretKey ?? '',
        apiBase: settings.stripe.apiBase ?? undefined,
        httpClient: Stripe.createFetchHttpClient(),
      }),
      serve(honoContext, work) {
        const { caller, response } = createFetchCaller(honoContext.req.raw);
        runtime.defer(work(caller));
        return response;
      },
      adminSecrets: settings.adminKey === null ? [] : [settings.adminKey],
      settled: () => this.#wake(GATHER_MS),
    });
  }

  async fetch(request: Request): Promise<Response> {
    return this.#gateway.app.fetch(request);
  }

  /** The Database port of the keys, for the other objects and the front. */
  batch(statements: readonly Statement[]): Promise<readonly (readonly Row[])[]> {
    return this.#database.batch(statements);
  }

  async alarm(): Promise<void> {
    this.#alarmAtMs = Infinity;
    try {
      await this.#gateway.settler.retry();
      const { next } = await this.#gateway.delivery.flush();
      if (next !== undefined) this.#wake(next);
    } catch (error) {
      console.error(JSON.stringify({ level: 'error', event: 'flush_failed', error: String(error) }));
      this.#wake(FAILED_MS);
    }
  }

  #wake(delayMs: number): void {
    const atMs = Date.now() + delayMs;
    if (atMs >= this.#alarmAtMs) return;
    this.#alarmAtMs = atMs;
    this.ctx.waitUntil(this.ctx.storage.setAlarm(atMs));
  }
}

/** One cache of keys for every request an isolate serves. */
let sharedKeys: Keys | undefined;
function keysOf(env: Env, settings: Settings): Keys {
  const object = env.OBJECTS.idFromName(KEYS_OBJECT);
  const database: Database = { batch: (statements) => env.OBJECTS.get(object).batch([...statements]) };
  return (sharedKeys ??= createKeys({
    database,
    crypto: createNodeCrypto(),
    now: Date.now,
    serviceKey: settings.serviceKey,
  }));
}

let sharedSettings: Settings | undefined;
function settingsOf(env: Env): Settings {
  if (sharedSettings !== undefined) return sharedSettings;
  const text = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  const result = settingsFor('start', {
    env: text,
    readFile: (path) => (path === './faregate.yaml' ? text['FAREGATE_YAML'] : undefined),
  });
  if (result.kind === 'invalid') {
    throw new Error(
      `The configuration is wrong: ${result.problems.map(({ path, message }) => `${path} ${message}`).join('; ')}`,
    );
  }
  sharedSettings = result.settings;
  return sharedSettings;
}
