/**
 * `npm run prove:planted`: plants each defect and tells after how many lives it is noticed, and by what. A line of JSON for
 * each; exit 1 when one is not. The defect of the disk needs strace: exit 4 where it is missing.
 */
import { hasStrace } from '../crash/gateway-process.ts';
import { provePowerLoss } from '../crash/prove-power-loss.ts';
import { DEFECTS, UNNOTICED_MAX } from './defects.ts';
import { simulate } from './simulate.ts';

let caught = 0;
for (const { name, damage } of DEFECTS) {
  const { failure, lives } = await simulate({ from: 1, seeds: UNNOTICED_MAX, damage });
  if (failure !== undefined) caught += 1;
  console.log(
    JSON.stringify({ defect: name, caught: failure !== undefined, lives, what: failure?.wrong[0] }),
  );
}
const { failure, lives } = await simulate({ from: 1, seeds: UNNOTICED_MAX });
console.log(
  JSON.stringify({ defect: 'none', caught: failure !== undefined, lives, what: failure?.wrong[0] }),
);
let planted = DEFECTS.length;
if (hasStrace()) {
  planted += 1;
  const { lost, images, examples } = await provePowerLoss({
    images: 150,
    seed: 1,
    calls: 20,
    unsynced: true,
  });
  if (lost > 0) caught += 1;
  console.log(
    JSON.stringify({ defect: 'the disk is not waited for', caught: lost > 0, images, what: examples[0] }),
  );
} else {
  console.error(
    'strace is not here, so that the disk is not waited for was not planted: apt-get install strace.',
  );
  process.exitCode = 4;
}
console.log(JSON.stringify({ planted, caught }));
if (caught < planted || failure !== undefined) process.exitCode = 1;
