import { expect, it } from 'vitest';
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
