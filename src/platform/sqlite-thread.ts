/** The thread that owns the SQLite file. See sqlite.ts for why, sqlite-protocol.ts for what is said. */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import {
  FlatReader,
  GROUP_BATCHES_MAX,
  type Reply,
  type Request,
  type ThreadOptions,
  type Value,
} from './sqlite-protocol.ts';

interface Batch {
  readonly statements: readonly { readonly number: number; readonly params: readonly Value[] }[];
}

/** A statement made ready once; `width` 0 means that it answers no rows. */
interface Prepared {
  readonly statement: StatementSync;
  readonly width: number;
  /** It asks how many rows the write before it changed, which that write has answered already. */
  readonly asksChanges: boolean;
}

const ASKS_CHANGES = /^\s*SELECT\s+changes\(\)(\s+AS\s+\w+)?\s*$/i;

interface Owner {
  readonly port: MessagePort;
  readonly database: DatabaseSync;
  readonly begin: StatementSync;
  readonly commit: StatementSync;
  readonly texts: string[];
  readonly prepared: Map<number, Prepared>;
  /** Columns of statements made ready since the last reply. */
  columns: (readonly [number, readonly string[]])[];
  /** Keeps the lock for as long as it lives. */
  readonly lock: DatabaseSync | undefined;
}

/** Waits this long for a reader's lock, e.g. a backup's, before a batch fails. */
const BUSY_MS = 5_000;
/**
 * Pages kept in memory, in KiB. More is not faster: of a file below 1 GiB SQLite walks over its whole table of kept pages
 * after every commit that parted a page of an index (it lends such pages the number 262,145, and then drops all above the
 * file's end), and what is not kept comes from the system's own memory of the file.
 */
const CACHE_KIB = 4_096;
/** SQLite's code for a lock that somebody else holds; it is the low byte, the others say why. */
const SQLITE_BUSY = 5;

function own(port: MessagePort, options: ThreadOptions): void {
  let owner: Owner;
  try {
    owner = opened(port, options);
  } catch (error) {
    port.postMessage({ refused: messageOf(error) } satisfies Reply);
    port.close();
    return;
  }
  port.on('message', (first: Request) => serve(owner, first));
  port.postMessage('ready' satisfies Reply);
}

function opened(port: MessagePort, { file, pagesMax }: ThreadOptions): Owner {
  const lock = file === ':memory:' ? undefined : locked(file);
  const database = new DatabaseSync(file, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
  // FULL: in WAL mode anything less may lose acknowledged commits when the power goes.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  database.exec(`PRAGMA cache_size = -${String(CACHE_KIB)}`);
  if (pagesMax !== null) database.exec(`PRAGMA max_page_count = ${Math.trunc(pagesMax)}`);
  return {
    port,
    database,
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
    texts: [],
    prepared: new Map(),
    columns: [],
    lock,
  };
}

/**
 * An owner who has the file already is waited for so long, milliseconds: a command has it for a tenth of that, and neither
 * a start nor another command should fail for one that happens to run. A gateway has it for as long as it lives.
 */
const OWNER_MS = 2_000;

/**
 * Locks a file beside the database, so that the database itself stays readable by others. The system drops the lock
 * however the process ends.
 */
function locked(file: string): DatabaseSync {
  const lock = new DatabaseSync(`${file}.lock`, { timeout: OWNER_MS });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if (!isBusy(error)) throw error;
    throw new Error(
      `it is in use by another process (its lock is ${file}.lock; one process writes, others may only read)`,
      { cause: error },
    );
  }
  return lock;
}

/** Drains what waits, bounded, into one group; whatever is left wakes the thread again. */
function serve(owner: Owner, first: Request): void {
  const batches: Batch[] = [];
  let request: Request | undefined = first;
  while (request !== undefined && request !== 'close') {
    unpack(owner, request, batches);
    request = batches.length < GROUP_BATCHES_MAX ? nextOf(owner.port) : undefined;
  }
  for (let at = 0; at < batches.length; at += GROUP_BATCHES_MAX)
    answer(owner, runGroup(owner, batches.slice(at, at + GROUP_BATCHES_MAX)));
  if (request === 'close') close(owner);
}

const nextOf = (port: MessagePort): Request | undefined =>
  (receiveMessageOnPort(port) as { message: Request } | undefined)?.message;

function unpack(owner: Owner, { texts, flat }: Exclude<Request, 'close'>, into: Batch[]): void {
  owner.texts.push(...texts);
  const reader = new FlatReader(flat);
  while (!reader.done) {
    const statements = [];
    for (let left = reader.count(); left > 0; left -= 1)
      statements.push({ number: reader.count(), params: reader.values(reader.count()) });
    into.push({ statements });
  }
}

function answer(owner: Owner, flat: readonly Value[]): void {
  owner.port.postMessage({ columns: owner.columns, flat } satisfies Reply);
  owner.columns = [];
}

/**
 * All batches in one transaction; if that fails, each in its own, so that one bad batch harms no other. Not where another
 * program kept its lock on the file: none of them is to blame, and each would wait for it in its turn.
 */
function runGroup(owner: Owner, group: readonly Batch[]): readonly Value[] {
  const answers: Value[] = [];
  try {
    runTransaction(owner, group, answers);
    return answers;
  } catch (error) {
    if (group.length === 1 || isBusy(error)) return group.flatMap(() => refusalOf(error));
  }
  return group.flatMap((batch) => runGroup(owner, [batch]));
}

function runTransaction(owner: Owner, group: readonly Batch[], answers: Value[]): void {
  owner.begin.run();
  try {
    for (const batch of group) runBatch(owner, batch, answers);
    owner.commit.run();
  } catch (error) {
    // A full disk may have rolled back already.
    if (owner.database.isTransaction) owner.database.exec('ROLLBACK');
    throw error;
  }
}

function runBatch(owner: Owner, batch: Batch, answers: Value[]): void {
  answers.push(1);
  let changes: number | undefined;
  for (const { number, params } of batch.statements) {
    const { statement, width, asksChanges } = preparedOf(owner, number);
    if (width === 0) {
      changes = Number(statement.run(...params).changes);
      answers.push(0);
      continue;
    }
    if (asksChanges && changes !== undefined) {
      answers.push(1, changes);
      continue;
    }
    changes = undefined;
    // `setReturnArrays` was called: a row is a list, whatever the method's type says.
    const rows = statement.all(...params) as unknown as Value[][];
    answers.push(rows.length);
    for (const row of rows) for (const value of row) answers.push(value);
  }
}

function preparedOf(owner: Owner, number: number): Prepared {
  const known = owner.prepared.get(number);
  if (known !== undefined) return known;
  const statement = owner.database.prepare(owner.texts[number] ?? '');
  statement.setReturnArrays(true);
  const names = statement.columns().map((column) => column.name);
  const asksChanges = ASKS_CHANGES.test(owner.texts[number] ?? '');
  const prepared = { statement, width: names.length, asksChanges };
  owner.prepared.set(number, prepared);
  owner.columns.push([number, names]);
  return prepared;
}

const refusalOf = (error: unknown): readonly Value[] => [0, messageOf(error), codeOf(error)];

const codeOf = (error: unknown): number =>
  error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0;

const isBusy = (error: unknown): boolean => (codeOf(error) & 0xff) === SQLITE_BUSY;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function close(owner: Owner): void {
  owner.database.close();
  owner.lock?.close();
  owner.port.postMessage('closed' satisfies Reply);
  owner.port.close();
}

if (parentPort !== null) own(parentPort, workerData as ThreadOptions);
