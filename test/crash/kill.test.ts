import { expect, it } from 'vitest';
import { hasStrace } from './gateway-process.ts';
import { proveKills } from './prove-kill.ts';

/** Printed with a failure, so that the same lot can be drawn again. */
const seed = Date.now() % 1_000_000;

it('loses no call, doubles none and bills cut calls by their evidence through 8 kills under load', async () => {
  const { problems, failures, ...summary } = await proveKills({ kills: 8, seed });
  expect({ seed, problems, failures }).toEqual({ seed, problems: [], failures: [] });
  // The proof says nothing unless there was something to lose.
  expect(summary.complete).toBeGreaterThan(20);
  expect(summary.outcomes['recovered'] ?? 0).toBeGreaterThan(0);
});

/** Where the system calls of a process cannot be stopped, on a machine without strace, this shows nothing. */
it.skipIf(!hasStrace())(
  'loses and doubles nothing when it dies at any of the first writes of its lives',
  async () => {
    const { problems, failures } = await proveKills({ kills: 6, seed, moments: ['writing'] });
    expect({ seed, problems, failures }).toEqual({ seed, problems: [], failures: [] });
  },
);
