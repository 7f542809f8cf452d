import { expect, it } from 'vitest';
import { hasStrace } from './gateway-process.ts';
import { provePowerLoss } from './prove-power-loss.ts';

const seed = Date.now() % 1_000_000;

it.skipIf(!hasStrace())('has on every disk a power loss can leave what anybody was told', async () => {
  const report = await provePowerLoss({ images: 150, seed, calls: 20 });
  expect(report).toMatchObject({ seed, lost: 0, damaged: 0, examples: [] });
  expect(report.syncs).toBeGreaterThan(20);
});

it.skipIf(!hasStrace())('would be caught if it did not wait for the disk', async () => {
  const report = await provePowerLoss({ images: 150, seed, calls: 20, unsynced: true });
  expect(report.lost).toBeGreaterThan(0);
});
