/** From sealed meter events to delivered ones: leased for sending, marked with Stripe's answer. */
import type { LedgerParts } from './create-ledger.ts';
import type { Delivery, LeasedEvent, Ledger, Row, Statement } from './ledger.ts';
import { numberOf, numberOrNull, textOf } from './rows.ts';

/** Stripe's message is kept this long at most: it may echo anything. */
const ERROR_CHARS_MAX = 500;

/**
 * Takes due events, the longest due first: by the time they were due, not by their age, or old events that fail again
 * and again would keep the others waiting. One that was not `pending` has an attempt behind it whose end nobody knows.
 * The inner condition repeats the index's own, or the index would not be used.
 */
const leaseEvents = (chosen: '' | 'AND identifier = ?'): string => `
  UPDATE meter_events SET state = 'sending', attempts = attempts + 1,
    unsure = CASE WHEN state = 'pending' THEN unsure ELSE 1 END,
    first_attempt_at_ms = COALESCE(first_attempt_at_ms, CAST(? AS BIGINT)), not_before_ms = ?
  WHERE identifier IN (
    SELECT identifier FROM meter_events
    WHERE (state = 'pending' OR state = 'sending' OR state = 'ambiguous') AND not_before_ms <= ? ${chosen}
    ORDER BY not_before_ms, timestamp_ms, identifier LIMIT ?)
  RETURNING identifier, event_name, customer, model, token_type, CAST(value AS TEXT) AS value, timestamp_ms,
    attempts, first_attempt_at_ms`;
const LEASE_EVENTS = leaseEvents('');
const LEASE_ONE_EVENT = leaseEvents('AND identifier = ?');

/** Stripe has it: true whichever attempt is answered, so it overrides every state but the final ones. */
const MARK_ACCEPTED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL
  WHERE identifier = ? AND state NOT IN ('accepted', 'confirmed', 'cancelled')`;

/** Stripe surely has it not: if no earlier attempt is in doubt, none is left that it may have acted on. */
const MARK_RETRY = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, last_error = ?, attempts = attempts - CAST(? AS INTEGER),
    first_attempt_at_ms = CASE WHEN unsure = 0 THEN NULL ELSE first_attempt_at_ms END
  WHERE identifier = ? AND state = 'sending'`;

/** Nobody knows whether Stripe has it; the time of the first such attempt is kept. */
const MARK_AMBIGUOUS = `
  UPDATE meter_events SET state = 'ambiguous', not_before_ms = ?, last_error = ?, unsure = 1
  WHERE identifier = ? AND state = 'sending'`;

/** Stripe will not take it: kept, with the reason, for the operator. */
const MARK_REFUSED = `
  UPDATE meter_events SET state = 'refused', last_error = ? WHERE identifier = ? AND state = 'sending'`;

/** In doubt for too long to be sent again: Stripe forgets identifiers after a day. Reconciliation decides. */
const MARK_QUARANTINED = `
  UPDATE meter_events SET state = 'quarantined', last_error = ?
  WHERE identifier = ? AND state IN ('sending', 'ambiguous')`;

/**
 * The operator had what was wrong put right: a refused event is due again. Where an attempt before the refusal is in
 * doubt, the doubt stays, with its time: the event is not sent past the 23 hours.
 */
const RETRY_EVENT = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, attempts = 0,
    first_attempt_at_ms = CASE WHEN unsure = 0 THEN NULL ELSE first_attempt_at_ms END
  WHERE identifier = ? AND state = 'refused' RETURNING identifier`;

/** The operator, or reconciliation, found the event in Stripe's sums. */
const RESOLVE_DELIVERED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL, unsure = 0
  WHERE identifier = ? AND state = 'quarantined' RETURNING identifier`;

/** They found that Stripe has it not: no attempt is in doubt any more. */
const RESOLVE_LOST = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, attempts = 0, unsure = 0, first_attempt_at_ms = NULL
  WHERE identifier = ? AND state = 'quarantined' RETURNING identifier`;

/** Waiting and doubt move with a clock that was set back; what was due stays due. */
const SHIFT_CLOCK = `
  UPDATE meter_events SET not_before_ms = CASE WHEN not_before_ms > CAST(? AS BIGINT) THEN not_before_ms - CAST(? AS BIGINT) ELSE 0 END,
    first_attempt_at_ms = first_attempt_at_ms - CAST(? AS BIGINT)
  WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous'`;

const READ_LATEST = `SELECT MAX(timestamp_ms) AS latest_ms FROM meter_events`;

/** The operator waives an event that Stripe surely has not: it is never sent. */
const CANCEL_EVENT = `
  UPDATE meter_events SET state = 'cancelled'
  WHERE identifier = ? AND state IN ('pending', 'refused', 'quarantined') AND unsure = 0 RETURNING identifier`;

/** Changes nothing, durably: fails where any write would. */
const PROBE = `UPDATE schema_version SET version = version`;

export function createDelivery({
  database,
}: LedgerParts): Pick<
  Ledger,
  | 'lease'
  | 'mark'
  | 'retryEvent'
  | 'resolveEvent'
  | 'cancelEvent'
  | 'clockSetBack'
  | 'latestEventMs'
  | 'probe'
> {
  const changed = async (statement: Statement): Promise<boolean> => {
    const [rows] = await database.batch([statement]);
    return rows?.length === 1;
  };
  return {
    retryEvent: (identifier, nowMs) => changed({ sql: RETRY_EVENT, params: [nowMs, identifier] }),
    resolveEvent: (identifier, found, nowMs) =>
      changed({
        sql: found === 'delivered' ? RESOLVE_DELIVERED : RESOLVE_LOST,
        params: [nowMs, identifier],
      }),
    async clockSetBack(byMs) {
      await database.batch([{ sql: SHIFT_CLOCK, params: [byMs, byMs, byMs] }]);
    },
    async latestEventMs() {
      const [rows] = await database.batch([{ sql: READ_LATEST, params: [] }]);
      const row = rows?.[0];
      return row === undefined ? null : numberOrNull(row, 'latest_ms');
    },
    cancelEvent: (identifier) => changed({ sql: CANCEL_EVENT, params: [identifier] }),
    async probe() {
      await database.batch([{ sql: PROBE, params: [] }]);
    },
    async lease({ nowMs, leaseMs, limit, identifier }) {
      const due = [nowMs, nowMs + leaseMs, nowMs];
      const [rows] = await database.batch([
        identifier === undefined
          ? { sql: LEASE_EVENTS, params: [...due, limit] }
          : { sql: LEASE_ONE_EVENT, params: [...due, identifier, limit] },
      ]);
      return (rows ?? []).map(leasedEvent).sort(byAge);
    },
    async mark(deliveries, nowMs) {
      if (deliveries.length > 0) await database.batch(deliveries.map((delivery) => marking(delivery, nowMs)));
    },
  };
}

function marking(delivery: Delivery, nowMs: number): Statement {
  const { identifier } = delivery;
  switch (delivery.kind) {
    case 'accepted':
    case 'duplicate':
      return { sql: MARK_ACCEPTED, params: [nowMs, identifier] };
    case 'retry':
      return {
        sql: MARK_RETRY,
        params: [
          delivery.notBeforeMs,
          shortened(delivery.error),
          delivery.untried === true ? 1 : 0,
          identifier,
        ],
      };
    case 'ambiguous':
      return { sql: MARK_AMBIGUOUS, params: [delivery.notBeforeMs, shortened(delivery.error), identifier] };
    case 'quarantined':
      return { sql: MARK_QUARANTINED, params: [shortened(delivery.error), identifier] };
    case 'refused':
      return { sql: MARK_REFUSED, params: [shortened(delivery.error), identifier] };
  }
}

const shortened = (error: string): string => error.slice(0, ERROR_CHARS_MAX);

const leasedEvent = (row: Row): LeasedEvent => ({
  identifier: textOf(row, 'identifier'),
  eventName: textOf(row, 'event_name'),
  customer: textOf(row, 'customer'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
  value: textOf(row, 'value'),
  timestampMs: numberOf(row, 'timestamp_ms'),
  attempts: numberOf(row, 'attempts'),
  firstAttemptAtMs: numberOf(row, 'first_attempt_at_ms'),
});

/** RETURNING has no order of its own. */
const byAge = (a: LeasedEvent, b: LeasedEvent): number =>
  a.timestampMs - b.timestampMs || (a.identifier < b.identifier ? -1 : 1);
