/** A caller behind a `Request`, answered with a `Response`: Workers, and tests without a socket. */
import type { Caller, CallerReply } from '../gateway/ports.ts';

/** The caller, and the response that settles as soon as its head is known. */
export function createFetchCaller(request: Request): {
  readonly caller: Caller;
  readonly response: Promise<Response>;
} {
  const { reply, response } = createReply(request.signal);
  const url = new URL(request.url);
  const caller: Caller = {
    method: request.method,
    path: url.pathname,
    query: url.search.slice(1),
    headers: [...request.headers].flat(),
    body: (bytesMax) => readBody(request, bytesMax),
    reply,
  };
  return { caller, response };
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

/** Bytes that may wait in the response's stream before the upstream is asked to pause: 64 KiB. */
const QUEUE_BYTES_MAX = 64 * 1024;

/** Between a reply's last byte and its breaking off, milliseconds. */
const BREAK_AFTER_MS = 25;

function createReply(signal: AbortSignal): { reply: CallerReply; response: Promise<Response> } {
  const { promise, resolve } = Promise.withResolvers<Response>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let onDrain: (() => void) | undefined;
  let onGone: (() => void) | undefined;
  let over = false;
  let gone = false;
  /** The reader has taken everything and asked for more. */
  let waiting = false;

  const left = (): void => {
    if (over) return;
    over = true;
    gone = true;
    onGone?.();
  };
  signal.addEventListener('abort', left, { once: true });
  const body = new ReadableStream<Uint8Array>(
    {
      start: (started) => void (controller = started),
      pull() {
        waiting = true;
        onDrain?.();
      },
      cancel: left,
    },
    // A mark of 0, so that `pull` means: all was read and the reader waits for more.
    new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
  );
  // An error discards what is still queued, here and at each hop up to the caller, so it waits until all was read.
  const fail = (): void =>
    void setTimeout(() => controller?.error(new Error('The reply broke off.')), BREAK_AFTER_MS);
  const reply: CallerReply = {
    head(status, headers) {
      resolve(new Response(status === 204 || status === 304 ? null : body, { status, headers }));
    },
    write(bytes) {
      if (over || bytes.length === 0) return true;
      waiting = false;
      controller?.enqueue(bytes);
      return (controller?.desiredSize ?? 0) > -QUEUE_BYTES_MAX;
    },
    end() {
      if (over) return;
      over = true;
      controller?.close();
    },
    break() {
      if (over) return;
      over = true;
      if (waiting) fail();
      else onDrain = fail;
    },
    onDrain: (resume) => void (onDrain = resume),
    onGone(told) {
      onGone = told;
      if (gone) told();
    },
  };
  return { reply, response: promise };
}
