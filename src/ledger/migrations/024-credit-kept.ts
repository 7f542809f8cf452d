/**
 * What a customer has left of his grants, kept with his account, so that admission need not look for the grants.
 * `credit_pico` is the sum of what is left of the grants in effect at any time from `credit_from_ms`
 * until `credit_until_ms`, within which none takes effect or expires. Zero and zero: not counted yet.
 * Then, and outside of that time, the grants themselves are summed. Whatever changes a grant counts anew in the same batch.
 */
export const CREDIT_KEPT_MIGRATION = {
  version: 24,
  purpose: 'what is left of the credit, kept with the account',
  statements: [
    `ALTER TABLE accounts ADD COLUMN credit_pico BIGINT NOT NULL DEFAULT 0`,
    `ALTER TABLE accounts ADD COLUMN credit_from_ms BIGINT NOT NULL DEFAULT 0`,
    `ALTER TABLE accounts ADD COLUMN credit_until_ms BIGINT NOT NULL DEFAULT 0`,
  ],
} as const;
