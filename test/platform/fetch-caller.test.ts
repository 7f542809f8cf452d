import { describe, expect, it, vi } from 'vitest';
import type { Caller } from '../../src/gateway/ports.ts';
import { createFetchCaller } from '../../src/platform/fetch-caller.ts';

const request = (): Request => new Request('http://gateway.test/v1/chat/completions');
const bytes = (length: number): Uint8Array => new Uint8Array(length);

/** A reply whose head is given, with its response. */
async function answering(stalledMs: number): Promise<{ caller: Caller; response: Response }> {
  const { caller, response } = createFetchCaller(request(), stalledMs);
  caller.reply.head(200, {});
  return { caller, response: await response };
}

describe('a caller behind a Request', () => {
  it('who takes no bytes while the upstream waits for him has left, and his reply is an error', async () => {
    const { caller, response } = await answering(20);
    const { promise: left, resolve } = Promise.withResolvers<void>();
    caller.reply.onGone(resolve);
    expect(caller.reply.write(bytes(65_536))).toBe(false);
    await left;
    expect(caller.reply.write(bytes(65_536))).toBe(true);
    await expect(response.arrayBuffer()).rejects.toThrow('took no bytes');
  });

  it('who reads on, however slowly, has not left', async () => {
    vi.useFakeTimers();
    try {
      const { caller, response } = await answering(1_000);
      const left = vi.fn();
      caller.reply.onGone(left);
      for (let n = 0; n < 4; n += 1) caller.reply.write(bytes(65_536));
      const reader = response.body!.getReader();
      for (let n = 0; n < 4; n += 1) {
        await vi.advanceTimersByTimeAsync(900);
        await reader.read();
      }
      expect(left).not.toHaveBeenCalled();
      expect(caller.reply.write(bytes(65_536))).toBe(false);
      await vi.advanceTimersByTimeAsync(2_000);
      expect(left).toHaveBeenCalledOnce();
    } finally {
      vi.useRealTimers();
    }
  });

  it('who has taken everything may be silent for as long as the upstream is', async () => {
    vi.useFakeTimers();
    try {
      const { caller, response } = await answering(1_000);
      const left = vi.fn();
      caller.reply.onGone(left);
      caller.reply.write(bytes(65_536));
      const reader = response.body!.getReader();
      await reader.read();
      void reader.read();
      await vi.advanceTimersByTimeAsync(5_000);
      expect(left).not.toHaveBeenCalled();
    } finally {
      vi.useRealTimers();
    }
  });

  it.each([204, 205, 304])('gets a reply of status %i without its body', async (status) => {
    const { caller, response } = createFetchCaller(request());
    caller.reply.head(status, {});
    expect(caller.reply.write(bytes(100_000))).toBe(true);
    caller.reply.end();
    expect((await response).status).toBe(status);
    expect((await response).body).toBeNull();
  });

  it.each([101, 199, 600, 999])('gets 502 for a status of %i, which no reply can have', async (status) => {
    const { caller, response } = createFetchCaller(request());
    caller.reply.head(status, { 'content-type': 'application/json' });
    caller.reply.write(new TextEncoder().encode('{}'));
    caller.reply.end();
    const reply = await response;
    expect(reply.status).toBe(502);
    expect(reply.headers.get('x-faregate-error')).toBe('upstream_error');
    expect(await reply.text()).toBe('{}');
  });

  it('gets 500 where the reply cannot be made, and counts as having left', async () => {
    const { caller, response } = createFetchCaller(request());
    const { promise: left, resolve } = Promise.withResolvers<void>();
    caller.reply.onGone(resolve);
    caller.reply.head(200, { 'not a name': 'x' });
    const reply = await response;
    expect(reply.status).toBe(500);
    expect(await reply.json()).toMatchObject({ error: { code: 'internal_error' } });
    await left;
  });
});
