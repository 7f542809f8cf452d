/** A SQLite database in a directory of its own, which is gone after `close`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqlite, type SqliteDatabase, type SqliteOptions } from '../../src/platform/sqlite.ts';

export interface TemporaryDatabase {
  readonly database: SqliteDatabase;
  readonly file: string;
  close(): Promise<void>;
}

export async function openTemporary(options: Omit<SqliteOptions, 'file'> = {}): Promise<TemporaryDatabase> {
  const directory = temporaryDirectory();
  const file = join(directory, 'deep', 'ledger.db');
  const database = await openSqlite({ file, ...options });
  const close = async (): Promise<void> => {
    await database.close();
    rmSync(directory, { recursive: true });
  };
  return { database, file, close };
}

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), 'faregate-test-'));
