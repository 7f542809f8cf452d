/** `npm run prove:power -- --images 3000 --seed 1`: one line of JSON on stdout; exit 1 when anything was lost. Takes strace. */
import { parseArgs } from 'node:util';
import { hasStrace } from './gateway-process.ts';
import { provePowerLoss } from './prove-power-loss.ts';

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '3000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    calls: { type: 'string', default: '60' },
    unsynced: { type: 'boolean', default: false },
  },
});
if (hasStrace()) {
  const { images, seed, calls, unsynced } = values;
  const report = await provePowerLoss({
    images: Number(images),
    seed: Number(seed),
    calls: Number(calls),
    unsynced,
  });
  console.log(JSON.stringify(report));
  process.exitCode = report.lost + report.damaged > 0 ? 1 : 0;
} else {
  console.error('strace is not here: install it (Debian: apt-get install strace) and run this again.');
  process.exitCode = 4;
}
