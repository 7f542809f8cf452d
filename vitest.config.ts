import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['default', './test/support/closing-line.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Two at the least: half of the longest files' time is spent waiting, for disks and for processes that were killed.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
