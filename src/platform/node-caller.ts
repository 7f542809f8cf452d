/** A caller on Node's own HTTP objects: bytes go straight from the upstream's socket to his. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller, CallerReply } from '../gateway/ports.ts';

/**
 * A caller who takes no byte for this long, milliseconds, while bytes wait for him, has left: what he holds up (the
 * upstream's connection, the open call) goes on without him.
 */
export const STALLED_MS = 60_000;

export function createNodeCaller(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  stalledMs: number = STALLED_MS,
): Caller {
  const { url = '/' } = incoming;
  const query = url.indexOf('?');
  heedEnd(incoming, outgoing);
  return {
    method: incoming.method ?? 'GET',
    path: pathOf(incoming),
    query: query < 0 ? '' : url.slice(query + 1),
    headers: lowerCased(incoming.rawHeaders),
    body: (bytesMax) => readBody(incoming, bytesMax),
    reply: createReply(outgoing, stalledMs),
  };
}

/** The path as it was sent, without the query and the host that a target may name before it. */
export function pathOf({ url = '/' }: IncomingMessage): string {
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  return path.startsWith('/') ? path : path.replace(/^https?:\/\/[^/]*/i, '');
}

/** From a caller's end to the second look whether he still reads, milliseconds; then twice as long each time. */
const PROBE_MS = 50;

/**
 * Told when the caller's side has ended: he has left, or has closed his half and reads on. Before the reply has begun
 * interim responses find out: who still reads passes over them; where nobody does the first brings a reset back, and
 * the second fails by it. Into a reply that has begun nothing can be put, so there he counts as having left.
 */
function heedEnd(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { socket } = incoming;
  let next: NodeJS.Timeout | undefined;
  const probe = (delayMs: number): void => {
    if (outgoing.headersSent || outgoing.destroyed) return;
    outgoing.writeProcessing();
    next = setTimeout(probe, delayMs, 2 * delayMs);
  };
  const ended = (): void => {
    if (outgoing.writableEnded) return;
    if (outgoing.headersSent) outgoing.destroy();
    else if (incoming.httpVersionMinor > 0) probe(PROBE_MS);
  };
  if (socket.readableEnded) ended();
  socket.on('end', ended);
  outgoing.on('close', () => {
    clearTimeout(next);
    socket.off('end', ended);
  });
}

function lowerCased(raw: readonly string[]): string[] {
  const lines = [...raw];
  for (let index = 0; index < lines.length; index += 2) lines[index] = (lines[index] ?? '').toLowerCase();
  return lines;
}

function readBody(incoming: IncomingMessage, bytesMax: number): Promise<Uint8Array | 'too_large' | 'gone'> {
  if (Number(incoming.headers['content-length'] ?? 0) > bytesMax) return Promise.resolve('too_large');
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let length = 0;
    incoming.on('data', (piece: Buffer) => {
      length += piece.length;
      if (length <= bytesMax) {
        pieces.push(piece);
      } else {
        pieces.length = 0;
        resolve('too_large');
      }
    });
    incoming.on('end', () =>
      resolve(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)),
    );
    incoming.on('error', () => resolve('gone'));
    incoming.on('close', () => resolve('gone'));
  });
}

function createReply(outgoing: ServerResponse, stalledMs: number): CallerReply {
  let stalled: NodeJS.Timeout | undefined;
  let written = false;
  const moves = (): void => {
    clearTimeout(stalled);
    stalled = undefined;
  };
  const waits = (): void => {
    stalled ??= setTimeout(() => outgoing.destroy(), stalledMs);
  };
  // Behind the head's bytes it would be a write of nothing, at the price of any other.
  const flushHead = (): void => {
    if (!written && !outgoing.destroyed && !outgoing.writableEnded) outgoing.flushHeaders();
  };
  outgoing.on('close', moves);
  return {
    head(status, headers) {
      outgoing.writeHead(status, headers);
      // The first bytes usually follow at once and carry the head with them; if they do not, it goes alone.
      if (headers['content-length'] === undefined) setImmediate(flushHead);
    },
    write(bytes) {
      written = true;
      const flowing = outgoing.write(bytes);
      if (!flowing) waits();
      return flowing;
    },
    end() {
      outgoing.end();
      if (outgoing.writableLength > 0) waits();
    },
    break() {
      setTimeout(breakConnection, BREAK_AFTER_MS, outgoing);
    },
    onDrain(resume) {
      outgoing.on('drain', () => {
        moves();
        resume();
      });
    },
    onGone(left) {
      if (outgoing.destroyed) left();
      else outgoing.on('close', () => outgoing.writableFinished || left());
    },
  };
}

/**
 * From the last bytes of a broken reply, its error event, to the break. A fetch whose connection breaks drops what it has
 * received and not yet handed on, so that together they would show as a break alone, with no word of why.
 */
const BREAK_AFTER_MS = 100;

/** destroySoon ends the connection after what was written, without the chunk that would say "complete". */
function breakConnection(outgoing: ServerResponse): void {
  outgoing.socket?.destroySoon();
}
