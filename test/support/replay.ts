/**
 * A provider that answers with recorded replies over real HTTP, one per model name, and plays the tricks of networks and
 * vendors to order. The base URL says which tricks; the reply's bytes arrive in exactly the chunks that were ordered,
 * since each is a chunk of the HTTP body too, however TCP joins them.
 */
import { createServer, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { listening } from '../../src/simulator/http.ts';
import { bytesOf, oneByOne, randomChunks, seeded, textOf } from './chunks.ts';

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Quirks {
  /** One chunk unless ordered: each byte for itself, or seeded cuts of 1 to `lengthMax` bytes. */
  readonly chunks?: 'whole' | 'bytes' | { readonly seed: number; readonly lengthMax: number };
  /** Lines of a stream end with carriage return and line feed. */
  readonly crlf?: boolean;
  /** A keep-alive comment goes before each event of a stream. */
  readonly comments?: boolean;
  /** An event with a line of 1 MB goes before the first of a stream. */
  readonly longLine?: boolean;
  readonly gzip?: boolean;
  /** The usage event of a stream is sent `twice`, or usage is told `never`. */
  readonly usage?: 'twice' | 'never';
  /** The connection dies after this many bytes of the body. */
  readonly diesAt?: number;
}

export interface ReplayServer {
  /** The reply to requests for the model; the last one given stands. */
  add(model: string, reply: Reply): void;
  /** A base URL, with `/v1`, behind which replies are given with these quirks. */
  baseUrl(quirks?: Quirks): string;
  /** The body that is sent, and that a caller should have, less what the gateway withholds. */
  sent(model: string, quirks?: Quirks): Uint8Array;
  close(): Promise<void>;
}

export async function startReplay(): Promise<ReplayServer> {
  const replies = new Map<string, Reply>();
  const ordered: Quirks[] = [];
  const http = listening(
    createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const quirks = ordered[Number(/^\/(\d+)\/v1\//.exec(request.url ?? '')?.[1])];
      const { model } = JSON.parse(Buffer.concat(pieces).toString() || '{}') as { model?: string };
      const reply = replies.get(model ?? '');
      if (reply === undefined || quirks === undefined) return void response.writeHead(404).end();
      answer(response, reply, quirks);
    }),
  );
  const url = await http.listen();
  return {
    add: (model, reply) => void replies.set(model, reply),
    baseUrl: (quirks = {}) => `${url}/${ordered.push(quirks) - 1}/v1`,
    sent(model, quirks = {}) {
      const reply = replies.get(model);
      if (reply === undefined) throw new Error(`no reply for ${model}`);
      return changed(reply, quirks);
    },
    close: http.close,
  };
}

/** Belong to the connection that was recorded, not to the reply. */
const NOT_REPLAYED = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'keep-alive',
  'transfer-encoding',
]);

/** Chunks written before the event loop gets a turn: one write a turn would make a long reply take seconds. */
const CHUNKS_PER_TURN = 256;

function answer(response: ServerResponse, reply: Reply, quirks: Quirks): void {
  const headers = Object.fromEntries(
    Object.entries(reply.headers).filter(([name]) => !NOT_REPLAYED.has(name)),
  );
  if (quirks.gzip === true) headers['content-encoding'] = 'gzip';
  response.writeHead(reply.status, headers);
  const plain = changed(reply, quirks);
  const whole = quirks.gzip === true ? gzipSync(plain) : plain;
  const chunks = chunksOf(whole.subarray(0, quirks.diesAt), quirks.chunks);
  let at = 0;
  const turn = (): void => {
    if (response.destroyed) return;
    response.cork();
    for (const end = at + CHUNKS_PER_TURN; at < end && at < chunks.length; at += 1)
      response.write(chunks[at]);
    response.uncork();
    if (at < chunks.length) setImmediate(turn);
    else if (quirks.diesAt === undefined) response.end();
    else response.socket?.destroySoon();
  };
  turn();
}

function chunksOf(bytes: Uint8Array, how: Quirks['chunks'] = 'whole'): readonly Uint8Array[] {
  if (how === 'whole') return [bytes];
  if (how === 'bytes') return oneByOne(bytes);
  return randomChunks(bytes, seeded(how.seed), how.lengthMax);
}

function changed(reply: Reply, quirks: Quirks): Uint8Array {
  const isStream = reply.headers['content-type']?.includes('event-stream') === true;
  if (!isStream) return quirks.usage === 'never' ? withoutUsage(reply.body) : reply.body;
  if (!['crlf', 'comments', 'longLine', 'usage'].some((quirk) => quirk in quirks)) return reply.body;
  let events = eventsOf(textOf([reply.body]));
  if (quirks.usage === 'never') events = events.filter((event) => !tellsUsage(event));
  if (quirks.usage === 'twice')
    events = events.flatMap((event) => (tellsUsage(event) ? [event, event] : [event]));
  if (quirks.longLine === true) events.unshift(LONG_EVENT);
  if (quirks.comments === true) events = events.flatMap((event) => [': keep-alive\n\n', event]);
  const text = events.join('');
  return bytesOf(quirks.crlf === true ? text.replaceAll(/\r?\n/g, '\r\n') : text);
}

const LONG_EVENT = `data: ${JSON.stringify({
  id: 'long',
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta: { content: 'm'.repeat(1024 * 1024) }, finish_reason: null }],
})}\n\n`;

/** The events of a stream with their blank lines; what the end left without one stands as the last. */
export const eventsOf = (text: string): string[] => text.split(/(?<=\n\n|\r\n\r\n)/u);

/** Whether an event's data has a usage that is not null. */
const tellsUsage = (event: string): boolean => {
  const data = dataOf(event);
  return data !== undefined && (data['usage'] ?? null) !== null;
};

/**
 * Whether an event came for its usage alone: it has a usage, no choices, and nothing in any other list. Found in the
 * simplest way there is, to hold the product's own way against.
 */
export function isUsageOnly(event: string): boolean {
  const data = dataOf(event);
  if (data === undefined || (data['usage'] ?? null) === null || (data['error'] ?? null) !== null)
    return false;
  const lists = Object.values(data).filter((value) => Array.isArray(value));
  return Array.isArray(data['choices']) && lists.every((list) => list.length === 0);
}

function dataOf(event: string): Readonly<Record<string, unknown>> | undefined {
  const match = /^data: ?(\{.*\})\s*$/su.exec(event);
  return match === null ? undefined : (JSON.parse(match[1] ?? '') as Record<string, unknown>);
}

function withoutUsage(body: Uint8Array): Uint8Array {
  const { usage: _usage, ...rest } = JSON.parse(textOf([body])) as Record<string, unknown>;
  return bytesOf(JSON.stringify(rest));
}
