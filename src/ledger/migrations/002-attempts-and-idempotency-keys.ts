/**
 * Attempts that failed, each with what it cost; and the calls that were made under an idempotency key.
 *
 * The attempt that ended a call is the call's own row, so a call that was served at once has no row in `attempts`.
 * `calls.provider` and `calls.model` are of the attempt that is under way, or was the last.
 */
const ATTEMPTS = [
  `CREATE TABLE attempts (
    call TEXT NOT NULL REFERENCES calls (id), attempt BIGINT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    failure TEXT NOT NULL, status BIGINT, usage_source TEXT NOT NULL, usage_json TEXT NOT NULL, cost_pico BIGINT,
    response_id TEXT, ended_at_ms BIGINT NOT NULL,
    PRIMARY KEY (call, attempt))`,
];

/** `scope` is a hash of whose key it is and which; `body_hash` of what was asked. One row is one call at most. */
const IDEMPOTENCY_KEYS = [
  `CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL PRIMARY KEY, body_hash TEXT NOT NULL, call TEXT NOT NULL, claimed_at_ms BIGINT NOT NULL)`,
  `CREATE INDEX idempotency_keys_by_time ON idempotency_keys (claimed_at_ms)`,
];

export const ATTEMPTS_MIGRATION = {
  version: 2,
  purpose: 'failed attempts, idempotency keys',
  statements: [...ATTEMPTS, ...IDEMPOTENCY_KEYS],
};
