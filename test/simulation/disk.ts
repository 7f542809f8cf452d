/** One SQLite in memory for all the lives of a run, emptied between them; a process reaches it through a port that fails. */
import { DatabaseSync } from 'node:sqlite';
import { type Database, LedgerUnavailable, type Row, type Statement } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';

export interface Disk {
  /** All of them or none, at once. */
  run(statements: readonly Statement[]): readonly (readonly Row[])[];
  read(sql: string, ...params: readonly (string | number)[]): readonly Row[];
  /** Rises with every batch that may have written. */
  readonly version: number;
  /** As it was when it was made. */
  empty(): void;
  close(): void;
}

export async function openDisk(): Promise<Disk> {
  const sqlite = new DatabaseSync(':memory:');
  const prepared = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  const all = (sql: string, params: readonly (string | number | null)[]): Row[] => {
    let statement = prepared.get(sql);
    if (statement === undefined) prepared.set(sql, (statement = sqlite.prepare(sql)));
    return statement.all(...params) as Row[];
  };
  let version = 0;
  const run: Disk['run'] = (statements) => {
    version += 1;
    const [only, ...more] = statements;
    // One statement is all or none by itself.
    if (only !== undefined && more.length === 0) return [all(only.sql, only.params)];
    all('BEGIN IMMEDIATE', []);
    try {
      const answers = statements.map(({ sql, params }) => all(sql, params));
      all('COMMIT', []);
      return answers;
    } catch (error) {
      all('ROLLBACK', []);
      throw error;
    }
  };
  await migrate({ batch: (statements) => Promise.resolve(run(statements)) });
  const tables = childrenFirst(all);
  return {
    run,
    get version() {
      return version;
    },
    read: (sql, ...params) => all(sql, params),
    empty: () => void run(tables.map((name) => ({ sql: `DELETE FROM "${name}"`, params: [] }))),
    close: () => sqlite.close(),
  };
}

/**
 * The tables in an order in which they can be emptied. A pragma that lets rows refer to what is gone would do as well, but
 * each pragma has every statement prepared anew: it took a life 8 of its 12 ms.
 */
function childrenFirst(all: (sql: string, params: readonly never[]) => readonly Row[]): readonly string[] {
  const names = all(`SELECT name FROM sqlite_master WHERE type = 'table'`, [])
    .map(({ name }) => String(name))
    .filter((name) => !name.startsWith('sqlite_') && name !== 'schema_version');
  const parents = new Map(
    names.map((name) => [
      name,
      new Set(all(`PRAGMA foreign_key_list("${name}")`, []).map((key) => String(key['table']))),
    ]),
  );
  const ordered: string[] = [];
  while (ordered.length < names.length) {
    const left = names.filter((name) => !ordered.includes(name));
    const free = left.filter((name) => !left.some((one) => one !== name && parents.get(one)?.has(name)));
    if (free.length === 0) throw new Error(`These tables refer to each other in a ring: ${left.join(', ')}.`);
    ordered.push(...free);
  }
  return ordered;
}

/**
 * What becomes of a batch. `lost` and `kept`: the process dies before it, or after it and before its answer. `slow`: its
 * answer comes with a later step, and whether it is done now or then is `kept` or not. `full`: the disk takes no writes.
 */
export type BatchFate = 'done' | 'lost' | 'kept' | 'slow-now' | 'slow-then' | 'full';

export interface DiskPort {
  readonly disk: Disk;
  alive(): boolean;
  fate(): BatchFate;
  die(): void;
  /** To be called when a slow batch may go on. */
  wait(then: () => void): void;
}

export function databaseOver({ disk, alive, fate, die, wait }: DiskPort): Database {
  const never = new Promise<never>(() => undefined);
  const run = (statements: readonly Statement[]): readonly (readonly Row[])[] => {
    try {
      return disk.run(statements);
    } catch (error) {
      throw new LedgerUnavailable('The batch failed.', { cause: error });
    }
  };
  return {
    batch(statements) {
      if (!alive()) return never;
      switch (fate()) {
        case 'done':
          return attempt(() => run(statements));
        case 'full':
          return Promise.reject(new LedgerUnavailable('The disk is full.'));
        case 'lost':
          die();
          return never;
        case 'kept':
          return attempt(() => run(statements)).then(() => {
            die();
            return never;
          });
        case 'slow-now': {
          const answers = attempt(() => run(statements));
          return new Promise<void>(wait).then(() => (alive() ? answers : never));
        }
        case 'slow-then':
          return new Promise<void>(wait).then(() => (alive() ? run(statements) : never));
      }
    },
  };
}

function attempt<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}
