/**
 * A guarded call stood in three indexes of open calls, each written when it opens and when it ends: a fifth of what its
 * guard cost. The holds of a customer are now summed from the one that every open call is in; those of a key from an index
 * that only calls of keys with a budget are in: `guarded_key` is the key's id for them, and null for all others.
 */
export const FEWER_HOLD_INDEXES_MIGRATION = {
  version: 23,
  purpose: 'one index of open calls, and one of those whose key has a budget',
  statements: [
    `ALTER TABLE calls ADD COLUMN guarded_key TEXT`,
    `DROP INDEX calls_held_by_key`,
    `DROP INDEX calls_held`,
    `DROP INDEX calls_open`,
    `CREATE INDEX calls_open ON calls (customer, id, hold_pico) WHERE ended_at_ms IS NULL`,
    `UPDATE calls SET guarded_key = key_id WHERE ended_at_ms IS NULL AND hold_pico IS NOT NULL
      AND EXISTS (SELECT 1 FROM budgets b WHERE b.subject = calls.key_id AND b.scope = 'key')`,
    `CREATE INDEX calls_held_by_key ON calls (guarded_key, hold_pico)
      WHERE ended_at_ms IS NULL AND guarded_key IS NOT NULL`,
  ],
} as const;
