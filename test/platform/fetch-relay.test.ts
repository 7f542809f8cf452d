import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ReplySink, UpstreamFailure } from '../../src/gateway/ports.ts';
import { createFetchRelay } from '../../src/platform/fetch-relay.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

const REQUEST = { url: 'https://acme.test/v1', method: 'POST', headers: {}, body: null } as const;
const TIMEOUTS = { connectMs: 1_000, firstByteMs: 1_000, idleMs: 1_000, totalMs: 1_000 };

interface Told {
  headers: Readonly<Record<string, string>>;
  text: string;
  ended: boolean;
  failure: UpstreamFailure | undefined;
}

/** What the sink is told of a reply, where fetch gives it as workerd does: bytes and header as they came. */
async function told(reply: (signal: AbortSignal) => Response, timeouts = TIMEOUTS): Promise<Told> {
  vi.stubGlobal('fetch', async (_url: string, { signal }: { signal: AbortSignal }) => reply(signal));
  const seen: Told = { headers: {}, text: '', ended: false, failure: undefined };
  const decoder = new TextDecoder();
  const sink: ReplySink = {
    head: (_status, headers) => void (seen.headers = headers),
    chunk: (bytes) => ((seen.text += decoder.decode(bytes, { stream: true })), true),
    end: () => void (seen.ended = true),
    fail: (failure) => void (seen.failure = failure),
  };
  const over: Promise<unknown>[] = [];
  createFetchRelay({ defer: (work) => void over.push(work) }).send(REQUEST, sink, timeouts);
  await Promise.all(over);
  return seen;
}

const replyOf = (body: BodyInit, encoding: string) => () =>
  new Response(body, { headers: { 'content-encoding': encoding } });
const zipped = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(gzipSync(text));

/** A reply without an end, a byte every 400 ms. */
function talking(signal: AbortSignal): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const timer = setInterval(() => controller.enqueue(new Uint8Array(1)), 400);
      signal.addEventListener('abort', () => {
        clearInterval(timer);
        controller.error(signal.reason);
      });
    },
  });
  return new Response(body);
}

describe('the relay on Workers', () => {
  it.each(['GZIP', 'Gzip', 'x-gzip'])('undoes %s, which fetch leaves', async (encoding) => {
    const seen = await told(replyOf(zipped('the reply'), encoding));
    expect(seen).toEqual({ headers: {}, text: 'the reply', ended: true, failure: undefined });
  });

  it.each(['gzip', 'br'])('takes bytes of %s for what fetch has made of them', async (encoding) => {
    const seen = await told(replyOf('the reply', encoding));
    expect(seen).toEqual({
      headers: { 'content-type': 'text/plain;charset=UTF-8' },
      text: 'the reply',
      ended: true,
      failure: undefined,
    });
  });

  it.each(['BR', 'zstd', 'gzip, gzip'])('leaves %s to be refused', async (encoding) => {
    expect((await told(replyOf('x', encoding))).headers['content-encoding']).toBe(encoding);
  });

  it('tells a compressed reply that is cut from a whole one', async () => {
    const cut = zipped('the reply').slice(0, -6);
    expect(await told(replyOf(cut, 'GZIP'))).toMatchObject({ ended: false, failure: { kind: 'broken' } });
  });

  it('says that a reply took too long where it was never silent', async () => {
    vi.useFakeTimers();
    try {
      const seen = told(talking, { ...TIMEOUTS, totalMs: 5_000 });
      await vi.advanceTimersByTimeAsync(6_000);
      expect((await seen).failure).toMatchObject({ kind: 'timeout', message: 'took longer than 5000 ms' });
    } finally {
      vi.useRealTimers();
    }
  });
});
