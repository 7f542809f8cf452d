/** A caller behind a `Request`, answered with a `Response`: Workers, and tests without a socket. */
import type { Caller } from '../gateway/ports.ts';
import { FetchReply } from './fetch-reply.ts';

/**
 * A caller who takes no byte for this long, milliseconds, while the upstream waits for him, has left: what he holds up
 * goes on without him.
 */
export const STALLED_MS = 60_000;

/** The caller, and the response that settles as soon as its head is known. */
export function createFetchCaller(
  request: Request,
  stalledMs: number = STALLED_MS,
): {
  readonly caller: Caller;
  readonly response: Promise<Response>;
} {
  const reply = new FetchReply(request.signal, stalledMs);
  const url = new URL(request.url);
  const caller: Caller = {
    method: request.method,
    path: url.pathname,
    query: url.search.slice(1),
    headers: [...request.headers].flat(),
    body: (bytesMax) => readBody(request, bytesMax),
    reply,
  };
  return { caller, response: reply.response };
}

/**
 * Past the limit so many bytes are still read, and dropped: who is answered before he has sent everything often sees a
 * broken connection instead of the answer. 128 MiB is more than Cloudflare lets through on most plans.
 */
const DROPPED_BYTES_MAX = 128 * 1024 * 1024;

async function readBody(request: Request, bytesMax: number): Promise<Uint8Array | 'too_large' | 'gone'> {
  if (Number(request.headers.get('content-length') ?? 0) > DROPPED_BYTES_MAX) return 'too_large';
  if (request.body === null) return new Uint8Array();
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = request.body.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      length += read.value.length;
      if (length <= bytesMax) pieces.push(read.value);
      else pieces.length = 0;
      if (length <= DROPPED_BYTES_MAX) continue;
      await reader.cancel();
      break;
    }
  } catch {
    return 'gone';
  }
  return length > bytesMax ? 'too_large' : joined(pieces, length);
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const only = pieces.length === 1 ? pieces[0] : undefined;
  if (only !== undefined) return only;
  const all = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    all.set(piece, offset);
    offset += piece.length;
  }
  return all;
}
