/**
 * The request path, in reading order: authenticate, read, resolve, admit, forward (and settle, when the reply has gone
 * past). Each step refuses by throwing a `Refusal`; it is answered here, in the caller's dialect.
 */
import { Untranslatable } from '../../providers/translation/conversation.ts';
import { type Dialect, Refusal } from '../errors.ts';
import type { Keys } from '../keys/keys.ts';
import { type Ledger, LedgerUnavailable } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { admit, type Budgets, type CustomerDirectory } from './admit.ts';
import { authenticate, customerOf } from './authenticate.ts';
import type { PreparedCall } from './call.ts';
import { continuing, CONTINUES } from './continuing.ts';
import { ENDPOINTS } from './endpoints.ts';
import { type Limiter, type Passage, UNLIMITED } from './limits.ts';
import { forward, type ForwardOptions } from './forward.ts';
import { readRequestHeaders } from './headers.ts';
import type { Idempotency, Repeatable } from './idempotency.ts';
import type { Attempts } from './next-attempt.ts';
import type { Caller, CallerReply, Relay } from './ports.ts';
import { passThrough } from './pass-through.ts';
import { type Asked, readRequest } from './read-request.ts';
import { sendRefusal } from './reply-errors.ts';
import type { Resolver } from './resolve.ts';
import type { Settler } from './settle.ts';

export interface GatewayOptions {
  readonly keys: Keys;
  readonly ledger: Pick<Ledger, 'storedResponse'>;
  readonly budgets: Budgets;
  readonly customers: CustomerDirectory;
  readonly resolver: Resolver;
  readonly relay: Relay;
  readonly settler: Settler;
  readonly attempts: Attempts;
  readonly idempotency: Idempotency;
  readonly limiter: Limiter;
  readonly runtime: Runtime;
  readonly onDisconnect: 'drain' | 'cancel';
}

export interface Inference {
  /** Serves one request to its end. */
  serve(asked: Asked, caller: Caller): Promise<void>;
  /** Requests that are neither refused nor settled yet, from their first moment: what a stop must wait for. */
  running(): number;
}

export function createInference(options: GatewayOptions): Inference {
  const { runtime } = options;
  let running = 0;
  const done = (): void => void (running -= 1);
  const serve: Inference['serve'] = async (asked, caller) => {
    const visit: Visit = { id: `req_${runtime.id()}`, pass: UNLIMITED, repeatable: undefined };
    let reply: CallerReply | undefined;
    const replyOf = (): CallerReply => {
      const own = (): CallerReply => visit.pass.watch(caller.reply);
      return (reply ??= visit.repeatable?.shared(own()) ?? own());
    };
    running += 1;
    try {
      const prepared = await open(options, asked, { caller, visit });
      if (prepared === undefined) {
        // He left, or has the reply of the call that his repeats.
        if (visit.repeatable !== undefined) replyOf();
        visit.pass.leave(done);
        return;
      }
      const passing = visit.pass.counting(visit.repeatable?.watching(forwarding) ?? forwarding);
      if (ENDPOINTS[asked.endpoint].metered) forward(prepared, replyOf(), passing);
      else passThrough(prepared, replyOf(), passing);
    } catch (error) {
      visit.pass.leave(done);
      const { dialect } = ENDPOINTS[asked.endpoint];
      const asker = { path: caller.path, reply: replyOf() };
      visit.repeatable?.release();
      refuse(asker, asRefusal(error, runtime, visit.id), { dialect, id: visit.id, runtime });
    }
  };
  const forwarding: ForwardOptions = { ...options, done };
  return { serve, running: () => running };
}

/** From the request to an open call, and what its upstream is to be asked; undefined when there is no call to make. */
async function open(
  options: GatewayOptions,
  asked: Asked,
  { caller, visit }: { readonly caller: Caller; readonly visit: Visit },
): Promise<PreparedCall | undefined> {
  const { keys, ledger, resolver, runtime } = options;
  const { endpoint } = asked;
  const { dialect, metered } = ENDPOINTS[endpoint];
  const startedAtMs = runtime.now();
  const headers = readRequestHeaders(caller.headers);
  const key = await authenticate(keys, headers);
  // What costs nothing needs nobody to bill; a customer who is named all the same must be the key's own.
  const billed = metered || headers.customer !== undefined;
  const customer = billed ? customerOf(key, headers) : (key.customer ?? '');
  visit.pass = options.limiter.enter(key, dialect);
  const body = await readRequest(caller, headers, asked);
  if (body === undefined) return undefined;
  if (headers.idempotencyKey !== undefined && metered) {
    const { path, query } = caller;
    visit.repeatable = options.idempotency.enter({
      key: headers.idempotencyKey,
      keyId: key.id,
      customer,
      url: `${path}?${query}`,
      body,
      call: visit.id,
    });
    if (!visit.repeatable.first) return undefined;
    await visit.repeatable.claim();
  }
  const resolved = resolver.resolve(body.model, endpoint);
  const goesOn = CONTINUES.has(endpoint);
  const targets = goesOn ? await continuing(resolved, { customer, ledger }, body) : resolved;
  const prepared = options.attempts.first({
    id: visit.id,
    customer,
    keyId: key.id,
    endpoint,
    dialect,
    startedAtMs,
    targets,
    request: {
      endpoint,
      stream: body.stream,
      body: body.bytes,
      scan: body.scan,
      form: body.form,
      path: caller.path,
      query: caller.query,
      headers: headers.forwarded,
      id: visit.id,
      startedAtMs,
    },
  });
  const { request, target } = prepared.call;
  visit.pass.take(() => target.route.provider.estimateInput(request));
  if (!metered) return prepared;
  const money = await admit(options, prepared.call);
  return { ...prepared, call: { ...prepared.call, money } };
}

/** A request as it is followed from its first moment: what was found out before it is a call. */
interface Visit {
  readonly id: string;
  pass: Passage;
  /** Where the request came with an idempotency key. */
  repeatable: Repeatable | undefined;
}

/** What is answered for anything thrown. */
export function asRefusal(error: unknown, runtime: Runtime, id: string): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof Untranslatable) return untranslatable(error);
  if (error instanceof LedgerUnavailable) {
    runtime.log('error', 'ledger_unavailable', { request_id: id, error: String(error.cause ?? error) });
    return new Refusal(
      'ledger_unavailable',
      'The call could not be recorded, so it was not made. Try again shortly.',
    );
  }
  runtime.log('error', 'internal_error', {
    request_id: id,
    error: error instanceof Error ? error.stack : String(error),
  });
  return new Refusal('internal_error', `The gateway failed on this request. The request id is ${id}.`);
}

function untranslatable({ param, message, kind }: Untranslatable): Refusal {
  if (kind === 'malformed') return new Refusal('invalid_request', `"${param}" ${message}.`, { param });
  const said = `"${param}" cannot be translated for the provider of this model: ${message}. Leave it out, or name a model whose provider speaks this dialect.`;
  return new Refusal('unsupported_parameter', said, { param });
}

/** Answers a caller with a refusal. */
export function refuse(
  caller: Pick<Caller, 'path' | 'reply'>,
  refusal: Refusal,
  context: { readonly dialect: Dialect; readonly id: string; readonly runtime: Runtime },
): void {
  const status = sendRefusal(caller.reply, refusal, context);
  context.runtime.log('info', 'refused', {
    request_id: context.id,
    status,
    code: refusal.code,
    path: caller.path,
  });
}
