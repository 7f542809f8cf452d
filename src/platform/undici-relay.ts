/** The relay on Node: undici's dispatcher, pushing what it reads into the sink as it reads it. */
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { Duplex } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { UpstreamRequest } from '../../providers/provider.ts';
import { type Flow, type Relay, type ReplySink, UpstreamFailure } from '../gateway/ports.ts';

export interface UndiciRelayOptions {
  /** Until a connection stands, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Until the reply's head, milliseconds: a model may think for minutes before it answers without streaming. */
  readonly headTimeoutMs: number;
  /** Between two pieces of a reply, milliseconds. */
  readonly idleTimeoutMs: number;
  /** Connections to one upstream at most. */
  readonly connectionsMax: number;
}

export const RELAY_DEFAULTS: UndiciRelayOptions = {
  connectTimeoutMs: 10_000,
  headTimeoutMs: 600_000,
  idleTimeoutMs: 300_000,
  connectionsMax: 1_024,
};

export interface NodeRelay extends Relay {
  /** Breaks every reply that is under way: its sink is told. Nothing is sent any more. */
  abort(): Promise<void>;
  /** Resolves when no reply is under way and the connections are closed. */
  close(): Promise<void>;
}

export function createUndiciRelay(options: UndiciRelayOptions = RELAY_DEFAULTS): NodeRelay {
  const agent = new Agent({
    connect: { timeout: options.connectTimeoutMs },
    headersTimeout: options.headTimeoutMs,
    bodyTimeout: options.idleTimeoutMs,
    connections: options.connectionsMax,
    // A pipelined request behind a long stream would wait for it.
    pipelining: 1,
  });
  return {
    send: (request, sink) => send(agent, request, sink),
    abort: () => agent.destroy(),
    close: async () => (agent.destroyed ? undefined : agent.close()),
  };
}

function send(agent: Agent, request: UpstreamRequest, sink: ReplySink): Flow {
  const { origin, path } = addressOf(request.url);
  let controller: Dispatcher.DispatchController | undefined;
  let aborted = false;
  let decoder: Duplex | undefined;
  let sent = false;
  let broken: UpstreamFailure | undefined;

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started;
      sent = true;
      if (aborted) started.abort(new Error('aborted'));
    },
    onResponseStart(_controller, status, headers) {
      if (aborted || status < 200) return;
      const encoding = String(headers['content-encoding'] ?? 'identity');
      decoder = decoderFor(encoding, {
        sink,
        resume: () => controller?.resume(),
        broken: () => broken,
      });
      const told = flatHeaders(headers);
      // What the sink gets is decoded; an encoding that is unknown here stays in the head, and is for the sink to refuse.
      if (decoder !== undefined) delete told['content-encoding'];
      sink.head(status, told);
    },
    onResponseData(running, chunk) {
      if (aborted) return;
      const flowing = decoder === undefined ? sink.chunk(chunk) : decoder.write(chunk);
      if (!flowing) running.pause();
    },
    onResponseEnd() {
      if (aborted) return;
      if (decoder === undefined) sink.end();
      else decoder.end();
    },
    onResponseError(_controller, error) {
      if (aborted) return;
      broken = failureOf(error, sent);
      // What came before the break is still on its way through the decoder, which says when it is out.
      if (decoder === undefined) sink.fail(broken);
      else decoder.end();
    },
  };

  agent.dispatch(
    {
      origin,
      path,
      method: request.method,
      headers: request.headers,
      body: bodyOf(request),
    },
    handler,
  );
  return {
    resume() {
      if (decoder === undefined) controller?.resume();
      else decoder.resume();
    },
    sent: () => sent,
    abort() {
      aborted = true;
      decoder?.destroy();
      controller?.abort(new Error('aborted'));
    },
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

function failureOf(error: Error & { code?: string }, sent: boolean): UpstreamFailure {
  const code = error.code ?? '';
  if (TIMEOUTS.has(code)) return new UpstreamFailure('timeout', 'was silent for too long', { cause: error });
  return sent
    ? new UpstreamFailure('broken', `broke off its reply (${code || error.message})`, { cause: error })
    : new UpstreamFailure('unreachable', `could not be reached (${code || error.message})`, { cause: error });
}
