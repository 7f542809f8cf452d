/**
 * The Database port over a Durable Object's own SQLite. The platform holds back an answer's head and every fetch until the
 * writes before it are safe, but not what is written into the body of an answer that is under way: a stream's end mark
 * could leave before its settlement is. So a batch is over when the disk has it, as with every other driver.
 */
import { LedgerUnavailable, type Database, type Row } from '../ledger/ledger.ts';

/** The part of `ctx.storage` that is used, so that no Cloudflare types are needed to name it. */
export interface DurableStorage {
  readonly sql: {
    exec(
      query: string,
      ...bindings: (string | number | null)[]
    ): { toArray(): Record<string, ArrayBuffer | string | number | null>[] };
  };
  transactionSync<T>(work: () => T): T;
  /** Resolves when what was written is safe; at once where nothing is on its way. */
  sync(): Promise<void>;
}

/**
 * Rejects with `LedgerUnavailable` when the batch failed; nothing of it has then happened. Where the disk fails behind it,
 * the platform ends the object, which begins again from what the disk has.
 */
export const createDurableDatabase = (storage: DurableStorage): Database => ({
  // Async, so that a failure is a rejection like every other driver's.
  async batch(statements) {
    try {
      const answers = storage.transactionSync(() =>
        statements.map(({ sql, params }) =>
          storage.sql
            .exec(sql, ...params)
            .toArray()
            .map(plainRow),
        ),
      );
      await storage.sync();
      return answers;
    } catch (cause) {
      throw new LedgerUnavailable(`The Durable Object's storage refused the batch: ${String(cause)}`, {
        cause,
      });
    }
  },
});

function plainRow(row: Record<string, ArrayBuffer | string | number | null>): Row {
  for (const [column, value] of Object.entries(row))
    if (value instanceof ArrayBuffer)
      throw new TypeError(`Column ${column} holds bytes, the ledger has none.`);
  return row as Row;
}
