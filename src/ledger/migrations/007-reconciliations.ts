/**
 * Comparisons with Stripe's sums, and what a restored ledger must know of itself.
 *
 * A run's `state` is running, finished or failed; `verdict` is null until it is finished. Only cells that were not equal
 * are kept, with their reasons as JSON. The index of accepted events is how unconfirmed hours are found: an event leaves
 * it when it is confirmed.
 *
 * A row of `ledger_marks` says which ledger this is, and has a number that rises while events are sent. The number is kept
 * beside the database too; a database that is behind it was restored from a backup. Other rows tell of such a restoration,
 * and of a clock that was set back.
 * `cost_carries.dropped_pico` is what lines that retention deleted cost, beyond what their deleted events billed.
 */
const RUNS = [
  `CREATE TABLE reconciliations (
    id TEXT NOT NULL PRIMARY KEY, cause TEXT NOT NULL, customer TEXT, from_ms BIGINT, to_ms BIGINT NOT NULL,
    started_at_ms BIGINT NOT NULL, finished_at_ms BIGINT, state TEXT NOT NULL, verdict TEXT, error TEXT,
    equal_cells BIGINT NOT NULL DEFAULT 0, lagging_cells BIGINT NOT NULL DEFAULT 0,
    different_cells BIGINT NOT NULL DEFAULT 0, confirmed BIGINT NOT NULL DEFAULT 0,
    delivered BIGINT NOT NULL DEFAULT 0, lost BIGINT NOT NULL DEFAULT 0, unread BIGINT NOT NULL DEFAULT 0,
    notes_json TEXT NOT NULL DEFAULT '[]')`,
  `CREATE TABLE reconciliation_cells (
    run TEXT NOT NULL REFERENCES reconciliations (id), customer TEXT NOT NULL, event_name TEXT NOT NULL,
    hour_ms BIGINT NOT NULL, verdict TEXT NOT NULL, ledger TEXT NOT NULL, stripe TEXT NOT NULL,
    reasons_json TEXT NOT NULL, PRIMARY KEY (run, customer, event_name, hour_ms))`,
  `CREATE INDEX meter_events_unconfirmed ON meter_events (customer, timestamp_ms) WHERE state = 'accepted'`,
];
const MARKS = [
  `CREATE TABLE ledger_marks (
    name TEXT NOT NULL PRIMARY KEY, ledger TEXT NOT NULL, sequence BIGINT NOT NULL, restored_at_ms BIGINT,
    backup_at_ms BIGINT)`,
];
const DROPPED = [`ALTER TABLE cost_carries ADD COLUMN dropped_pico BIGINT NOT NULL DEFAULT 0`];

export const RECONCILIATIONS_MIGRATION = {
  version: 7,
  purpose: "comparisons with Stripe's sums; marks of the ledger",
  statements: [...RUNS, ...MARKS, ...DROPPED],
} as const;
