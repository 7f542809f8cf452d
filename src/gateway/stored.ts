/**
 * `/v1/responses/{id}` and what is under it: responses that a provider keeps. Nothing of it is billed, and only the
 * customer who made a response may touch it: for everybody else there is none.
 */
import type { Exchange, ResponseReader, StoredAsk } from '../../providers/provider.ts';
import { Refusal, requestIdHeaders } from '../errors.ts';
import type { StoredResponse } from '../ledger/background-port.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Keys } from '../keys/keys.ts';
import type { Runtime } from '../runtime.ts';
import { authenticate, customerOf } from './authenticate.ts';
import type { Background } from './background.ts';
import { readRequestHeaders, replyHeaders, undecoded } from './headers.ts';
import { asRefusal, refuse } from './inference.ts';
import { type Limiter, type Passage, UNLIMITED } from './limits.ts';
import type { Caller, CallerReply, Flow, Relay, ReplySink, UpstreamFailure } from './ports.ts';
import { withoutSecret } from './reply-errors.ts';
import type { Resolver, Route } from './resolve.ts';

export interface StoredOptions {
  readonly keys: Keys;
  readonly ledger: Ledger;
  readonly resolver: Pick<Resolver, 'routes'>;
  readonly relay: Relay;
  readonly background: Background;
  readonly limiter: Limiter;
  readonly runtime: Runtime;
}

/** Serves one request to its end. */
export type Stored = (asked: Pick<StoredAsk, 'kind' | 'id'>, caller: Caller) => Promise<void>;

/** A vendor's ids have some 60 characters. */
const RESPONSE_ID = /^[A-Za-z0-9_-]{1,128}$/;

export function createStored(options: StoredOptions): Stored {
  const { runtime } = options;
  return async (asked, caller) => {
    const requestId = `req_${runtime.id()}`;
    let pass: Passage = UNLIMITED;
    try {
      const headers = readRequestHeaders(caller.headers);
      const key = await authenticate(options.keys, headers);
      const customer = customerOf(key, headers);
      pass = options.limiter.enter(key, 'openai');
      const stored = await find(options, customer, asked.id);
      if (asked.kind === 'delete') await endedFirst(options, stored);
      const route = options.resolver.routes.get(stored.provider);
      const ask = { ...asked, query: caller.query, headers: headers.forwarded };
      const exchange = route?.provider.askStored?.(ask, route.upstream);
      if (route === undefined || exchange === undefined) throw notFound(asked.id);
      const reply = pass.watch(caller.reply);
      const settles = asked.kind !== 'input_items' && stored.background !== undefined ? stored : undefined;
      await new Promise<void>((resolve) => {
        new StoredReply({
          options,
          reply,
          exchange,
          settles,
          requestId,
          route,
          done: resolve,
        }).ask();
      });
    } catch (error) {
      const asker = { path: caller.path, reply: pass.watch(caller.reply) };
      refuse(asker, asRefusal(error, runtime, requestId), { dialect: 'openai', id: requestId, runtime });
    }
    pass.leave(() => undefined);
  };
}

async function find({ ledger }: StoredOptions, customer: string, id: string): Promise<StoredResponse> {
  const stored = RESPONSE_ID.test(id) ? await ledger.storedResponse(customer, id) : undefined;
  if (stored === undefined) throw notFound(id);
  return stored;
}

const notFound = (id: string): Refusal =>
  new Refusal('not_found', `Response with id '${id.slice(0, 128)}' not found.`);

/** What is deleted can tell its usage no more: it must have told it before. */
async function endedFirst({ background }: StoredOptions, stored: StoredResponse): Promise<void> {
  if (stored.background === undefined || (await background.look(stored))) return;
  throw new Refusal(
    'invalid_request',
    `The response '${stored.responseId}' is still being made. Cancel it, or wait for its end, and then delete it.`,
  );
}

interface Exchanged {
  readonly options: StoredOptions;
  readonly reply: CallerReply;
  readonly exchange: Exchange;
  /** The response whose end this reply may tell: then the call is settled before the caller is told. */
  readonly settles: StoredResponse | undefined;
  readonly requestId: string;
  readonly route: Route;
  readonly done: () => void;
}

/** An error that is larger than this is broken off, bytes. */
const ERROR_BYTES_MAX = 1_048_576;

/** The provider's reply on its way: as it comes, or once it is settled where it tells the end of a response. */
class StoredReply implements ReplySink {
  readonly #given: Exchanged;
  #flow: Flow | undefined;
  #reader: ResponseReader | undefined;
  #status = 0;
  #headers: Readonly<Record<string, string>> = {};
  #held: Uint8Array[] = [];
  #headSent = false;
  #over = false;
  #settling = false;

  constructor(given: Exchanged) {
    this.#given = given;
    given.reply.onDrain(() => this.#flow?.resume());
    given.reply.onGone(() => {
      if (!this.#settling) this.#flow?.abort();
      this.#finish();
    });
  }

  ask(): void {
    const { options, exchange, route } = this.#given;
    this.#flow = options.relay.send(exchange.request, this, route.timeouts);
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#status = status;
    this.#headers = { ...replyHeaders(headers), ...requestIdHeaders('openai', this.#given.requestId) };
    if (status >= 300 && status < 400) return this.#refuse(`answered with a redirect (${status})`);
    if (undecoded(headers) !== undefined)
      return this.#refuse('sent a reply in an encoding that cannot be read');
    if (status >= 400) return;
    const reader =
      this.#given.settles === undefined ? undefined : this.#given.exchange.read({ status, headers });
    this.#reader = reader;
    if (reader === undefined || reader.streams) this.#sendHead();
  }

  chunk(bytes: Uint8Array): boolean {
    if (this.#over || this.#settling) return true;
    if (this.#status >= 400) {
      this.#held.push(bytes.slice());
      if (this.#held.reduce((sum, piece) => sum + piece.length, 0) > ERROR_BYTES_MAX)
        this.#refuse('sent too long an error');
      return true;
    }
    if (this.#reader === undefined) return this.#given.reply.write(bytes);
    let flowing = true;
    try {
      for (const piece of this.#reader.write(bytes)) flowing = this.#given.reply.write(piece);
    } catch (error) {
      this.#refuse(`sent a reply that cannot be read: ${String(error)}`);
      return true;
    }
    if (this.#reader.terminal) this.#settle(this.#reader);
    return flowing;
  }

  end(): void {
    if (this.#over || this.#settling) return;
    if (this.#reader !== undefined) this.#settle(this.#reader);
    else
      this.#complete(this.#status >= 400 ? withoutSecret(this.#held, this.#given.route.upstream.apiKey) : []);
  }

  fail(error: UpstreamFailure): void {
    if (!this.#over && !this.#settling)
      this.#refuse(error.message, error.kind === 'timeout' ? 'upstream_timeout' : 'upstream_error');
  }

  #settle(reader: ResponseReader): void {
    const { options, settles } = this.#given;
    if (settles === undefined) return;
    this.#settling = true;
    const held = reader.end();
    const settled = options.background.seen(settles, reader).then(
      () => this.#complete(held),
      (error: unknown) => this.#answer(asRefusal(error, options.runtime, this.#given.requestId)),
    );
    options.runtime.defer(settled);
  }

  #complete(rest: readonly Uint8Array[]): void {
    if (this.#over) return;
    const { reply } = this.#given;
    const length = rest.reduce((sum, piece) => sum + piece.length, 0);
    if (!this.#headSent) reply.head(this.#status, { ...this.#headers, 'content-length': String(length) });
    for (const piece of rest) reply.write(piece);
    this.#flow?.abort();
    reply.end();
    this.#finish();
  }

  #sendHead(): void {
    this.#headSent = true;
    this.#given.reply.head(this.#status, this.#headers);
  }

  #refuse(what: string, code: 'upstream_error' | 'upstream_timeout' = 'upstream_error'): void {
    this.#flow?.abort();
    const { route, requestId } = this.#given;
    this.#answer(
      new Refusal(code, `The provider "${route.upstream.name}" ${what}. The request id is ${requestId}.`),
    );
  }

  #answer(refusal: Refusal): void {
    if (this.#over) return;
    const { reply, requestId, options } = this.#given;
    if (this.#headSent) reply.break();
    else
      refuse({ path: '/v1/responses', reply }, refusal, {
        dialect: 'openai',
        id: requestId,
        runtime: options.runtime,
      });
    this.#finish();
  }

  #finish(): void {
    this.#over = true;
    this.#given.done();
  }
}
