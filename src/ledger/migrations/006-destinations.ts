/**
 * Several places that usage is delivered to. A *destination* is one of Stripe's layouts (`dimensions`, `per_type`, `cost`)
 * or another sink (`sink:<name>`). Each has events of its own for the same lines, so a line is sealed once for each.
 *
 * Both tables are written anew: the key of `lines` gets the destination, and an event of the cost layout may be worth less
 * than the smallest unit, which `value > 0` refused. `lines.pico` is the part of the call's cost that the line carries,
 * for the cost layout only: the first line of a call carries all of it.
 */
const LINES = [
  `CREATE TABLE lines_by_destination (
    call TEXT NOT NULL REFERENCES calls (id), attempt BIGINT NOT NULL, model TEXT NOT NULL, token_type TEXT NOT NULL,
    destination TEXT NOT NULL, tokens BIGINT NOT NULL CHECK (tokens > 0), pico BIGINT, event TEXT NOT NULL,
    PRIMARY KEY (call, attempt, model, token_type, destination))`,
  `INSERT INTO lines_by_destination (call, attempt, model, token_type, destination, tokens, event)
    SELECT call, attempt, model, token_type, 'dimensions', tokens, event FROM lines`,
  `DROP TABLE lines`,
  `ALTER TABLE lines_by_destination RENAME TO lines`,
  `CREATE INDEX lines_by_event ON lines (event)`,
];

/**
 * `transport` is the way of the latest attempt that Stripe may have acted on. `late` is 1 where Stripe took the event and
 * refused it afterwards; `replaces` is the identifier it was refused under, once it is to be sent again under a new one.
 */
const EVENTS = [
  `CREATE TABLE meter_events_by_destination (
    identifier TEXT NOT NULL PRIMARY KEY, destination TEXT NOT NULL, event_name TEXT NOT NULL, customer TEXT NOT NULL,
    model TEXT NOT NULL, token_type TEXT NOT NULL, value BIGINT NOT NULL CHECK (value >= 0), timestamp_ms BIGINT NOT NULL,
    state TEXT NOT NULL, attempts BIGINT NOT NULL, unsure BIGINT NOT NULL, first_attempt_at_ms BIGINT,
    not_before_ms BIGINT NOT NULL, accepted_at_ms BIGINT, last_error TEXT, transport TEXT,
    late BIGINT NOT NULL DEFAULT 0, replaces TEXT)`,
  `INSERT INTO meter_events_by_destination (identifier, destination, event_name, customer, model, token_type, value,
      timestamp_ms, state, attempts, unsure, first_attempt_at_ms, not_before_ms, accepted_at_ms, last_error)
    SELECT identifier, 'dimensions', event_name, customer, model, token_type, value, timestamp_ms, state, attempts,
      unsure, first_attempt_at_ms, not_before_ms, accepted_at_ms, last_error FROM meter_events`,
  `DROP TABLE meter_events`,
  `ALTER TABLE meter_events_by_destination RENAME TO meter_events`,
  `CREATE INDEX meter_events_by_time ON meter_events (timestamp_ms, identifier)`,
  `CREATE INDEX meter_events_by_customer ON meter_events (customer, timestamp_ms, identifier)`,
  `CREATE INDEX meter_events_due ON meter_events (destination, not_before_ms, timestamp_ms, identifier)
    WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous'`,
  `CREATE INDEX meter_events_parked ON meter_events (timestamp_ms, identifier)
    WHERE state = 'refused' OR state = 'quarantined' OR state = 'expired' OR state = 'cancelled'`,
];

/** What the events of the cost layout have not billed yet of a customer's cost: less than a millionth of a dollar. */
const CARRIES = [
  `CREATE TABLE cost_carries (
    customer TEXT NOT NULL PRIMARY KEY, pico BIGINT NOT NULL, event TEXT NOT NULL)`,
];

/** What Stripe said afterwards of events it had taken, as far as it could be matched with them. */
const VERDICTS = [
  `CREATE TABLE late_verdicts (
    id TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL, message TEXT NOT NULL, error_count BIGINT NOT NULL,
    matched BIGINT NOT NULL, received_at_ms BIGINT NOT NULL)`,
];

export const DESTINATIONS_MIGRATION = {
  version: 6,
  purpose: 'several destinations for the same usage, late verdicts',
  statements: [...LINES, ...EVENTS, ...CARRIES, ...VERDICTS],
};
