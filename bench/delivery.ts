/**
 * `npm run bench:delivery -- [events]`: events a second, from settled lines in a real file through the stream to the
 * simulator in another process, and the CPU of each: sealing, ledger and sending together, both threads.
 */
import { proveBacklog } from './backlog.ts';

const report = await proveBacklog({ events: Number(process.argv[2] ?? 100_000) });
console.log(
  `${String(report.events)} events: ${String(report.eventsPerSecond)} a second, ` +
    `${String(report.cpuMicrosecondsPerEvent)} us CPU each, and ${String(report.simulatorCpuMicrosecondsPerEvent)} us of the simulator's`,
);
if (report.differences > 0 || report.surplus !== 0) {
  console.error('Stripe does not have what the ledger had.');
  process.exitCode = 1;
}
