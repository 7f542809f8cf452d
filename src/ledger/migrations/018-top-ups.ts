/**
 * Credit that customers buy. A row in `top_ups` is one purchase: `kind` is auto (the balance fell), operator (charged by
 * hand) or link (a checkout that the customer opens). `state` goes from charging or waiting to paid to granted, or ends in
 * failed or expired. It is written before Stripe is asked, with all that the request is made of (`payment_method`), so that
 * whoever takes it up after a crash asks the same thing under the same idempotency key.
 *
 * `payment` is the payment intent or the checkout session; `grant_tries` numbers the keys the grant is asked for under.
 * `not_before_ms` is when it is looked at next, null once it has ended. One charge is under way per customer: that is an
 * index, and holds whoever writes.
 *
 * `top_up_settings` is what holds for one customer in place of his plan's; `cents` null: it is off for him.
 */
export const TOP_UPS_MIGRATION = {
  version: 18,
  purpose: 'credit that customers buy',
  statements: [
    `CREATE TABLE top_ups (
      id TEXT NOT NULL PRIMARY KEY, customer TEXT NOT NULL, kind TEXT NOT NULL, cents BIGINT NOT NULL CHECK (cents > 0),
      state TEXT NOT NULL, payment_method TEXT, payment TEXT, url TEXT, credit_grant TEXT,
      attempts BIGINT NOT NULL DEFAULT 0, grant_tries BIGINT NOT NULL DEFAULT 0, failure TEXT, last_error TEXT,
      created_at_ms BIGINT NOT NULL, expires_at_ms BIGINT, paid_at_ms BIGINT, ended_at_ms BIGINT, not_before_ms BIGINT)`,
    `CREATE UNIQUE INDEX top_ups_one_charge ON top_ups (customer) WHERE kind <> 'link' AND ended_at_ms IS NULL`,
    `CREATE INDEX top_ups_by_customer ON top_ups (customer, created_at_ms, id)`,
    `CREATE INDEX top_ups_due ON top_ups (not_before_ms, id) WHERE not_before_ms IS NOT NULL`,
    `CREATE TABLE top_up_settings (
      customer TEXT NOT NULL PRIMARY KEY, below_pico BIGINT, cents BIGINT, per_day BIGINT, cool_down_ms BIGINT)`,
  ],
} as const;
