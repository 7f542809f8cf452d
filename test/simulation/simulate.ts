/** Many lives, one after the other, on one disk. */
import type { Damage } from './gateway.ts';
import { live, type LifeReport } from './life.ts';
import { openDisk } from './disk.ts';

export interface SimulationOptions {
  readonly from: number;
  readonly seeds: number;
  readonly damage?: Damage | undefined;
  readonly progress?: ((done: number) => void) | undefined;
}

export interface SimulationReport {
  readonly lives: number;
  readonly calls: number;
  readonly crashes: number;
  readonly events: number;
  /** The first life that went wrong. */
  readonly failure: LifeReport | undefined;
}

export async function simulate({
  from,
  seeds,
  damage,
  progress,
}: SimulationOptions): Promise<SimulationReport> {
  const disk = await openDisk();
  // A Stripe error that is thrown thousands of times need not know from where.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const sums = { lives: 0, calls: 0, crashes: 0, events: 0 };
  let failure: LifeReport | undefined;
  try {
    for (let seed = from; seed < from + seeds && failure === undefined; seed += 1) {
      const report = await live({ seed, disk, damage });
      sums.lives += 1;
      sums.calls += report.calls;
      sums.crashes += report.crashes;
      sums.events += report.events;
      if (report.wrong.length > 0) failure = report;
      progress?.(sums.lives);
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    disk.close();
  }
  return { ...sums, failure };
}
