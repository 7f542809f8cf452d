/**
 * The Database port over a Durable Object's own SQLite. Nothing here waits for the disk: the platform holds back every
 * message that leaves the object, answers and fetches alike, until the writes before it are safe.
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
}

/** Rejects with `LedgerUnavailable` when the batch failed; nothing of it has then happened. */
export const createDurableDatabase = (storage: DurableStorage): Database => ({
  // Async, so that a failure is a rejection like every other driver's.
  async batch(statements) {
    try {
      return storage.transactionSync(() =>
        statements.map(({ sql, params }) =>
          storage.sql
            .exec(sql, ...params)
            .toArray()
            .map(plainRow),
        ),
      );
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
