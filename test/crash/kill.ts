/**
 * `npm run prove:kill -- --kills 200 --seed 1`, at random moments; with `--writes` at the first system call that writes to
 * the disk, the second, and so on, which takes strace. One line of JSON on stdout; exit 1 and the offending calls on stderr.
 */
import { parseArgs } from 'node:util';
import { hasStrace } from './gateway-process.ts';
import { proveKills } from './prove-kill.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    lanes: { type: 'string', default: '16' },
    writes: { type: 'boolean', default: false },
  },
});
const SHOWN_MAX = 50;
if (values.writes && !hasStrace()) {
  console.error('strace is not here: install it (Debian: apt-get install strace) and run this again.');
  process.exit(4);
}

const { problems, failures, ...summary } = await proveKills({
  kills: Number(values.kills),
  seed: Number(values.seed),
  lanes: Number(values.lanes),
  ...(values.writes ? { moments: ['writing'] as const } : {}),
  progress: (done) => {
    if (done % 20 === 0) console.error(`${done} kills`);
  },
});
console.log(JSON.stringify({ ...summary, problems: problems.length, failures: failures.length }));
for (const { kind, about, what } of problems.slice(0, SHOWN_MAX)) console.error(`${kind}: ${about}: ${what}`);
for (const failure of failures.slice(0, SHOWN_MAX)) console.error(failure);
if (problems.length + failures.length > 0) {
  console.error(
    `${problems.length > 0 ? 'The books do not agree' : 'The books agree, but not all went as it should'}. Again with: npm run prove:kill -- --kills ${values.kills} --seed ${values.seed}${values.writes ? ' --writes' : ''}`,
  );
  process.exitCode = 1;
}
