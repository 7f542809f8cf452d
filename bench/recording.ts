/** The least that a durable ledger costs: a call opened and settled, as the gateway does it, with nothing read or counted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLedger } from '../src/ledger/create-ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { createIds } from '../src/platform/ids.ts';
import { openSqlite } from '../src/platform/sqlite.ts';

export interface Recording {
  /** Resolves to the call's id when its record is durable. */
  open(): Promise<string>;
  /** Resolves when its end is. */
  settle(id: string): Promise<void>;
}

const MODEL = 'openai/gpt-4o-mini';

export async function createRecording(): Promise<Recording> {
  const directory = mkdtempSync(join(tmpdir(), 'faregate-bench-'));
  process.once('SIGTERM', () => {
    rmSync(directory, { recursive: true, force: true });
    process.exit();
  });
  const database = await openSqlite({ file: join(directory, 'bench.db') });
  await migrate(database);
  const ids = createIds(Date.now);
  const ledger = createLedger({ database, bootId: ids() });
  return {
    async open() {
      const id = `req_${ids()}`;
      const who = { customer: 'cus_bench', keyId: 'env' };
      const what = { endpoint: 'chat.completions', provider: 'openai', model: MODEL, stream: false };
      await ledger.admit({ id, ...who, ...what, openedAtMs: Date.now() });
      return id;
    },
    async settle(id) {
      await ledger.settle({
        id,
        heldBy: undefined,
        endedAtMs: Date.now(),
        outcome: 'finished',
        status: 200,
        usageSource: 'reported',
        usageJson: '[{"uncachedInput":12,"textOutput":50}]',
        costPico: '31800000',
        priceVersion: '2026-11-22',
        responseId: 'chatcmpl-bench',
        lines: [
          { attempt: 1, model: MODEL, tokenType: 'input', tokens: 12 },
          { attempt: 1, model: MODEL, tokenType: 'output', tokens: 50 },
        ],
      });
    },
  };
}
