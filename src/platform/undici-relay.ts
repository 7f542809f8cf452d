/** The relay on Node: undici's dispatcher, pushing what it reads into the sink as it reads it. */
import type { IncomingHttpHeaders } from 'node:http';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { Duplex } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { UpstreamRequest } from '../../providers/provider.ts';
import { type Flow, type Relay, type ReplySink, type Timeouts, UpstreamFailure } from '../gateway/ports.ts';

/** Connections to one upstream at most. */
const CONNECTIONS_MAX = 1_024;

export interface NodeRelay extends Relay {
  /** Breaks every reply that is under way: its sink is told. Nothing is sent any more. */
  abort(): Promise<void>;
  /** Resolves when no reply is under way and the connections are closed. */
  close(): Promise<void>;
}

export function createUndiciRelay(): NodeRelay {
  // An agent holds how long a connection may take, so there is one for each such time: few, all from the configuration.
  const agents = new Map<number, Agent>();
  let stopped = false;
  const agentOf = ({ connectMs }: Timeouts): Agent => {
    const known = agents.get(connectMs);
    if (known !== undefined) return known;
    // A pipelined request behind a long stream would wait for it.
    const agent = new Agent({ connect: { timeout: connectMs }, connections: CONNECTIONS_MAX, pipelining: 1 });
    agents.set(connectMs, agent);
    return agent;
  };
  return {
    send(request, sink, timeouts) {
      const exchange = new UndiciExchange({ sink, timeouts, stopped: () => stopped });
      agentOf(timeouts).dispatch(dispatchOptions(request, timeouts), exchange);
      return exchange;
    },
    async abort() {
      stopped = true;
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
    },
    async close() {
      const open = [...agents.values()].filter((agent) => !agent.destroyed);
      await Promise.all(open.map((agent) => agent.close()));
    },
  };
}

interface Sending {
  readonly sink: ReplySink;
  readonly timeouts: Timeouts;
  readonly stopped: () => boolean;
}

/** One request under way: what undici tells of it, and what its sender may ask. */
class UndiciExchange implements Flow, Dispatcher.DispatchHandler {
  readonly #sink: ReplySink;
  readonly #stopped: () => boolean;
  readonly #total: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #decoder: Duplex | undefined;
  /** What this read of the socket has brought so far. */
  #read: Uint8Array[] = [];
  #sent = false;
  #aborted = false;
  #broken: UpstreamFailure | undefined;
  /** What the sink threw over a chunk. */
  #refused: Error | undefined;

  constructor({ sink, timeouts: { totalMs }, stopped }: Sending) {
    this.#sink = sink;
    this.#stopped = stopped;
    this.#total = setTimeout(() => {
      this.abort();
      sink.fail(new UpstreamFailure('timeout', `took longer than ${totalMs} ms`));
    }, totalMs);
  }

  resume(): void {
    if (this.#decoder === undefined) this.#controller?.resume();
    else this.#decoder.resume();
  }

  sent(): boolean {
    return this.#sent;
  }

  abort(): void {
    this.#aborted = true;
    clearTimeout(this.#total);
    this.#decoder?.destroy();
    this.#controller?.abort(new Error('aborted'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#sent = true;
    if (this.#aborted) controller.abort(new Error('aborted'));
  }

  onResponseStart(_controller: unknown, status: number, headers: IncomingHttpHeaders): void {
    if (this.#aborted || status < 200) return;
    const encoding = String(headers['content-encoding'] ?? 'identity');
    this.#decoder = decoderFor(encoding, {
      sink: this.#sink,
      resume: () => this.#controller?.resume(),
      broken: () => this.#broken,
    });
    const told = flatHeaders(headers);
    // What the sink gets is decoded; an encoding that is unknown here stays in the head, and is for the sink to refuse.
    if (this.#decoder !== undefined) delete told['content-encoding'];
    this.#sink.head(status, told);
  }

  /**
   * What one read of the socket brings goes on together: events that a provider writes at once come as a piece each, and
   * a piece that goes on alone costs its own way through the gateway and its own write. Nothing waits for more to come:
   * on the next tick the read has been taken apart.
   */
  onResponseData(_controller: unknown, piece: Uint8Array): void {
    if (this.#read.push(piece) === 1) process.nextTick(handOn, this);
  }

  handOn(): void {
    const [first, second] = this.#read;
    if (first === undefined || this.#aborted) return;
    const bytes = second === undefined ? first : Buffer.concat(this.#read);
    this.#read = [];
    try {
      const flowing = this.#decoder === undefined ? this.#sink.chunk(bytes) : this.#decoder.write(bytes);
      if (!flowing) this.#controller?.pause();
    } catch (error) {
      this.#refused = error instanceof Error ? error : new Error(String(error));
      this.#controller?.abort(this.#refused);
    }
  }

  onResponseEnd(): void {
    clearTimeout(this.#total);
    // The connection is the next request's from now on.
    this.#controller = undefined;
    this.handOn();
    if (this.#aborted) return;
    if (this.#refused !== undefined) this.onResponseError(undefined, this.#refused);
    else if (this.#decoder === undefined) this.#sink.end();
    else this.#decoder.end();
  }

  onResponseError(_controller: unknown, error: Error): void {
    clearTimeout(this.#total);
    this.handOn();
    if (this.#aborted) return;
    this.#broken = failureOf(error, { sent: this.#sent, stopped: this.#stopped() });
    // What came before the break is still on its way through the decoder, which says when it is out.
    if (this.#decoder === undefined) this.#sink.fail(this.#broken);
    else this.#decoder.end();
  }
}

const handOn = (exchange: UndiciExchange): void => exchange.handOn();

function dispatchOptions(request: UpstreamRequest, timeouts: Timeouts): Dispatcher.DispatchOptions {
  const { origin, path } = addressOf(request.url);
  return {
    origin,
    path,
    method: request.method,
    headers: request.headers,
    body: bodyOf(request),
    headersTimeout: timeouts.firstByteMs,
    bodyTimeout: timeouts.idleMs,
  };
}

/** There are few addresses, each asked again and again, and reading one costs 2 us. */
const ADDRESSES_MAX = 1_000;
const addresses = new Map<string, { readonly origin: string; readonly path: string }>();

function addressOf(url: string): { readonly origin: string; readonly path: string } {
  const known = addresses.get(url);
  if (known !== undefined) return known;
  const { origin, pathname, search } = new URL(url);
  if (addresses.size >= ADDRESSES_MAX) addresses.clear();
  const address = { origin, path: pathname + search };
  addresses.set(url, address);
  return address;
}

/** undici wants one body; a spliced one is joined here, once. */
function bodyOf(request: UpstreamRequest): Uint8Array | null {
  if (request.body === null) return null;
  return request.body.length === 1 ? (request.body[0] ?? null) : Buffer.concat(request.body);
}

function flatHeaders(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) flat[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return flat;
}

interface DecoderFlow {
  readonly sink: ReplySink;
  resume(): void;
  /** Why the connection broke, if it did: then the decoder's end is not the reply's. */
  broken(): UpstreamFailure | undefined;
}

/** Replies are asked for uncompressed; an upstream that compresses all the same is undone here. */
function decoderFor(encoding: string, { sink, resume, broken }: DecoderFlow): Duplex | undefined {
  const make = {
    gzip: createGunzip,
    'x-gzip': createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
    zstd: createZstdDecompress,
  }[encoding.trim().toLowerCase()];
  if (make === undefined) return undefined;
  const decoder = make();
  decoder.on('data', (bytes: Buffer) => {
    if (!sink.chunk(bytes)) decoder.pause();
  });
  decoder.on('drain', resume);
  decoder.on('end', () => {
    const failure = broken();
    if (failure === undefined) sink.end();
    else sink.fail(failure);
  });
  decoder.on('error', (cause: Error) =>
    sink.fail(
      broken() ?? new UpstreamFailure('broken', 'sent a reply that cannot be decompressed', { cause }),
    ),
  );
  return decoder;
}

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

function failureOf(
  error: Error & { code?: string },
  { sent, stopped }: { readonly sent: boolean; readonly stopped: boolean },
): UpstreamFailure {
  const code = error.code ?? '';
  if (stopped)
    return new UpstreamFailure('stopped', 'was left, as the gateway is stopping', { cause: error });
  if (TIMEOUTS.has(code)) return new UpstreamFailure('timeout', 'was silent for too long', { cause: error });
  return sent
    ? new UpstreamFailure('broken', `broke off its reply (${code || error.message})`, { cause: error })
    : new UpstreamFailure('unreachable', `could not be reached (${code || error.message})`, { cause: error });
}
