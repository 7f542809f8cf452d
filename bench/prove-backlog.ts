/**
 * `npm run prove:backlog -- --events 1000000`: a backlog in a SQLite file, delivered through the stream to the simulator.
 * One line of JSON on stdout; memory and progress on stderr; exit 1 when an event is lost or doubled.
 */
import { parseArgs } from 'node:util';
import { proveBacklog } from './backlog.ts';

const { values } = parseArgs({ options: { events: { type: 'string', default: '1000000' } } });
const report = await proveBacklog({ events: Number(values.events), progress: (text) => console.error(text) });
console.log(JSON.stringify(report));
if (report.differences > 0 || report.surplus !== 0) {
  console.error('Stripe does not have what the ledger had.');
  process.exitCode = 1;
}
