/** Lives by the thousand, shared out among threads. */
import { Worker } from 'node:worker_threads';
import type { SimulationReport } from './simulate.ts';

export interface ThreadsOptions {
  readonly from: number;
  readonly seeds: number;
  readonly threads: number;
  /** Told now and then of the lives that are over. */
  readonly progress?: ((done: number) => void) | undefined;
}

/** Lives that a thread takes at a time. */
const SHARE = 250;

export async function simulateInThreads(options: ThreadsOptions): Promise<SimulationReport> {
  const { from, seeds, threads, progress } = options;
  const sums = { lives: 0, calls: 0, crashes: 0, events: 0 };
  const failures: NonNullable<SimulationReport['failure']>[] = [];
  let next = from;
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    while (next < from + seeds && failures.length === 0) {
      const share = { from: next, seeds: Math.min(SHARE, from + seeds - next) };
      next += share.seeds;
      const report = await answerOf(worker, share);
      for (const name of ['lives', 'calls', 'crashes', 'events'] as const) sums[name] += report[name];
      if (report.failure !== undefined) failures.push(report.failure);
      progress?.(sums.lives);
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: threads }, work));
  return { ...sums, failure: failures.toSorted((a, b) => a.seed - b.seed)[0] };
}

const answerOf = (worker: Worker, share: { from: number; seeds: number }): Promise<SimulationReport> =>
  new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (report: SimulationReport) => {
      worker.off('error', reject);
      resolve(report);
    });
    worker.postMessage(share);
  });
