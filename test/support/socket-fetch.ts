/**
 * `fetch` over a connection of its own, which gives every byte that came before a connection broke: Node's fetch drops
 * what was not read by then.
 */
import { request, type IncomingMessage } from 'node:http';

export function socketFetch(url: URL, init: RequestInit = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    const headers = Object.fromEntries(new Headers(init.headers));
    const body = typeof init.body === 'string' ? Buffer.from(init.body) : undefined;
    if (body !== undefined) headers['content-length'] = String(body.length);
    const outgoing = request(url, {
      method: init.method ?? 'GET',
      headers,
      agent: false,
      ...(init.signal == null ? {} : { signal: init.signal }),
    });
    // After an early answer the rest of the body cannot be written: that is no failure of the request.
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => resolve(responseOf(incoming)));
    outgoing.end(body);
  });
}

function responseOf(incoming: IncomingMessage): Response {
  const pieces: (Uint8Array | 'end' | Error)[] = [];
  let wake: (() => void) | undefined;
  const push = (piece: Uint8Array | 'end' | Error): void => {
    pieces.push(piece);
    wake?.();
  };
  incoming.on('data', (piece: Buffer) => push(new Uint8Array(piece)));
  incoming.on('end', () => push('end'));
  incoming.on('error', push);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      while (pieces.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const piece = pieces.shift();
      if (piece === 'end') controller.close();
      else if (piece instanceof Uint8Array) controller.enqueue(piece);
      else controller.error(piece);
    },
    cancel: () => void incoming.destroy(),
  });
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  return new Response(body, { status: incoming.statusCode ?? 0, headers });
}
