/**
 * One request's way through the stand-in: read, key, fault, idempotency, one call at a time per customer and meter,
 * route, reply. Routes themselves are synchronous, so calls overlap only while a `slow` fault holds them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Faults } from './faults.ts';
import { decodeForm } from './form.ts';
import { headerText, readBody, sendJson, StripeFailure, type Reply } from './http.ts';
import type { Idempotency, IdempotencyCall } from './idempotency.ts';
import type { createRouter } from './routes.ts';
import { STREAM_PATH } from './stream.ts';
import { stripeId, type Account } from './world.ts';

/** Stripe's parameters are small; its own limit is not published. */
const BODY_BYTES_MAX = 1_048_576;

/** A request as the log keeps it. */
export interface LoggedRequest {
  readonly id: string;
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly query: unknown;
  readonly body: unknown;
  readonly idempotencyKey: string | null;
  readonly stripeVersion: string | null;
  /** Null: the connection was cut. */
  readonly status: number | null;
  readonly replayed: boolean;
}

export interface ExchangeParts {
  readonly account: Account;
  readonly route: ReturnType<typeof createRouter>;
  readonly faults: Faults;
  readonly idempotency: Idempotency;
  /** Keys that are accepted; without a list, any key that looks like Stripe's. */
  readonly apiKeys: readonly string[] | undefined;
  /** Throws for a token of no open session of the stream. */
  readonly checkSession: (token: string) => void;
  /** A meter event that was taken is not counted: told later. */
  readonly rejectLater: (identifier: string) => void;
  /** False when the request is one too many for this second. */
  readonly withinRate: () => boolean;
  readonly log: (request: LoggedRequest) => void;
  readonly stop: AbortSignal;
}

interface Incoming {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly api: 'v1' | 'v2';
  readonly query: unknown;
  readonly body: unknown;
  readonly idempotency: IdempotencyCall | undefined;
}

/** Answers one request; a request that meets a drop is cut. */
export function createExchange(
  parts: ExchangeParts,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const lanes = new Set<string>();
  return async (request, response) => {
    const id = `req_${stripeId('x').slice(2, 16)}`;
    const url = new URL(request.url ?? '/', 'http://simulator');
    const method = request.method ?? 'GET';
    let body: unknown = null;
    let outcome: Outcome;
    try {
      const text = await readBody(request, BODY_BYTES_MAX);
      if (url.pathname === STREAM_PATH) parts.checkSession(keyOf(request));
      else checkKey(request, parts.apiKeys);
      const incoming = decode(request, { id, method, url, text });
      body = incoming.body;
      outcome = await answer(parts, lanes, incoming);
    } catch (error) {
      outcome = { kind: 'reply', reply: replyTo(error, id) };
    }
    const status = outcome.kind === 'drop' ? null : outcome.reply.status;
    parts.log({
      id,
      atMs: parts.account.now(),
      method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      body,
      idempotencyKey: headerText(request, 'idempotency-key') ?? null,
      stripeVersion: headerText(request, 'stripe-version') ?? null,
      status,
      replayed: outcome.kind === 'reply' && outcome.reply.headers?.['idempotent-replayed'] === 'true',
    });
    if (outcome.kind === 'drop') response.destroy();
    else send(request, response, { id, now: parts.account.now(), reply: outcome.reply });
  };
}

type Outcome = { kind: 'reply'; reply: Reply } | { kind: 'drop' };

async function answer(parts: ExchangeParts, lanes: Set<string>, incoming: Incoming): Promise<Outcome> {
  if (incoming.path !== STREAM_PATH && !parts.withinRate()) throw rateLimited(undefined);
  const met = parts.faults.meet(incoming.method, incoming.path, JSON.stringify(incoming.body));
  const kind = met.fault?.kind;
  const { idempotency: call } = incoming;
  const replay = call === undefined ? undefined : parts.idempotency.begin(call);
  if (replay !== undefined) return { kind: 'reply', reply: replay };
  const lane = laneOf(parts.account, incoming);
  let reply: Reply | null = null;
  try {
    if (lane !== undefined) enter(lanes, lane, incoming.api);
    try {
      if (met.delayMs > 0) await pause(met.delayMs, undefined, { signal: parts.stop });
      if (kind === 'drop') return { kind: 'drop' };
      throwBeforeCommit(kind, met.fault?.retryAfterSeconds, incoming);
      if (kind === 'proxy') return { kind: 'reply', reply: NOT_STRIPES };
      reply = runRoute(parts, incoming);
      if (kind === 'reject_later') rejectLater(parts, reply);
      if (kind === 'server_error_after_commit') reply = serverError().reply(incoming.id);
    } finally {
      if (lane !== undefined) lanes.delete(lane);
    }
  } finally {
    if (call !== undefined) parts.idempotency.finish(call, reply);
  }
  return kind === 'drop_after_commit' ? { kind: 'drop' } : { kind: 'reply', reply };
}

function runRoute(parts: ExchangeParts, incoming: Incoming): Reply {
  const found = parts.route(incoming.method, incoming.path);
  try {
    if (found === undefined) throw unrecognized(incoming.method, incoming.path);
    const { query, body } = incoming;
    return { status: 200, body: found.answer({ account: parts.account, id: found.id, query, body }) };
  } catch (error) {
    return replyTo(error, incoming.id);
  }
}

/** Stripe takes one call at a time per customer and meter. */
function laneOf(account: Account, { path, body }: Incoming): string | undefined {
  if (!path.endsWith('/billing/meter_events') || typeof body !== 'object' || body === null) return undefined;
  const { event_name: name, payload } = body as { event_name?: unknown; payload?: unknown };
  const meter = [...account.world.meters.values()].find((one) => one.event_name === name);
  if (meter === undefined || typeof payload !== 'object' || payload === null) return undefined;
  const customer = (payload as Record<string, unknown>)[meter.customer_mapping.event_payload_key];
  return typeof customer === 'string' ? `${meter.id}|${customer}` : undefined;
}

function enter(lanes: Set<string>, lane: string, api: 'v1' | 'v2'): void {
  if (!lanes.has(lane)) {
    lanes.add(lane);
    return;
  }
  const message = 'There are too many concurrent requests for this customer and meter.';
  throw api === 'v2'
    ? new StripeFailure({ status: 409, code: 'too_many_concurrent_requests', message })
    : new StripeFailure({ status: 429, type: 'invalid_request_error', code: 'lock_timeout', message });
}

/** What a web server in front of Stripe may say. */
const NOT_STRIPES: Reply = { status: 404, body: { error: { code: 404, message: 'Not Found' } } };

function rejectLater({ rejectLater: reject }: ExchangeParts, { status, body }: Reply): void {
  if (status !== 200 || typeof body !== 'object' || body === null || !('identifier' in body)) return;
  reject(String(body.identifier));
}

function throwBeforeCommit(
  kind: string | undefined,
  retryAfterSeconds: number | undefined,
  { method, path }: Incoming,
): void {
  if (kind === 'not_found') throw unrecognized(method, path);
  if (kind === 'rate_limited') throw rateLimited(retryAfterSeconds);
  if (kind === 'server_error') throw serverError();
  if (kind === 'forbidden') throw forbidden();
  if (kind === 'unauthorized') throw unauthorized('Invalid API Key provided: it was revoked.');
  if (kind === 'conflict') {
    throw new StripeFailure({
      status: 409,
      type: 'invalid_request_error',
      code: 'lock_timeout',
      message: 'This object cannot be accessed right now because another request is accessing it.',
    });
  }
}

function decode(
  request: IncomingMessage,
  { id, method, url, text }: { id: string; method: string; url: URL; text: string },
): Incoming {
  const api = url.pathname.startsWith('/v2/') ? 'v2' : 'v1';
  const key = method === 'POST' ? headerText(request, 'idempotency-key') : undefined;
  const same = `${method} ${url.pathname} ${text}`;
  return {
    id,
    method,
    path: url.pathname,
    api,
    query: decodeForm(url.search.slice(1)),
    body: api === 'v2' ? parseJson(text) : decodeForm(text),
    idempotency: key === undefined ? undefined : { key, api, request: same },
  };
}

function parseJson(text: string): unknown {
  if (text === '') return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StripeFailure({ status: 400, code: 'invalid_json', message: `The body is not JSON: ${why}` });
  }
}

/** Bearer, or the user name of Basic as `curl -u` sends it. */
function keyOf(request: IncomingMessage): string {
  const [scheme, value = ''] = (headerText(request, 'authorization') ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'basic') return value;
  return Buffer.from(value, 'base64').toString().split(':')[0] ?? '';
}

function checkKey(request: IncomingMessage, accepted: readonly string[] | undefined): void {
  const key = keyOf(request);
  if (key === '') {
    throw unauthorized(
      'You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth.',
    );
  }
  const known = accepted === undefined ? /^(sk|rk)_test_/.test(key) : accepted.includes(key);
  if (!known) throw unauthorized(`Invalid API Key provided: ${key.slice(0, 8)}****${key.slice(-4)}`);
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { id, now, reply }: { id: string; now: number; reply: Reply },
): void {
  const key = headerText(request, 'idempotency-key');
  const version = headerText(request, 'stripe-version');
  response.sendDate = false;
  sendJson(response, {
    ...reply,
    headers: {
      date: new Date(now).toUTCString(),
      // A web server in front would not know of it.
      ...(reply === NOT_STRIPES ? {} : { 'request-id': id }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(version === undefined ? {} : { 'stripe-version': version }),
      ...reply.headers,
    },
  });
}

/** Anything that is no refusal of Stripe's is a fault of the simulator's own, and says so. */
export function replyTo(error: unknown, requestId: string): Reply {
  if (error instanceof StripeFailure) return error.reply(requestId);
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const failure = new StripeFailure({ status: 500, type: 'api_error', message: `Simulator: ${why}` });
  return failure.reply(requestId);
}

const forbidden = (): StripeFailure =>
  new StripeFailure({
    status: 403,
    type: 'invalid_request_error',
    message: 'The provided key does not have the required permissions for this endpoint.',
  });

const unauthorized = (message: string): StripeFailure =>
  new StripeFailure({ status: 401, type: 'invalid_request_error', message });

const serverError = (): StripeFailure =>
  new StripeFailure({ status: 500, type: 'api_error', message: 'An unknown error occurred.' });

/** Without `stripe-should-retry`, so the SDK does not try again by itself. */
const rateLimited = (retryAfterSeconds: number | undefined): StripeFailure =>
  new StripeFailure({
    status: 429,
    type: 'invalid_request_error',
    code: 'rate_limit',
    message: 'Request rate limit exceeded.',
    ...(retryAfterSeconds === undefined ? {} : { headers: { 'retry-after': String(retryAfterSeconds) } }),
  });

const unrecognized = (method: string, path: string): StripeFailure =>
  new StripeFailure({
    status: 404,
    type: 'invalid_request_error',
    message: `Unrecognized request URL (${method}: ${path}).`,
  });
