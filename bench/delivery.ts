/**
 * `npm run bench:delivery -- [events] [stream|v2|v1]`: events a second, from settled lines in a real file to the simulator
 * in another process, by the stream unless said otherwise, and the CPU of each: sealing, ledger and sending together, both threads.
 */
import { proveBacklog } from './backlog.ts';

const [events = '100000', named = 'stream'] = process.argv.slice(2);
const way = named === 'v2' || named === 'v1' ? named : 'stream';
const report = await proveBacklog({ events: Number(events), way });
console.log(
  `${String(report.events)} events by ${way}: ${String(report.eventsPerSecond)} a second, ` +
    `${String(report.cpuMicrosecondsPerEvent)} us CPU each, and ${String(report.simulatorCpuMicrosecondsPerEvent)} us of the simulator's`,
);
if (report.differences > 0 || report.surplus !== 0) {
  console.error('Stripe does not have what the ledger had.');
  process.exitCode = 1;
}
