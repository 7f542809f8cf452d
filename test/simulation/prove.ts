/**
 * `npm run prove:simulation -- --seeds 100000 --from 1`: so many lives, on every core. One line of JSON on stdout; for a
 * life that went wrong exit 1, its seed, and what was wrong. `--seed N` lives that one again, step by step.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { openDisk } from './disk.ts';
import { live } from './life.ts';
import { simulateInThreads } from './threads.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '5000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});

/** Ten times in a long run. */
const TOLD = Math.max(1, Math.floor(Number(values.seeds) / 10));

async function again(seed: number): Promise<void> {
  const disk = await openDisk();
  const { trace, wrong, hash } = await live({ seed, disk, keeps: true });
  disk.close();
  for (const line of trace) console.log(line);
  console.log(JSON.stringify({ seed, hash, wrong }));
  if (wrong.length > 0) process.exitCode = 1;
}

async function many(): Promise<void> {
  const beganMs = performance.now();
  const beganCpu = process.cpuUsage();
  let toldAt = 0;
  const { failure, ...report } = await simulateInThreads({
    from: Number(values.from),
    seeds: Number(values.seeds),
    threads: Number(values.threads),
    progress(done) {
      if (done - toldAt < TOLD) return;
      toldAt = done;
      console.error(`${done} lives`);
    },
  });
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
  const { user, system } = process.cpuUsage(beganCpu);
  const cpuSeconds = Math.round((user + system) / 100_000) / 10;
  console.log(
    JSON.stringify({
      from: Number(values.from),
      ...report,
      seconds,
      cpuSeconds,
      failures: failure === undefined ? 0 : 1,
    }),
  );
  if (failure === undefined) return;
  for (const what of failure.wrong) console.error(what);
  console.error(`Again with: npm run prove:simulation -- --seed ${failure.seed}`);
  process.exitCode = 1;
}

await (values.seed === undefined ? many() : again(Number(values.seed)));
