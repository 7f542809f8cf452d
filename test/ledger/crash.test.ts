import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { CallView, Ledger } from '../../src/ledger/ledger.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { temporaryDirectory } from '../support/sqlite.ts';

const directory = temporaryDirectory();
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the child until it has acknowledged that many settlements, kills it, and answers all that it acknowledged. */
async function killedAfter(acknowledgements: number, file: string, bootId: string): Promise<string[]> {
  const script = join(import.meta.dirname, '../support/ledger-child.ts');
  const child = spawn(process.execPath, [script, file, bootId], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.split('\n').length > acknowledgements) child.kill('SIGKILL');
  });
  const signal = await new Promise((resolve) => {
    child.on('close', (_code, killedBy) => resolve(killedBy));
  });
  expect(signal).toBe('SIGKILL');
  // The last line may have been cut by the kill.
  return output.split('\n').slice(0, -1);
}

async function allCalls(ledger: Ledger): Promise<CallView[]> {
  const calls: CallView[] = [];
  let cursor: string | undefined;
  do {
    const page = await ledger.calls({ limit: 500, cursor });
    calls.push(...page.data);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return calls;
}

it.each([1, 40, 333, 1_000])(
  'has every settlement on record that was acknowledged before a kill after %d of them',
  async (acknowledgements) => {
    const file = join(directory, `${acknowledgements}.db`);
    const acknowledged = await killedAfter(acknowledgements, file, 'killed');
    const database = await openSqlite({ file });
    const ledger = createLedger({ database, bootId: 'next' });
    const recovered = await ledger.recover({ nowMs: 9_000_000 });
    const settled = new Map((await allCalls(ledger)).map((call) => [call.id, call]));
    const lost = acknowledged.filter((id) => settled.get(id)?.outcome !== 'finished');
    expect(lost).toEqual([]);
    // What the kill cut is billed by its evidence, at most.
    for (const { lines } of recovered) expect(lines.map(({ tokens }) => tokens)).toEqual(lines.map(() => 2));
    expect((await ledger.totals()).openCalls).toBe(0);
    expect(await violations(database)).toEqual([]);
    await database.close();
  },
);
