/** The relay on Node, against a server that says to the byte what lies in which write. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Flow, ReplySink, UpstreamFailure } from '../../src/gateway/ports.ts';
import { createUndiciRelay, type NodeRelay } from '../../src/platform/undici-relay.ts';

const TIMEOUTS = { connectMs: 5_000, firstByteMs: 5_000, idleMs: 5_000, totalMs: 20_000 };
const HEAD = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const END = '0\r\n\r\n';
const piece = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

const servers: Server[] = [];
const relays: NodeRelay[] = [];
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.abort();
  for (const server of servers.splice(0)) server.close();
});

/** What the sink was told, in order. */
interface Told {
  readonly chunks: string[];
  readonly ended: Promise<UpstreamFailure | undefined>;
  readonly flow: Flow;
}

async function send(
  answer: (socket: Socket) => void,
  take: (bytes: string, flow: () => Flow) => boolean = () => true,
): Promise<Told> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const chunks: string[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<UpstreamFailure | undefined>();
  const sink: ReplySink = {
    head: () => undefined,
    chunk(bytes) {
      const text = Buffer.from(bytes).toString('latin1');
      chunks.push(text);
      return take(text, () => flow);
    },
    end: () => resolve(undefined),
    fail: resolve,
  };
  const relay = createUndiciRelay();
  relays.push(relay);
  const { port } = server.address() as AddressInfo;
  const request = { method: 'POST', url: `http://127.0.0.1:${port}/`, headers: {}, body: null } as const;
  const flow = relay.send(request, sink, TIMEOUTS);
  return { chunks, ended, flow };
}

describe('the relay on Node', () => {
  it('hands on what one read brought as one chunk, to the byte', async () => {
    const words = Array.from({ length: 50 }, (_, index) => `data: ${index}\n\n`);
    const { chunks, ended } = await send((socket) => socket.write(HEAD + words.map(piece).join('') + END));
    expect(await ended).toBeUndefined();
    expect(chunks).toEqual([words.join('')]);
  });

  it('keeps nothing back for what may come', async () => {
    const seen = Promise.withResolvers<void>();
    const { chunks, ended } = await send(
      (socket) => {
        socket.write(HEAD + piece('one') + piece('two'));
        void seen.promise.then(() => socket.write(piece('three') + END));
      },
      () => {
        seen.resolve();
        return true;
      },
    );
    expect(await ended).toBeUndefined();
    expect(chunks).toEqual(['onetwo', 'three']);
  });

  it('hands on what came before a break', async () => {
    const { chunks, ended } = await send((socket) => socket.end(HEAD + piece('one') + piece('two')));
    expect((await ended)?.kind).toBe('broken');
    expect(chunks.join('')).toBe('onetwo');
  });

  it('reads no further for a sink that asks it to wait, and goes on where it stopped', async () => {
    const text = piece('x'.repeat(65_536));
    const pieces = 200;
    let written = 0;
    let waits = true;
    const { chunks, ended, flow } = await send(
      (socket) => {
        socket.write(HEAD);
        const more = (): void => {
          while (written < pieces) {
            written += 1;
            if (!socket.write(text)) return void socket.once('drain', more);
          }
          socket.end(END);
        };
        more();
      },
      () => !waits,
    );
    await pause(300);
    const taken = chunks.join('').length;
    expect(taken).toBeGreaterThan(0);
    // What was read with it, and what the socket's own buffer holds; the rest waits in the kernel.
    expect(taken).toBeLessThan(1_048_576);
    expect(written).toBeLessThan(pieces);
    waits = false;
    flow.resume();
    expect(await ended).toBeUndefined();
    expect(chunks.join('').length).toBe(pieces * 65_536);
  });

  it('tells a sink that was aborted nothing more, not even what was read', async () => {
    const { chunks, ended, flow } = await send(
      (socket) => socket.write(HEAD + piece('one')),
      (_bytes, own) => {
        own().abort();
        return true;
      },
    );
    await Promise.race([ended, pause(200)]);
    expect(chunks).toEqual(['one']);
    expect(flow.sent()).toBe(true);
  });

  it.each(['', END])('breaks the reply off where its sink fails, with %j behind it', async (end) => {
    const { ended } = await send(
      (socket) => socket.write(HEAD + piece('one') + end),
      () => {
        throw new RangeError('no room');
      },
    );
    expect((await ended)?.kind).toBe('broken');
  });
});
