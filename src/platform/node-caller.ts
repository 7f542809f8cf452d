/** A caller on Node's own HTTP objects: bytes go straight from the upstream's socket to his. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller, CallerReply } from '../gateway/ports.ts';

export function createNodeCaller(incoming: IncomingMessage, outgoing: ServerResponse): Caller {
  const url = incoming.url ?? '/';
  const query = url.indexOf('?');
  return {
    method: incoming.method ?? 'GET',
    path: query < 0 ? url : url.slice(0, query),
    headers: lowerCased(incoming.rawHeaders),
    body: (bytesMax) => readBody(incoming, bytesMax),
    reply: createReply(outgoing),
  };
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

function createReply(outgoing: ServerResponse): CallerReply {
  return {
    head(status, headers) {
      outgoing.writeHead(status, headers);
      // The first bytes usually follow at once and carry the head with them; if they do not, it goes alone.
      if (headers['content-length'] === undefined) setImmediate(flushHead, outgoing);
    },
    write: (bytes) => outgoing.write(bytes),
    end: () => void outgoing.end(),
    break() {
      // destroySoon ends the connection after what was written, without the chunk that would say "complete". What was
      // written in this tick is corked until the next, and would be lost.
      process.nextTick(() => outgoing.socket?.destroySoon());
    },
    onDrain: (resume) => void outgoing.on('drain', resume),
    onGone(left) {
      if (outgoing.destroyed) left();
      else outgoing.on('close', () => outgoing.writableFinished || left());
    },
  };
}

function flushHead(outgoing: ServerResponse): void {
  if (!outgoing.destroyed && !outgoing.writableEnded) outgoing.flushHeaders();
}
