/** SQLite in memory behind the Database port, in this thread: for tests that open hundreds of ledgers. */
import { DatabaseSync } from 'node:sqlite';
import type { Database, Row } from '../../src/ledger/ledger.ts';

export function openMemory(): Database & { close(): void } {
  const sqlite = new DatabaseSync(':memory:');
  const prepared = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  return {
    async batch(statements) {
      sqlite.exec('BEGIN IMMEDIATE');
      try {
        const answers = statements.map(({ sql, params }) => {
          const statement = prepared.get(sql) ?? sqlite.prepare(sql);
          prepared.set(sql, statement);
          return statement.all(...params) as Row[];
        });
        sqlite.exec('COMMIT');
        return answers;
      } catch (error) {
        sqlite.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => sqlite.close(),
  };
}
