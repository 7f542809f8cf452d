/** `npm run prove:kill -- --kills 200 --seed 1`: one line of JSON on stdout; exit 1 and the offending calls on stderr. */
import { parseArgs } from 'node:util';
import { proveKills } from './prove-kill.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    lanes: { type: 'string', default: '16' },
  },
});
const SHOWN_MAX = 50;

const { problems, failures, ...summary } = await proveKills({
  kills: Number(values.kills),
  seed: Number(values.seed),
  lanes: Number(values.lanes),
  progress: (done) => {
    if (done % 20 === 0) console.error(`${done} kills`);
  },
});
console.log(JSON.stringify({ ...summary, problems: problems.length, failures: failures.length }));
for (const { kind, about, what } of problems.slice(0, SHOWN_MAX)) console.error(`${kind}: ${about}: ${what}`);
for (const failure of failures.slice(0, SHOWN_MAX)) console.error(failure);
if (problems.length + failures.length > 0) {
  console.error(
    `The books do not agree. Again with: npm run prove:kill -- --kills ${values.kills} --seed ${values.seed}`,
  );
  process.exitCode = 1;
}
