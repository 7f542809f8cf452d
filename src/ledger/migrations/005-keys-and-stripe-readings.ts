/**
 * A key's own limits, and what is to be read from Stripe again.
 *
 * `rpm`, `tpm`, `concurrency`: null is the configuration's limit, 0 is none.
 *
 * A row in `stripe_readings` says that a customer's credit and subscription are to be read: since `wanted_at_ms`, and not
 * before `due_at_ms`. It is written in the batch that records the webhook, and goes when a reading that began later is on
 * record: so no news of Stripe's is lost by a crash, or by Stripe being away.
 *
 * `stripe_cursor` is how far the list of Stripe's events was looked through for webhooks that never came.
 */
const KEY_LIMITS = [
  `ALTER TABLE api_keys ADD COLUMN rpm BIGINT`,
  `ALTER TABLE api_keys ADD COLUMN tpm BIGINT`,
  `ALTER TABLE api_keys ADD COLUMN concurrency BIGINT`,
];
const READINGS = [
  `CREATE TABLE stripe_readings (
    customer TEXT NOT NULL PRIMARY KEY, wanted_at_ms BIGINT NOT NULL, due_at_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0, last_error TEXT)`,
  `CREATE INDEX stripe_readings_due ON stripe_readings (due_at_ms, customer)`,
  `CREATE TABLE stripe_cursor (name TEXT NOT NULL PRIMARY KEY, created_s BIGINT NOT NULL)`,
];

export const READINGS_MIGRATION = {
  version: 5,
  purpose: "keys' own limits; customers to be read from Stripe again",
  statements: [...KEY_LIMITS, ...READINGS],
} as const;
