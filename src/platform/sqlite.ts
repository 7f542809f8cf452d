/**
 * The Database port over node:sqlite. The file is owned by a thread, so the event loop never waits for a disk. What
 * comes while the thread is at work goes to it as one message; the thread commits all of it together, and answers after
 * the commit.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { LedgerUnavailable, type Database, type Row, type Statement } from '../ledger/ledger.ts';
import { FlatReader, type Reply, type ThreadOptions, type Value } from './sqlite-protocol.ts';

/**
 * Batches waiting for the thread. At 20,000 a second this is most of a second: beyond it the disk has stalled, and a call
 * is better refused than kept waiting.
 */
const WAITING_BATCHES_MAX = 16_384;

/**
 * Where groups would follow each other closer than this, milliseconds, and be smaller than that, they wait to be joined:
 * a message and a commit cost some 100 us of CPU however much is in them, and with 64 calls in flight twice the wait, from
 * 1 ms, saves a call some 30 us. To wait for larger groups gains nothing: with 64 batches instead of 24 all calls move in
 * step, and each takes a fifth longer, at no less CPU. A lone call never waits.
 */
const GATHER_MS = 2;
const GATHER_BATCHES = 24;

export interface SqliteOptions {
  /** Created with its directory when it is not there. `:memory:` for a database that dies with the process. */
  readonly file: string;
  /** Bounds the file to this many pages of 4096 bytes. */
  readonly pagesMax?: number | undefined;
}

export interface SqliteDatabase extends Database {
  /** Finishes what was given, then closes the file and ends the thread. Later batches reject. */
  close(): Promise<void>;
}

/**
 * Opens the file and takes it for this process alone; another process may read it, but not through here.
 * Rejects with `LedgerUnavailable` when it cannot be opened or is taken.
 */
export async function openSqlite({ file, pagesMax }: SqliteOptions): Promise<SqliteDatabase> {
  if (file !== ':memory:') makeDirectory(file);
  const connection = new Connection({ file, pagesMax: pagesMax ?? null });
  await connection.opened;
  return connection;
}

function makeDirectory(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
  } catch (cause) {
    throw new LedgerUnavailable(
      `The ledger's database ${file}: its directory cannot be made: ${String(cause)}`,
      {
        cause,
      },
    );
  }
}

interface Waiting {
  readonly statements: readonly Statement[];
  readonly resolve: (answers: readonly (readonly Row[])[]) => void;
  readonly reject: (error: LedgerUnavailable | TypeError) => void;
}

class Connection implements SqliteDatabase {
  readonly opened: Promise<void>;
  readonly #file: string;
  readonly #thread: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  /** Statement numbers by text, in the order the thread learns them. */
  readonly #numbers = new Map<string, number>();
  readonly #columns: (readonly string[])[] = [];
  /** Given but not yet posted, and posted but not yet answered. */
  #turn: Waiting[] = [];
  #posted: Waiting[] = [];
  #answered = 0;
  #planned = false;
  #postedAt = -Infinity;
  /** Why no more batches are taken, once that is so. */
  #over: LedgerUnavailable | undefined;

  constructor(options: ThreadOptions) {
    this.#file = options.file;
    this.opened = this.#ready.promise;
    // The program's own options may be none that a thread takes: `--input-type`, which any `node -e` of a module has.
    this.#thread = new Worker(threadFile(), { workerData: options, execArgv: [] });
    this.#thread.on('message', (reply: Reply) => this.#read(reply));
    this.#thread.on('error', (cause) => this.#die(`its thread failed (${String(cause)})`, cause));
    this.#thread.on('exit', (code) => {
      this.#die(`its thread ended with code ${code}`);
      this.#ended.resolve();
    });
  }

  batch(statements: readonly Statement[]): Promise<readonly (readonly Row[])[]> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const waiting = this.#turn.length + this.#posted.length - this.#answered;
    if (waiting >= WAITING_BATCHES_MAX)
      return Promise.reject(this.#unavailable(`${waiting} batches are waiting for it already`));
    return new Promise((resolve, reject) => {
      this.#turn.push({ statements, resolve, reject });
      this.#plan();
    });
  }

  /**
   * What comes while the thread is at work waits for its answer and then goes as one message: a message costs each side
   * about 10 us however much is in it, and the thread would commit them together all the same.
   */
  #plan(): void {
    if (this.#planned || this.#posted.length > 0 || this.#turn.length === 0) return;
    this.#planned = true;
    const post = (): void => {
      this.#planned = false;
      this.#post();
    };
    const isBusy = performance.now() - this.#postedAt < GATHER_MS && this.#turn.length < GATHER_BATCHES;
    if (isBusy) setTimeout(post, GATHER_MS);
    // After the turn's input has all been read, not before: its batches then share one message and one commit.
    else setImmediate(post);
  }

  async close(): Promise<void> {
    if (this.#over === undefined) {
      this.#post();
      this.#over = this.#unavailable('it is closed');
      this.#thread.postMessage('close');
    }
    await this.#ended.promise;
  }

  #post(): void {
    if (this.#turn.length === 0) return;
    const texts: string[] = [];
    const flat: Value[] = [];
    for (const waiting of this.#turn) {
      const from = flat.length;
      if (this.#pack(waiting.statements, { texts, flat })) {
        this.#posted.push(waiting);
      } else {
        flat.length = from;
        waiting.reject(new TypeError('A parameter is text, a number or null, and nothing else.'));
      }
    }
    this.#turn = [];
    this.#postedAt = performance.now();
    this.#thread.postMessage({ texts, flat });
  }

  /** False for what the thread could not read: it would be the end of it, and of every call with it. */
  #pack(
    statements: readonly Statement[],
    { texts, flat }: { readonly texts: string[]; readonly flat: Value[] },
  ): boolean {
    flat.push(statements.length);
    for (const { sql, params } of statements) {
      flat.push(this.#number(sql, texts), params.length);
      for (const param of params) {
        if (param !== null && typeof param !== 'string' && typeof param !== 'number') return false;
        flat.push(param);
      }
    }
    return true;
  }

  #number(sql: string, texts: string[]): number {
    const known = this.#numbers.get(sql);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(sql, number);
    texts.push(sql);
    return number;
  }

  #read(reply: Reply): void {
    if (reply === 'ready') this.#ready.resolve();
    else if (reply === 'closed') this.#over ??= this.#unavailable('it is closed');
    else if ('refused' in reply) this.#die(reply.refused);
    else {
      for (const [number, names] of reply.columns) this.#columns[number] = asKeys(names);
      const reader = new FlatReader(reply.flat);
      while (!reader.done) this.#answer(reader);
      this.#plan();
    }
  }

  #answer(reader: FlatReader): void {
    const waiting = this.#posted[this.#answered];
    if (waiting === undefined) throw new Error('The SQLite thread answered a batch nobody gave.');
    this.#answered += 1;
    if (this.#answered === this.#posted.length) {
      this.#posted = [];
      this.#answered = 0;
    }
    if (reader.count() === 1) waiting.resolve(waiting.statements.map(({ sql }) => this.#rows(reader, sql)));
    else {
      const cause = Object.assign(new Error(String(reader.value())), { errcode: reader.count() });
      waiting.reject(this.#unavailable(cause.message, cause));
    }
  }

  #rows(reader: FlatReader, sql: string): readonly Row[] {
    const count = reader.count();
    if (count === 0) return NO_ROWS;
    const names = this.#columns[this.#numbers.get(sql) ?? -1] ?? [];
    return Array.from({ length: count }, () => {
      const row: Record<string, Value> = {};
      for (const name of names) row[name] = reader.value();
      return row;
    });
  }

  /** Rejects all that waits and all that comes. */
  #die(why: string, cause?: unknown): void {
    this.#over ??= this.#unavailable(why, cause);
    const error = this.#over;
    this.#ready.reject(error);
    const left = [...this.#posted.slice(this.#answered), ...this.#turn];
    this.#posted = [];
    this.#turn = [];
    this.#answered = 0;
    for (const waiting of left) waiting.reject(error);
  }

  #unavailable(why: string, cause?: unknown): LedgerUnavailable {
    return new LedgerUnavailable(`The ledger's database ${this.#file}: ${why}.`, { cause });
  }
}

/** The same names as an object's keys are: a text from another thread would be looked up for every value of every row. */
const asKeys = (names: readonly string[]): readonly string[] =>
  names.flatMap((name) => Object.keys({ [name]: true }));

const NO_ROWS: readonly Row[] = [];

/** Beside this file, in the language this file is in: source in a checkout, built in a package. */
const threadFile = (): URL =>
  new URL(import.meta.url.endsWith('.ts') ? './sqlite-thread.ts' : './sqlite-thread.js', import.meta.url);
