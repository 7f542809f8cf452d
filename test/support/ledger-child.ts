/**
 * A process to be killed: admits and settles calls as fast as it can in the database file given, and writes a call's id
 * to stdout once its settlement has been acknowledged.
 */
import { writeSync } from 'node:fs';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';

const LANES = 16;
const LINES = [
  { attempt: 1, model: 'demo/echo', tokenType: 'input', tokens: 7 },
  { attempt: 1, model: 'demo/echo', tokenType: 'output', tokens: 3 },
];

const [, , file = '', bootId = ''] = process.argv;
const database = await openSqlite({ file });
await migrate(database);
const ledger = createLedger({ database, bootId });
let made = 0;

async function lane(): Promise<never> {
  for (;;) {
    const id = `${bootId}.${String((made += 1)).padStart(8, '0')}`;
    const call = { id, customer: 'cus_1', keyId: 'key', endpoint: 'chat.completions', provider: 'demo' };
    await ledger.admit({ ...call, model: 'demo/echo', stream: false, openedAtMs: made });
    await ledger.checkpoint({
      id,
      lines: [{ attempt: 1, model: 'demo/echo', tokenType: 'input', tokens: 2 }],
      usageJson: '[]',
      costPico: null,
    });
    await ledger.settle({
      id,
      endedAtMs: made,
      outcome: 'finished',
      status: 200,
      usageSource: 'reported',
      lines: LINES,
      usageJson: '[]',
      costPico: null,
      responseId: null,
    });
    writeSync(1, `${id}\n`);
  }
}

await Promise.all(Array.from({ length: LANES }, lane));
