/**
 * Money: what a customer may spend, what he has spent, and what running calls may still cost.
 *
 * Words: a *grant* is a credit grant of Stripe's, a bucket that usage burns; a *burn* is the part of one settled call that
 * one grant pays; what no grant pays of a call is *uncovered*. A call is *guarded* when it was opened under an account or
 * a budget: it carries a *hold*, the most (or what is expected) that it may cost, until it is settled. Amounts are
 * picodollars; sums of one customer stay under 9 million dollars, since 64 bits hold no more.
 */

/**
 * An account exists for a customer whose money is watched: he has, or had, a grant, a budget, or a setting of his own.
 * Whoever has none is served without a look at money, so the row's absence is what makes him cost nothing.
 *
 * `version` rises with every change of a setting, so that what was decided from a remembered row can be checked in the
 * statement that opens the call. Settings that are null come from the plan, then from the configuration.
 * `payment_block_at_ms`: from then on he is refused as `subscription_inactive`; grace has been added already.
 * `period_*`: the subscription's present period. `finalised_through_ms`: usage that ended before it is on a finalised
 * invoice. `unbilled_pico` is what ended since and was rated; `overdrawn_pico` is the part of it that no grant covers
 * and that came after the first grant. Both are sums of rows that stay, kept as numbers so that admission is cheap.
 * `stripe_*` is what Stripe itself last said of the credit balance: for the operator to compare, never for admission.
 */
const ACCOUNTS = [
  `CREATE TABLE accounts (
    customer TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL DEFAULT 1, plan TEXT,
    mode TEXT, on_empty TEXT, grace_pico BIGINT, no_credit TEXT, has_had_grant BIGINT NOT NULL DEFAULT 0,
    frozen_at_ms BIGINT, frozen_why TEXT,
    subscription TEXT, subscription_state TEXT, payment_block_at_ms BIGINT, payment_block_why TEXT,
    period_start_ms BIGINT, period_end_ms BIGINT, subscription_read_at_ms BIGINT NOT NULL DEFAULT 0,
    finalised_through_ms BIGINT NOT NULL DEFAULT 0, unbilled_pico BIGINT NOT NULL DEFAULT 0,
    overdrawn_pico BIGINT NOT NULL DEFAULT 0,
    stripe_available_pico BIGINT, stripe_ledger_pico BIGINT, stripe_read_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL)`,
];

/**
 * `amount_pico` was granted; `balance_pico` is what finalised invoices have left of it, by Stripe; `burned_pico` is the sum
 * of its burns by usage that is on no finalised invoice yet. What is left to burn is balance less burned.
 * `applies` is 0 where the grant does not pay for tokens (its scope names other prices, its currency is not USD).
 * `expires_at_ms` is null for never. `read_at_ms`: when Stripe was asked; an older answer never replaces a newer.
 */
const CREDIT_GRANTS = [
  `CREATE TABLE credit_grants (
    id TEXT NOT NULL PRIMARY KEY, customer TEXT NOT NULL, name TEXT, category TEXT NOT NULL, priority BIGINT NOT NULL,
    amount_pico BIGINT NOT NULL, balance_pico BIGINT NOT NULL, burned_pico BIGINT NOT NULL DEFAULT 0,
    applies BIGINT NOT NULL DEFAULT 1, effective_at_ms BIGINT NOT NULL, expires_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL, voided_at_ms BIGINT, read_at_ms BIGINT NOT NULL)`,
  `CREATE INDEX credit_grants_by_customer ON credit_grants (customer, id)`,
];

/** One row for each grant that pays a part of a settled call; the grant '' stands for the uncovered rest. */
const CREDIT_BURNS = [
  `CREATE TABLE credit_burns (
    call TEXT NOT NULL REFERENCES calls (id), credit_grant TEXT NOT NULL, customer TEXT NOT NULL,
    pico BIGINT NOT NULL CHECK (pico > 0), ended_at_ms BIGINT NOT NULL, PRIMARY KEY (call, credit_grant))`,
  `CREATE INDEX credit_burns_by_grant ON credit_burns (customer, credit_grant, ended_at_ms)`,
];

/**
 * A local budget of a customer or of an API key. `span` is day, week (from Monday), month, all in UTC; period, the
 * subscription's; or total, since ever. `spent_pico` counts what ended since `window_start_ms`; a window that is over
 * counts for nothing and is written anew by the next settlement, so no timer resets it.
 */
const BUDGETS = [
  `CREATE TABLE budgets (
    id TEXT NOT NULL PRIMARY KEY, scope TEXT NOT NULL, subject TEXT NOT NULL, span TEXT NOT NULL,
    limit_pico BIGINT NOT NULL, window_start_ms BIGINT NOT NULL, spent_pico BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL, UNIQUE (subject, scope, span))`,
];

/**
 * `hold_pico` is null for an unguarded call, which also keeps it out of the indexes. `over` is 1 for a call that was
 * opened although it did not fit, because its mode only observes. `price_version` names the prices it was rated by.
 */
const HOLDS = [
  `ALTER TABLE calls ADD COLUMN hold_pico BIGINT`,
  `ALTER TABLE calls ADD COLUMN over BIGINT`,
  `ALTER TABLE calls ADD COLUMN price_version TEXT`,
  `CREATE INDEX calls_held ON calls (customer, hold_pico) WHERE ended_at_ms IS NULL AND hold_pico IS NOT NULL`,
  `CREATE INDEX calls_held_by_key ON calls (key_id, hold_pico) WHERE ended_at_ms IS NULL AND hold_pico IS NOT NULL`,
];

export const BUDGETS_MIGRATION = {
  version: 4,
  purpose: 'accounts, credit grants and their burns, local budgets, holds',
  statements: [...ACCOUNTS, ...CREDIT_GRANTS, ...CREDIT_BURNS, ...BUDGETS, ...HOLDS],
} as const;
