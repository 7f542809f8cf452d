import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createFlushLoop } from '../../src/platform/flush-loop.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** A loop whose passes end when told to. */
function slowLoop() {
  const ends: PromiseWithResolvers<number | undefined>[] = [];
  const failures: unknown[] = [];
  const loop = createFlushLoop(
    () => {
      const end = Promise.withResolvers<number | undefined>();
      ends.push(end);
      return end.promise;
    },
    (error) => failures.push(error),
  );
  return { loop, ends, failures };
}

it('makes a pass at the start, and another as soon as it is woken', async () => {
  const { loop, ends } = slowLoop();
  await vi.advanceTimersByTimeAsync(0);
  ends[0]!.resolve(undefined);
  await vi.advanceTimersByTimeAsync(100);
  expect(ends).toHaveLength(1);
  loop.wake();
  await vi.advanceTimersByTimeAsync(20);
  expect(ends).toHaveLength(2);
});

it('makes another pass at once when it was woken while one ran', async () => {
  const { loop, ends } = slowLoop();
  await vi.advanceTimersByTimeAsync(0);
  loop.wake();
  await vi.advanceTimersByTimeAsync(500);
  expect(ends).toHaveLength(1);
  ends[0]!.resolve(undefined);
  await vi.advanceTimersByTimeAsync(0);
  expect(ends).toHaveLength(2);
  ends[1]!.resolve(undefined);
  await vi.advanceTimersByTimeAsync(0);
  loop.wake();
  await vi.advanceTimersByTimeAsync(20);
  expect(ends).toHaveLength(3);
});

it('comes back a second after a pass that failed', async () => {
  const { ends, failures } = slowLoop();
  await vi.advanceTimersByTimeAsync(0);
  ends[0]!.reject(new Error('no disk'));
  await vi.advanceTimersByTimeAsync(999);
  expect([ends.length, failures.length]).toEqual([1, 1]);
  await vi.advanceTimersByTimeAsync(1);
  expect(ends).toHaveLength(2);
});
