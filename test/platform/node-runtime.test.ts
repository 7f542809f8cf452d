import { describe, expect, it } from 'vitest';
import { createNodeCrypto } from '../../src/platform/crypto.ts';
import { createIds } from '../../src/platform/ids.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';

describe('an identifier', () => {
  it('is 26 characters that sort by the time it was made', () => {
    let nowMs = 1_800_000_000_000;
    const id = createIds(
      () => nowMs,
      (bytes) => new Uint8Array(bytes).fill(7),
    );
    const early = id();
    nowMs += 1;
    expect(early).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
    expect(id() > early).toBe(true);
  });

  it('rises within a millisecond, while the clock runs backwards, and past the end of its random part', () => {
    let nowMs = 1_800_000_000_000;
    const id = createIds(
      () => nowMs,
      (bytes) => new Uint8Array(bytes).fill(255),
    );
    const made = Array.from({ length: 1000 }, () => {
      nowMs -= 1;
      return id();
    });
    expect(made).toEqual([...made].sort());
    expect(new Set(made).size).toBe(1000);
  });
});

describe('the log', () => {
  it('is one JSON object a line', () => {
    const lines: string[] = [];
    const runtime = createNodeRuntime({ json: true, write: (line) => lines.push(line), now: () => 0 });
    runtime.log('info', 'hello', { name: 'two\nlines', count: 2 });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.indexOf('\n')).toBe((lines[0]?.length ?? 0) - 1);
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      level: 'info',
      event: 'hello',
      name: 'two\nlines',
      count: 2,
    });
  });

  it('tells of deferred work that failed', async () => {
    const lines: string[] = [];
    const runtime = createNodeRuntime({ json: false, write: (line) => lines.push(line) });
    runtime.defer(Promise.reject(new Error('boom')));
    await new Promise((resolve) => setImmediate(resolve));
    expect(lines.join('')).toContain('boom');
  });
});

describe('the cryptography', () => {
  it('hashes as the standard says and compares whole strings', () => {
    const crypto = createNodeCrypto();
    expect(crypto.sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(crypto.equal('é', 'é')).toBe(true);
    expect(crypto.equal('a', 'b')).toBe(false);
    expect(crypto.equal('a', 'ab')).toBe(false);
    expect(crypto.random(25)).toHaveLength(25);
  });
});
