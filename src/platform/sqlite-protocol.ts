/**
 * What the SQLite driver and its thread say to each other. Copying an object between threads costs far more than running
 * a small statement, so a message is one flat list: statements travel as numbers once their text is known, rows as bare
 * values, and nothing names a batch, because both sides keep the same order.
 */

export type Value = string | number | null;

/** Where the thread finds its file; the whole of its `workerData`. */
export interface ThreadOptions {
  /** A path, or `:memory:`. */
  readonly file: string;
  /** The file's size is bounded to this many pages of 4096 bytes; null for the disk's own bound. */
  readonly pagesMax: number | null;
}

/** To the thread: some batches, or the wish to finish what was sent and close. */
export type Request =
  | {
      /** Texts not sent before; each gets the next number, from 0. */
      readonly texts: readonly string[];
      /** Per batch: its statement count, then per statement: number, parameter count, parameters. */
      readonly flat: readonly Value[];
    }
  | 'close';

/** From the thread. After `refused` or `closed` nothing more comes. */
export type Reply =
  | {
      /** The result columns of statements that ran for the first time: number, then names. */
      readonly columns: readonly (readonly [number, readonly string[]])[];
      /**
       * Per batch, in the order they were sent: 1, then per statement its row count and the rows' values; or 0, then the
       * error's message and its SQLite code.
       */
      readonly flat: readonly Value[];
    }
  | { readonly refused: string }
  | 'ready'
  | 'closed';

/** Batches in one transaction: past a few hundred the cost of the sync is spread out and only the wait grows. */
export const GROUP_BATCHES_MAX = 512;

/** Reads a flat list from its start. Past the end, or on a value of another kind, it throws: the sides have lost step. */
export class FlatReader {
  readonly #flat: readonly Value[];
  #at = 0;
  constructor(flat: readonly Value[]) {
    this.#flat = flat;
  }

  get done(): boolean {
    return this.#at >= this.#flat.length;
  }

  value(): Value {
    const value = this.#flat[this.#at];
    if (value === undefined) throw new Error('A message of the SQLite thread ended too early.');
    this.#at += 1;
    return value;
  }

  count(): number {
    const value = this.value();
    if (typeof value !== 'number') throw new Error('A message of the SQLite thread is out of step.');
    return value;
  }

  values(count: number): Value[] {
    const from = this.#at;
    this.#at += count;
    if (this.#at > this.#flat.length) throw new Error('A message of the SQLite thread ended too early.');
    return this.#flat.slice(from, this.#at);
  }
}
