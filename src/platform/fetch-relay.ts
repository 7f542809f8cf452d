/** The relay on Workers: fetch, read piece by piece into the sink. */
import type { UpstreamRequest } from '../../providers/provider.ts';
import { type Flow, type Relay, type ReplySink, type Timeouts, UpstreamFailure } from '../gateway/ports.ts';

export interface FetchRelayOptions {
  /** Keeps the runtime alive while a reply is read, also after the caller has left. */
  readonly defer: (work: Promise<unknown>) => void;
}

/** A connection is part of what `firstByteMs` waits for: fetch does not tell the two apart. */
export function createFetchRelay({ defer }: FetchRelayOptions): Relay {
  return {
    send(request, sink, timeouts) {
      const exchange = new FetchExchange(request, sink, timeouts);
      defer(exchange.run());
      return exchange;
    },
  };
}

/** workerd's fetch undoes these and leaves the header; spelled otherwise, in capitals say, it leaves the bytes too. */
const DECODED = new Set(['gzip', 'br']);

/** What is undone here. Any other encoding, and `br` in capitals, stays in the head and is for the sink to refuse. */
const FORMATS: Readonly<Record<string, CompressionFormat>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
};

class FetchExchange implements Flow {
  readonly #request: UpstreamRequest;
  readonly #sink: ReplySink;
  readonly #timeouts: Timeouts;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Why it was given up, where a time ran out. */
  #timedOut: string | undefined;
  #aborted = false;
  #paused: PromiseWithResolvers<void> | undefined;

  constructor(request: UpstreamRequest, sink: ReplySink, timeouts: Timeouts) {
    this.#request = request;
    this.#sink = sink;
    this.#timeouts = timeouts;
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  /** fetch does not tell when it has a connection. */
  sent(): boolean {
    return true;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller.abort();
    this.resume();
  }

  async run(): Promise<void> {
    let answered = false;
    const { totalMs } = this.#timeouts;
    const total = setTimeout(() => this.#timeOut(`took longer than ${totalMs} ms`), totalMs);
    try {
      const { url, method, headers, body } = this.#request;
      this.#watch(this.#timeouts.firstByteMs);
      const response = await fetch(url, {
        method,
        headers,
        body: body === null ? null : new Blob(body as Uint8Array<ArrayBuffer>[]),
        redirect: 'manual',
        signal: this.#controller.signal,
      });
      answered = true;
      if (this.#aborted) return;
      const { headers: told, body: decoded } = decodedReply(response);
      this.#sink.head(response.status, told);
      await this.#pump(decoded);
    } catch (error) {
      if (!this.#aborted) this.#sink.fail(this.#failureOf(error, answered));
    } finally {
      clearTimeout(total);
      clearTimeout(this.#timer);
    }
  }

  async #pump(body: ReadableStream<Uint8Array> | null): Promise<void> {
    const reader = (body ?? new Blob().stream()).getReader();
    for (;;) {
      this.#watch(this.#timeouts.idleMs);
      const read = await reader.read();
      clearTimeout(this.#timer);
      if (this.#aborted) return;
      if (read.done) break;
      if (this.#sink.chunk(read.value)) continue;
      this.#paused = Promise.withResolvers<void>();
      await this.#paused.promise;
    }
    this.#sink.end();
  }

  #watch(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#timeOut('was silent for too long'), ms);
  }

  #timeOut(why: string): void {
    this.#timedOut ??= why;
    this.#controller.abort();
    this.resume();
  }

  #failureOf(error: unknown, answered: boolean): UpstreamFailure {
    if (this.#timedOut !== undefined) return new UpstreamFailure('timeout', this.#timedOut, { cause: error });
    const what = error instanceof Error ? error.message : String(error);
    return answered
      ? new UpstreamFailure('broken', `broke off its reply (${what})`, { cause: error })
      : new UpstreamFailure('unreachable', `could not be reached (${what})`, { cause: error });
  }
}

interface DecodedReply {
  readonly headers: Record<string, string>;
  readonly body: ReadableStream<Uint8Array> | null;
}

/** A reply as the sink is to have it: without compression, and without the header that tells of it. */
function decodedReply({ headers, body }: Response): DecodedReply {
  const told = Object.fromEntries(headers);
  const encoding = told['content-encoding'] ?? '';
  const format = DECODED.has(encoding) ? undefined : FORMATS[encoding.toLowerCase()];
  if (DECODED.has(encoding) || format !== undefined) delete told['content-encoding'];
  if (format === undefined || body === null) return { headers: told, body };
  return { headers: told, body: body.pipeThrough(new DecompressionStream(format)) };
}
