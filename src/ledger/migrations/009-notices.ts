/**
 * Notices to the operator's own webhook. `notices` is the queue: a row is delivered, given up (`not_before_ms` is null and
 * `delivered_at_ms` too) or due. `notice_levels` is what was last told of a customer's credit or budget in its window, so
 * that each level is told once; `seq` counts the changes.
 */
export const NOTICES_MIGRATION = {
  version: 9,
  purpose: 'outgoing notices',
  statements: [
    `CREATE TABLE notices (
      id TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL, customer TEXT NOT NULL, body TEXT NOT NULL,
      created_at_ms BIGINT NOT NULL, not_before_ms BIGINT, attempts BIGINT NOT NULL DEFAULT 0,
      delivered_at_ms BIGINT, last_error TEXT)`,
    `CREATE INDEX notices_due ON notices (not_before_ms, id) WHERE not_before_ms IS NOT NULL`,
    `CREATE TABLE notice_levels (
      customer TEXT NOT NULL, subject TEXT NOT NULL, window_start_ms BIGINT NOT NULL, level BIGINT NOT NULL,
      seq BIGINT NOT NULL, PRIMARY KEY (customer, subject))`,
  ],
} as const;
