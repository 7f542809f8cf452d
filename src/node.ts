/** The gateway as one Node process: SQLite, undici, a socket. */
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, RequestError } from '@hono/node-server';
import type { Context } from 'hono';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { assemble, type Gateway } from './assemble/assemble.ts';
import { assembleRestore } from './assemble/books.ts';
import { createStripeClient } from './billing/stripe/client.ts';
import type { Settings } from './config.ts';
import { createKeys } from './keys/create-keys.ts';
import { createLedger } from './ledger/create-ledger.ts';
import type { Keys } from './keys/keys.ts';
import { type Ledger, LedgerUnavailable } from './ledger/ledger.ts';
import { Refusal, refusalReply } from './errors.ts';
import { askedAt } from './gateway/endpoints.ts';
import type { Caller } from './gateway/ports.ts';
import { migrate } from './ledger/migrations.ts';
import { createNodeCrypto } from './platform/crypto.ts';
import { httpPost } from './platform/http-post.ts';
import { openSentWatch, type SentWatch } from './platform/sent-watch.ts';
import { createReadingPass } from './platform/apart.ts';
import { createFlushLoop } from './platform/flush-loop.ts';
import { answerMalformed, requiringHost } from './platform/malformed.ts';
import { createNodeCaller, pathOf } from './platform/node-caller.ts';
import { openSqlite, type SqliteDatabase } from './platform/sqlite.ts';
import { createUndiciRelay, type NodeRelay } from './platform/undici-relay.ts';
import type { Runtime } from './runtime.ts';

export interface RunningGateway {
  readonly url: string;
  readonly ledger: Ledger;
  readonly keys: Keys;
  readonly gateway: Gateway;
  /** Stops accepting, lets running calls end, delivers what is due, closes the ledger. */
  close(): Promise<void>;
}

/** Running calls get this long to end when the process is asked to stop, in milliseconds: usual graces are 30 s. */
const DRAIN_MS = 25_000;
/** Calls that had to be broken off get this long to be settled by what was seen of them. */
const BROKEN_OFF_MS = 2_000;
/** At the end, delivery gets this long, in milliseconds: with a Stripe that is silent each event would take 10 s of it. */
const LAST_DELIVERY_MS = 10_000;
/** A settlement that the ledger did not take is tried again so long after, milliseconds. */
const UNWRITTEN_MS = 1_000;
/** From the start to the first look for webhooks that never came. */
const FIRST_POLL_MS = 20_000;
/** Head of a request, and its whole body, milliseconds: a slow sender must not hold a connection for ever. */
const HEADERS_MS = 15_000;
const REQUEST_MS = 120_000;
/** The request line and the headers; past either, 431. Node's own bounds, said so that no option of Node's moves them. */
const HEAD_BYTES_MAX = 16_384;
const HEADERS_MAX = 1_000;
/** Longer than the idle time of usual load balancers, so that they close first. */
const KEEP_ALIVE_MS = 75_000;

export interface StartOptions {
  /** False: calls are served and recorded, and another start delivers them. */
  readonly delivers?: boolean;
  /** How long running calls may go on after `close`, milliseconds; then they are broken off and billed as far as they came. */
  readonly drainMs?: number;
  /** How long delivery may go on after the last call, milliseconds; what is not delivered then is for the next start. */
  readonly lastDeliveryMs?: number;
  /** How long the head of a request may take, milliseconds; a slow sender is cut within a third more. */
  readonly headersMs?: number;
}

/**
 * Opens the ledger, recovers what a crash left open, and serves.
 *
 * @throws {LedgerUnavailable} when the database cannot be opened or belongs to another process.
 */
export async function startGateway(
  settings: Settings,
  runtime: Runtime,
  options: StartOptions = {},
): Promise<RunningGateway> {
  if (settings.database.kind !== 'sqlite') {
    throw new LedgerUnavailable(
      'This version keeps its ledger in SQLite: set DATABASE_URL to sqlite:<path>.',
    );
  }
  const { path } = settings.database;
  const database = await openSqlite({ file: path });
  try {
    await migrate(database);
    const ledger = createLedger({
      database,
      bootId: runtime.id(),
      billsCosts: settings.billing.layouts.includes('cost'),
    });
    const restore = assembleRestore({ settings, runtime, ledger, crypto: createNodeCrypto() });
    const watch = await openSentWatch({ ledger, runtime, database: path, restore });
    const recovered = await ledger.recover({ nowMs: runtime.now() });
    if (recovered.length > 0) runtime.log('warn', 'recovered', { calls: recovered.length });
    return await serve({ settings, runtime, path, database, ledger, watch, ...DEFAULTS, ...options });
  } catch (error) {
    await database.close();
    throw error;
  }
}

const DEFAULTS: Required<StartOptions> = {
  delivers: true,
  drainMs: DRAIN_MS,
  lastDeliveryMs: LAST_DELIVERY_MS,
  headersMs: HEADERS_MS,
};

interface Opened extends Required<StartOptions> {
  readonly settings: Settings;
  readonly runtime: Runtime;
  readonly path: string;
  readonly database: SqliteDatabase;
  readonly ledger: Ledger;
  readonly watch: SentWatch;
}

async function serve(opened: Opened): Promise<RunningGateway> {
  const { settings, runtime, path, database, ledger } = opened;
  const crypto = createNodeCrypto();
  const keys = createKeys({ database, crypto, now: runtime.now, serviceKey: settings.serviceKey });
  const controlToken = randomBytes(32).toString('base64url');
  const relay = createUndiciRelay();
  let draining = false;
  const gateway = assemble({
    settings,
    runtime,
    crypto,
    ledger,
    keys,
    relay,
    post: httpPost,
    stripe: createStripeClient({
      secretKey: settings.stripe.secretKey ?? '',
      apiBase: settings.stripe.apiBase ?? undefined,
    }),
    rawPath: (env) => pathOf((env as { incoming: IncomingMessage }).incoming),
    serve: (context, work) => answerOnSocket(context, work, runtime),
    adminSecrets: [controlToken, ...(settings.adminKey === null ? [] : [settings.adminKey])],
    settled: () => loop.wake(),
    sent: opened.watch.sent,
    draining: () => draining,
  });
  const pass = createPass(opened, gateway);
  let isOver = false;
  const failed = (error: unknown): void => {
    // What Stripe kept waiting past the end finds the ledger closed: that is no failure.
    if (!isOver) runtime.log('error', 'flush_failed', { error: String(error) });
  };
  const loop = createFlushLoop(pass, failed);
  const reading = createFlushLoop(readingPass(gateway, opened.delivers, failed), failed);
  // A loop of its own: a charge waits for a bank, and readings must not.
  const buying = createFlushLoop(async () => (opened.delivers ? gateway.topUps.pass() : undefined), failed);

  const server = createServer(gateway, runtime, opened.headersMs);
  const control = `${path}.control.json`;
  const url = await listen(server, settings, { control, token: controlToken }).catch(
    async (error: unknown) => {
      await Promise.all([loop.stop(), reading.stop(), buying.stop()]);
      throw error;
    },
  );

  return {
    url,
    ledger,
    keys,
    gateway,
    async close() {
      draining = true;
      rmSync(control, { force: true });
      await drained({ server, gateway, relay, drainMs: opened.drainMs });
      const stopped = Promise.all([loop.stop(), reading.stop(), buying.stop(), gateway.topUps.stop()]);
      const last = stopped.then(() => (gateway.background.stop(), pass(false)));
      if (!(await within(opened.lastDeliveryMs, last.catch(failed)))) {
        gateway.background.stop();
        // It comes first in a pass, but there is none any more.
        await gateway.settler.retry().catch(failed);
      }
      isOver = true;
      await relay.close();
      await database.close();
    },
  };
}

/** What is to be done again and again: `looks` is false for the last time, which begins nothing. */
function createPass(opened: Opened, gateway: Gateway): (looks?: boolean) => Promise<number | undefined> {
  return async (looks = true) => {
    const unwritten = await gateway.settler.retry();
    const look = looks ? await gateway.background.poll() : undefined;
    if (!opened.delivers) return look;
    const { next } = await gateway.delivery.flush();
    // What was told within a second of the last raise is due now.
    await opened.watch.sent(0);
    if (!looks) return next;
    await gateway.books.nightly.check();
    const trim = await gateway.books.retention.pass();
    return Math.min(
      unwritten > 0 ? UNWRITTEN_MS : Infinity,
      next ?? Infinity,
      look ?? Infinity,
      trim ?? Infinity,
    );
  };
}

function readingPass(
  { side: { refresher, poll }, notifier }: Gateway,
  delivers: boolean,
  failed: (error: unknown) => void,
): () => Promise<number | undefined> {
  if (!delivers) return () => Promise.resolve(undefined);
  const parts = { read: refresher.pass, poll, notify: () => notifier.pass() };
  return createReadingPass(parts, { firstPollMs: FIRST_POLL_MS, failed });
}

/** The caller gets his bytes from the socket itself; Hono is told that the answer is under way. */
function answerOnSocket(
  context: Context,
  work: (caller: Caller) => Promise<void>,
  runtime: Runtime,
): Response {
  const { incoming, outgoing } = context.env as { incoming: IncomingMessage; outgoing: ServerResponse };
  runtime.defer(work(createNodeCaller(incoming, outgoing)));
  return RESPONSE_ALREADY_SENT;
}

/**
 * Inference goes to the gateway straight from the socket: the objects of the web's fetch, which every other route is
 * given, would cost a call 14 of 180 us.
 */
function createServer({ app, inference }: Gateway, runtime: Runtime, headersMs: number): Server {
  const others = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // Health checks in the form of HTTP/1.0 name no host.
    hostname: 'localhost',
    errorHandler: (error) => notServed(error, runtime),
  });
  const limits = {
    headersTimeout: headersMs,
    // Node looks for slow senders every 30 s unless told otherwise.
    connectionsCheckingInterval: headersMs / 3,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requireHostHeader: false,
    maxHeaderSize: HEAD_BYTES_MAX,
  };
  const answer = requiringHost((incoming, outgoing) => {
    const asked = incoming.method === 'POST' ? askedAt(pathOf(incoming)) : undefined;
    if (asked === undefined) void others(incoming, outgoing);
    else runtime.defer(inference.serve(asked, createNodeCaller(incoming, outgoing)));
  }, runtime.id);
  const server = createHttpServer(limits, (incoming, outgoing) => {
    // A request sent behind another one on the same connection has its socket when the reply to that is out. It waits:
    // before, there is nothing to write to, nothing to break, and no telling whether its caller reads.
    if (outgoing.socket === null) outgoing.once('socket', () => answer(incoming, outgoing));
    else answer(incoming, outgoing);
  });
  answerMalformed(server, runtime.id);
  // A caller may close his half behind his request and read on. Who has left altogether, node-caller finds out.
  return Object.assign(server, { httpAllowHalfOpen: true, maxHeadersCount: HEADERS_MAX });
}

/** What did not become a request of the application's, by its target or its host; else a defect, for it answers all itself. */
function notServed(error: unknown, runtime: Runtime): Response {
  const isMalformed = error instanceof RequestError;
  if (!isMalformed) runtime.log('error', 'internal_error', { error: String(error) });
  const refusal = isMalformed
    ? new Refusal('invalid_request', `The request's target or host cannot be read: ${error.message}.`)
    : new Refusal('internal_error', 'The gateway failed.');
  const { status, headers, body } = refusalReply(refusal, 'openai', `req_${runtime.id()}`);
  return new Response(body, { status, headers });
}

/** Listens, and leaves word of it for this machine's command line. */
async function listen(
  server: Server,
  { host, port }: Settings,
  { control, token }: { readonly control: string; readonly token: string },
): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const { address, family, port: taken } = server.address() as AddressInfo;
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`;
  try {
    writeFileSync(control, JSON.stringify({ url, token, pid: process.pid }), { mode: 0o600 });
  } catch (cause) {
    server.close();
    throw new LedgerUnavailable(
      `${control} cannot be written, which commands find the gateway by: ${String(cause)}. Remove it, or make its directory writable.`,
      { cause },
    );
  }
  return url;
}

interface Draining {
  readonly server: Server;
  readonly gateway: Gateway;
  readonly relay: NodeRelay;
  readonly drainMs: number;
}

/** Resolves when no call is running and no connection open; calls that run for too long are broken off and settled. */
async function drained({ server, gateway, relay, drainMs }: Draining): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  if (!(await ended(server, gateway, drainMs))) {
    await relay.abort();
    await ended(server, gateway, BROKEN_OFF_MS);
  }
  const late = setTimeout(() => server.closeAllConnections(), 1_000);
  await closed;
  clearTimeout(late);
}

/** Whether the work is over before the time for it is; it goes on behind that. */
async function within(msMax: number, work: Promise<unknown>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(late.resolve, msMax, false);
  const isDone = await Promise.race([work.then(() => true), late.promise]);
  clearTimeout(timer);
  return isDone;
}

/** Whether no call is running any more before the time for it is over. */
async function ended(server: Server, gateway: Gateway, msMax: number): Promise<boolean> {
  const deadline = performance.now() + msMax;
  while (gateway.inference.running() > 0) {
    if (performance.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
    server.closeIdleConnections();
  }
  return true;
}
