import { expect, it } from 'vitest';
import { openai } from '../../providers/openai.ts';
import type { Target } from '../../src/gateway/resolve.ts';
import { createUpstreamHealth, type UpstreamHealth } from '../../src/gateway/upstream-health.ts';

const target = (name: string): Target => ({
  route: {
    upstream: { name, type: 'openai', baseUrl: 'http://x', apiKey: null, asksUsage: true },
    provider: openai,
    endpoints: undefined,
    timeouts: { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 },
  },
  upstreamModel: 'm',
  billedModel: `${name}/m`,
});
const A = target('a');
const B = target('b');

const opened = (answered = false, failuresMax = 3): UpstreamHealth => {
  const health = createUpstreamHealth({ failuresMax, openMsMax: 4_000 });
  for (let left = failuresMax; left > 0; left -= 1) health.failed(A, { nowMs: 0, answered });
  return health;
};

it('opens after so many failures in a row, and says so once', () => {
  const health = createUpstreamHealth({ failuresMax: 3, openMsMax: 4_000 });
  const fail = (): boolean => health.failed(A, { nowMs: 0, answered: true });
  expect([fail(), fail()]).toEqual([false, false]);
  health.worked(A);
  expect([fail(), fail(), fail(), fail()]).toEqual([false, false, true, false]);
  expect(health.isOpen(A)).toBe(true);
  expect(health.isOpen(B)).toBe(false);
});

it('sends calls to another target while it is open', () => {
  const health = opened();
  expect(health.choose([A, B], 500)).toBe(1);
  expect(health.choose([B, A], 500)).toBe(0);
});

it('lets one call try it when its time is over, and the others when that has worked', () => {
  const health = opened();
  expect(health.willing(A, 999)).toBe(false);
  expect(health.willing(A, 1_000)).toBe(true);
  expect(health.willing(A, 1_001)).toBe(false);
  health.worked(A);
  expect(health.willing(A, 1_002)).toBe(true);
});

it('stays open for twice as long after each try that failed, up to its most', () => {
  const health = opened();
  let nowMs = 0;
  const waits: number[] = [];
  for (let tries = 0; tries < 4; tries += 1) {
    const from = nowMs;
    while (!health.willing(A, nowMs)) nowMs += 100;
    waits.push(nowMs - from);
    health.failed(A, { nowMs, answered: false });
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 4_000]);
});

it('is tried again though a call that tried it never came back', () => {
  const health = opened();
  expect(health.willing(A, 1_000)).toBe(true);
  expect(health.willing(A, 2_999)).toBe(false);
  expect(health.willing(A, 3_000)).toBe(true);
});

it('is not held back longer by calls that were under way when it opened', () => {
  const health = opened();
  health.failed(A, { nowMs: 900, answered: false });
  expect(health.willing(A, 1_000)).toBe(true);
});

it('holds back the only target where it does not answer at all, and says for how long', () => {
  expect(opened(false).choose([A], 400)).toEqual({ heldMs: 600, target: A });
});

it('asks the only target all the same where it answers, as its own error says most', () => {
  expect(opened(true).choose([A], 400)).toBe(0);
});

it('is not held back for as long as the clock was set back meanwhile', () => {
  const nowMs = 3_600_000;
  const health = createUpstreamHealth({ failuresMax: 1, openMsMax: 4_000 });
  health.failed(A, { nowMs, answered: false });
  expect(health.choose([A], nowMs + 1)).toEqual({ heldMs: 999, target: A });
  expect(health.choose([A], 0)).toBe(0);
  // That was the one call that may try it: for the others its time begins again.
  expect(health.choose([A], 1)).toMatchObject({ target: A });
});
