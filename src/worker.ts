/**
 * The gateway on Cloudflare Workers: the same application, run inside a Durable Object per customer.
 *
 * The front finds out whose request it is and hands it, unchanged, to that customer's object. The object owns the
 * ledger (its SQLite), the upstream fetch (which therefore outlives the caller) and delivery (its alarm). Keys live in
 * one more object, named "keys", and are cached wherever they are used.
 */
import { DurableObject, type DurableObjectNamespace, type DurableObjectState } from 'cloudflare:workers';
import { Hono } from 'hono';
import Stripe from 'stripe';
import { authoriseAdmin } from './admin/admin.ts';
import { createApp, refusalOf } from './app.ts';
import { assemble, type Gateway } from './assemble/assemble.ts';
import {
  ACCOUNT_OBJECT,
  adminObject,
  customerOfEvent,
  databaseOf,
  dialectOf,
  KEYS_OBJECT,
  messageOf,
  objectOf,
  pathOf,
  readJson,
} from './assemble/objects.ts';
import { linksOf } from './assemble/top-ups.ts';
import { createObjectChores, nightOffsetMs } from './billing/reconcile/object-chores.ts';
import { createStripeClient } from './billing/stripe/client.ts';
import { linkReply } from './billing/top-ups/links.ts';
import { untrusted } from './billing/stripe/webhooks.ts';
import { priceWarnings } from './assemble/price-warnings.ts';
import { type Problem, problemText, type Settings, settingsFor } from './config.ts';
import { isCustomerId } from './customer-id.ts';
import { Refusal, refusalReply } from './errors.ts';
import { createKeys } from './keys/create-keys.ts';
import type { Keys } from './keys/keys.ts';
import { createLedger } from './ledger/create-ledger.ts';
import { announcing, importingOnly, routingVerdicts } from './ledger/customer-ledgers.ts';
import type { Database, LateVerdict, Ledger, Row, Statement } from './ledger/ledger.ts';
import { migrate } from './ledger/migrations.ts';
import { apart } from './platform/apart.ts';
import { createNodeCrypto } from './platform/crypto.ts';
import { createDurableDatabase } from './platform/durable-sqlite.ts';
import { createFetchCaller } from './platform/fetch-caller.ts';
import { createFetchRelay } from './platform/fetch-relay.ts';
import { httpPost } from './platform/http-post.ts';
import { createWorkersRuntime, log } from './platform/workers-runtime.ts';
import type { Runtime } from './runtime.ts';

interface CustomerObject extends Database, Pick<Ledger, 'applyVerdict'> {
  fetch(request: Request): Promise<Response>;
}

interface Env {
  readonly OBJECTS: DurableObjectNamespace<CustomerObject>;
  readonly [variable: string]: unknown;
}

/** A little later than the settlement, so that calls ending together are delivered together. */
const GATHER_MS = 50;
const FAILED_MS = 1_000;
/**
 * While calls run an alarm is never further off: it keeps the object alive, or recovers what its end left open. Nor is it
 * where the object could not be made: who mends the configuration has what was left open recovered within 10 s.
 */
const HEARTBEAT_MS = 8_000;

export default {
  fetch: (request: Request, env: Env): Response | Promise<Response> =>
    frontOf(env).fetch(request, { path: pathOf(request) }),
};

const rawPath = (given: unknown): string => (given as { path: string }).path;

/** One application for every request an isolate serves: it holds nothing that belongs to one of them. */
let front: Hono | undefined;
const frontOf = (env: Env): Hono => (front ??= createFront(env));

/**
 * The application without a ledger: the same routes and refusals, but whoever may come in is handed to an object. So
 * nobody without a key, the admin key or Stripe's signature can bring a customer's object into being. The two that are
 * everyone's anybody may: `keys` by a key that looks like one, the account's by asking `/readyz`.
 */
function createFront(env: Env): Hono {
  const settings = settingsOf(env);
  const crypto = createNodeCrypto();
  const runtime = createWorkersRuntime((work) => void work);
  const keys = keysOf(env, settings);
  const links = linksOf({ settings, crypto, runtime, ledger: NO_LEDGER, payments: NO_PAYMENTS });
  const send = async (name: string, request: Request): Promise<Response> => {
    try {
      return await env.OBJECTS.get(env.OBJECTS.idFromName(name)).fetch(request);
    } catch (error) {
      runtime.log('error', 'object_failed', { object: name, error: String(error) });
      throw new Refusal('ledger_unavailable', 'The ledger could not be reached. Try again shortly.');
    }
  };
  return createApp({
    runtime,
    inference: { serve: elsewhere, running: () => 0 },
    models: elsewhere,
    stored: elsewhere,
    reads: elsewhere,
    topUp: async (token, amount) => {
      // Says that there are none.
      if (settings.budget.topUpLink.base_url === null) return linkReply(await links.open(token, amount));
      const link = links.verified(token);
      if ('kind' in link) return linkReply(link);
      const query = amount === undefined ? '' : `?amount=${encodeURIComponent(amount)}`;
      return send(
        link.customer,
        new Request(`${OBJECT_ORIGIN}/top-up/${token}${query}`, { redirect: 'manual' }),
      );
    },
    record: async ({ header, body }) => {
      authoriseAdmin({ crypto, secrets: adminSecrets(settings) }, { header });
      const { customer } = (readJson(body) ?? {}) as { customer?: unknown };
      const name = isCustomerId(customer) ? customer : ACCOUNT_OBJECT;
      const headers = { authorization: `Bearer ${settings.adminKey ?? ''}` };
      return send(name, new Request(`${OBJECT_ORIGIN}/v1/usage/record`, { method: 'POST', headers, body }));
    },
    rawPath,
    serve: ({ req }) => answering(req.raw, runtime, async () => send(await objectOf(req.raw, keys), req.raw)),
    webhooks: {
      async receive(body, signature) {
        const secret = settings.stripe.webhookSecret ?? '';
        const why = await untrusted(body, signature ?? '', { secret, nowMs: runtime.now() });
        if (why !== null) return { status: 400, message: why };
        const headers = { 'stripe-signature': signature ?? '' };
        const text = new TextDecoder().decode(body);
        const init = { method: 'POST', headers, body: text };
        const reply = await send(
          customerOfEvent(text),
          new Request(`${OBJECT_ORIGIN}/webhooks/stripe`, init),
        );
        return { status: reply.status, message: messageOf(await reply.text()) };
      },
    },
    admin: new Hono().all('*', async ({ req }) => {
      authoriseAdmin({ crypto, secrets: adminSecrets(settings) }, req);
      return send(await adminObject(req.raw), req.raw);
    }),
    async ready() {
      const reply = await send(ACCOUNT_OBJECT, new Request(`${OBJECT_ORIGIN}/readyz`));
      return { ready: reply.status === 200, detail: {} };
    },
  });
}

/** Refuses in the dialect in which the object would. */
async function answering(
  request: Request,
  runtime: Runtime,
  work: () => Promise<Response>,
): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    const refusal = refusalOf(error, pathOf(request), runtime);
    const dialect = dialectOf(request, (one) => createFetchCaller(one).caller);
    const { status, headers, body } = refusalReply(refusal, dialect, `req_${runtime.id()}`);
    return new Response(body, { status, headers });
  }
}

/** Names no host: the front's own requests to objects. */
const OBJECT_ORIGIN = 'https://object';

/** The front tells whose a link is, and opens none. */
const NO_LEDGER = { openTopUp: elsewhereAll, saveTopUp: elsewhereAll, topUps: elsewhereAll };
const NO_PAYMENTS = { checkout: elsewhereAll };

function elsewhereAll(): Promise<never> {
  return Promise.reject(new Error('Calls are served in the objects, not in front of them.'));
}
const elsewhere: () => Promise<void> = elsewhereAll;

const adminSecrets = ({ adminKey }: Settings): readonly string[] => (adminKey === null ? [] : [adminKey]);

/** What an object is made of, once its tables are there and what its last end left open is closed. */
interface ObjectParts {
  readonly gateway: Gateway;
  readonly database: Database;
  readonly ledger: Ledger;
  readonly chores: () => Promise<number | undefined>;
}

export class FaregateObject extends DurableObject<Env> implements CustomerObject {
  #parts: ObjectParts | undefined;
  #alarmAtMs = Infinity;

  async fetch(request: Request): Promise<Response> {
    const { gateway } = await this.#made();
    // A link that is opened makes a checkout, which is looked at later.
    const isLink = pathOf(request).startsWith('/top-up/');
    if (request.method === 'POST' || isLink) this.#wake(HEARTBEAT_MS);
    return gateway.app.fetch(request, { path: pathOf(request) });
  }

  /** The Database port of the keys, for the other objects and the front. */
  async batch(statements: readonly Statement[]): Promise<readonly (readonly Row[])[]> {
    const { database } = await this.#made();
    return database.batch(statements);
  }

  /** Asked by the account's object: which of the events that Stripe refused are this ledger's. */
  async applyVerdict(verdict: LateVerdict): ReturnType<Ledger['applyVerdict']> {
    const { ledger } = await this.#made();
    return ledger.applyVerdict(verdict);
  }

  async alarm(): Promise<void> {
    this.#alarmAtMs = Infinity;
    try {
      await this.#pass(await this.#made());
    } catch (error) {
      flushFailed(error);
      this.#wake(this.#parts === undefined ? HEARTBEAT_MS : FAILED_MS);
    }
  }

  async #pass({ gateway, chores }: ObjectParts): Promise<void> {
    const { settler, background, delivery, inference, side, notifier, topUps } = gateway;
    if ((await settler.retry()) > 0) this.#wake(FAILED_MS);
    const look = await background.poll();
    if (look !== undefined) this.#wake(look);
    const { next } = await delivery.flush();
    if (next !== undefined) this.#wake(next);
    for (const part of [side.refresher.pass, () => notifier.pass(), () => topUps.pass(), chores]) {
      const dueMs = await apart(part, flushFailed);
      if (dueMs < Infinity) this.#wake(dueMs);
    }
    if (inference.running() > 0) this.#wake(HEARTBEAT_MS);
  }

  /**
   * Made by the first who needs it, and not by the constructor: where that throws, as it would over a wrong configuration,
   * the platform tries the alarm six times more, within some two minutes, and never again. What is owed waits for it.
   */
  async #made(): Promise<ObjectParts> {
    let failure: unknown;
    const make = async (): Promise<void> => {
      try {
        this.#parts ??= await makeObject(this.ctx, this.env, (delayMs) => this.#wake(delayMs));
      } catch (error) {
        // Thrown in here it would end the object, and its alarm would count as failed.
        failure = error;
      }
    };
    if (this.#parts === undefined) await this.ctx.blockConcurrencyWhile(make);
    if (this.#parts === undefined) throw failure;
    return this.#parts;
  }

  #wake(delayMs: number): void {
    const atMs = Date.now() + delayMs;
    if (atMs >= this.#alarmAtMs) return;
    this.#alarmAtMs = atMs;
    this.ctx.waitUntil(this.ctx.storage.setAlarm(atMs));
  }
}

async function makeObject(
  context: DurableObjectState,
  env: Env,
  wake: (delayMs: number) => void,
): Promise<ObjectParts> {
  const settings = settingsOf(env);
  const runtime = createWorkersRuntime((work) => context.waitUntil(work));
  const crypto = createNodeCrypto();
  const database = createDurableDatabase(context.storage);
  const billsCosts = settings.billing.layouts.includes('cost');
  const ledger = createLedger({ database, bootId: runtime.id(), billsCosts });
  const { serviceKey } = settings;
  const gateway = assemble({
    settings,
    runtime,
    crypto,
    ledger: routed({ ledger, database, context, env }),
    keys: context.id.equals(env.OBJECTS.idFromName(KEYS_OBJECT))
      ? createKeys({ database, crypto, now: Date.now, serviceKey })
      : keysOf(env, settings),
    relay: createFetchRelay({ defer: runtime.defer }),
    post: httpPost,
    rawPath,
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
    adminSecrets: adminSecrets(settings),
    settled: () => wake(GATHER_MS),
    // An object may end before a minute is over: what is put off by one would be so for ever.
    chores: { nightOffsetMs: nightOffsetMs(context.id.toString()), firstTrimMs: 0 },
  });
  const chores = createObjectChores({ ledger, runtime, ...gateway.books });
  await migrate(database);
  const recovered = await ledger.recover({ nowMs: runtime.now() });
  // Also without open calls: a crash may have come between a settlement and its alarm.
  wake(recovered.length > 0 ? 0 : GATHER_MS);
  return { gateway, database, ledger, chores };
}

interface RoutedParts extends Pick<ObjectParts, 'ledger' | 'database'> {
  readonly context: DurableObjectState;
  readonly env: Env;
}

/** Stripe's late verdicts come to the account's object, which knows the customers' objects and asks them. */
function routed({ ledger, database, context, env }: RoutedParts): Ledger {
  const stubOf = (name: string): CustomerObject => env.OBJECTS.get(env.OBJECTS.idFromName(name));
  const isOf = (name: string): boolean => context.id.equals(env.OBJECTS.idFromName(name));
  if (isOf(ACCOUNT_OBJECT)) return routingVerdicts(ledger, database, stubOf);
  const account: Database = { batch: (statements) => databaseOf(stubOf(ACCOUNT_OBJECT)).batch(statements) };
  return announcing(importingOnly(ledger, isOf), account, { now: Date.now, failed: accountUntold });
}

/** One cache of keys for every request an isolate serves. */
let sharedKeys: Keys | undefined;
function keysOf(env: Env, settings: Settings): Keys {
  const object = env.OBJECTS.idFromName(KEYS_OBJECT);
  return (sharedKeys ??= createKeys({
    // A stub is of the request it is made in.
    database: { batch: (statements) => databaseOf(env.OBJECTS.get(object)).batch(statements) },
    crypto: createNodeCrypto(),
    now: Date.now,
    serviceKey: settings.serviceKey,
    // In workerd a promise belongs to the request that made it: another must not wait for it.
    joinsReads: false,
  }));
}

const flushFailed = (error: unknown): void => log('error', 'flush_failed', { error: String(error) });

const accountUntold = (error: unknown): void => log('warn', 'account_untold', { error: String(error) });

const said = (problem: Problem): string => problemText(problem, 'FAREGATE_YAML');

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
  if (result.kind === 'invalid')
    throw new Error(`The configuration is wrong: ${result.problems.map(said).join('; ')}`);
  for (const warning of [...result.warnings, ...priceWarnings(result.settings)])
    log('warn', 'configuration_warning', { warning: said(warning) });
  sharedSettings = result.settings;
  return sharedSettings;
}
