import { describe, expect, it } from 'vitest';
import { openDisk } from './disk.ts';
import { live, type LifeReport } from './life.ts';
import { simulateInThreads } from './threads.ts';

/** More: `npm run prove:simulation -- --seeds 100000`. */
const SEEDS = 5_000;

async function hashOf(seed: number): Promise<LifeReport> {
  const disk = await openDisk();
  const report = await live({ seed, disk });
  disk.close();
  return report;
}

describe('the whole path, from the provider to Stripe', () => {
  it(`counts every token once, in ${SEEDS} random lives`, async () => {
    const report = await simulateInThreads({ from: 1, seeds: SEEDS, threads: 2 });
    const again = `npm run prove:simulation -- --seed ${report.failure?.seed}`;
    expect(report.failure?.wrong ?? [], again).toEqual([]);
    expect(report).toMatchObject({ lives: SEEDS });
    // Lives in which nothing happens would prove nothing.
    expect(report.crashes).toBeGreaterThan(SEEDS / 2);
    expect(report.events).toBeGreaterThan(SEEDS * 5);
  }, 300_000);

  it('goes the same way again for the same seed, whatever was lived before', async () => {
    for (const seed of [3, 75, 242]) {
      const [once, again] = [await hashOf(seed), await hashOf(seed)];
      expect(again.hash).toBe(once.hash);
    }
    const disk = await openDisk();
    for (let seed = 70; seed < 75; seed += 1) await live({ seed, disk });
    const { hash } = await live({ seed: 75, disk });
    disk.close();
    expect(hash).toBe((await hashOf(75)).hash);
  });

  it('goes another way for another seed', async () => {
    expect((await hashOf(3)).hash).not.toBe((await hashOf(4)).hash);
  });
});
