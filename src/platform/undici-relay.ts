/** The relay on Node: undici's dispatcher, pushing what it reads into the sink as it reads it. */
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
    send: (request, sink, timeouts) =>
      send({ agent: agentOf(timeouts), request, sink, timeouts, stopped: () => stopped }),
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
  readonly agent: Agent;
  readonly request: UpstreamRequest;
  readonly sink: ReplySink;
  readonly timeouts: Timeouts;
  readonly stopped: () => boolean;
}

function send({ agent, request, sink, timeouts, stopped }: Sending): Flow {
  let controller: Dispatcher.DispatchController | undefined;
  let aborted = false;
  let decoder: Duplex | undefined;
  let sent = false;
  let broken: UpstreamFailure | undefined;
  const flow: Flow = {
    resume() {
      if (decoder === undefined) controller?.resume();
      else decoder.resume();
    },
    sent: () => sent,
    abort() {
      aborted = true;
      clearTimeout(total);
      decoder?.destroy();
      controller?.abort(new Error('aborted'));
    },
  };
  const total = setTimeout(() => {
    flow.abort();
    sink.fail(new UpstreamFailure('timeout', `took longer than ${timeouts.totalMs} ms`));
  }, timeouts.totalMs);
  const read = createGatherer((bytes) => {
    if (aborted) return;
    try {
      const flowing = decoder === undefined ? sink.chunk(bytes) : decoder.write(bytes);
      if (!flowing) controller?.pause();
    } catch (error) {
      controller?.abort(error instanceof Error ? error : new Error(String(error)));
    }
  });

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
    onResponseData(_controller, chunk) {
      read.add(chunk);
    },
    onResponseEnd() {
      clearTimeout(total);
      read.handOn();
      if (aborted) return;
      if (decoder === undefined) sink.end();
      else decoder.end();
    },
    onResponseError(_controller, error) {
      clearTimeout(total);
      read.handOn();
      if (aborted) return;
      broken = failureOf(error, { sent, stopped: stopped() });
      // What came before the break is still on its way through the decoder, which says when it is out.
      if (decoder === undefined) sink.fail(broken);
      else decoder.end();
    },
  };

  agent.dispatch(dispatchOptions(request, timeouts), handler);
  return flow;
}

interface Gatherer {
  add(piece: Uint8Array): void;
  /** Hands on what there is, now. */
  handOn(): void;
}

/**
 * Joins what one read of the socket brings. Events that a provider writes together come as a piece each, and what goes on
 * alone costs its own way through the gateway and its own write. Nothing waits for more to come: the next tick is when
 * the read has been taken apart.
 */
function createGatherer(take: (bytes: Uint8Array) => void): Gatherer {
  let pieces: Uint8Array[] = [];
  const handOn = (): void => {
    const [first, second] = pieces;
    if (first === undefined) return;
    const bytes = second === undefined ? first : Buffer.concat(pieces);
    pieces = [];
    take(bytes);
  };
  return {
    add(piece) {
      if (pieces.push(piece) === 1) process.nextTick(handOn);
    },
    handOn,
  };
}

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
