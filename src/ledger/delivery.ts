/** From sealed meter events to delivered ones: leased for sending, marked with Stripe's answer. */
import type { LedgerParts } from './create-ledger.ts';
import type { Delivery, LeasedEvent, Ledger, Row, Statement } from './ledger.ts';
import { numberOf, textOf } from './rows.ts';

/** Stripe's message is kept this long at most: it may echo anything. */
const ERROR_CHARS_MAX = 500;

/**
 * Takes due events, oldest first. One that was not `pending` has an attempt behind it whose end nobody knows.
 * The inner condition repeats the index's own, or the index would not be used.
 */
const LEASE_EVENTS = `
  UPDATE meter_events SET state = 'sending', attempts = attempts + 1,
    unsure = CASE WHEN state = 'pending' THEN unsure ELSE 1 END,
    first_attempt_at_ms = COALESCE(first_attempt_at_ms, CAST(? AS BIGINT)), not_before_ms = ?
  WHERE identifier IN (
    SELECT identifier FROM meter_events
    WHERE (state = 'pending' OR state = 'sending' OR state = 'ambiguous') AND not_before_ms <= ?
    ORDER BY timestamp_ms, identifier LIMIT ?)
  RETURNING identifier, event_name, customer, model, token_type, CAST(value AS TEXT) AS value, timestamp_ms,
    attempts, first_attempt_at_ms`;

/** Stripe has it: true whichever attempt is answered, so it overrides every state but the final ones. */
const MARK_ACCEPTED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL
  WHERE identifier = ? AND state NOT IN ('accepted', 'confirmed', 'cancelled')`;

/** Stripe surely has it not: if no earlier attempt is in doubt, none is left that it may have acted on. */
const MARK_RETRY = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, last_error = ?,
    first_attempt_at_ms = CASE WHEN unsure = 0 THEN NULL ELSE first_attempt_at_ms END
  WHERE identifier = ? AND state = 'sending'`;

/** Nobody knows whether Stripe has it; the time of the first such attempt is kept. */
const MARK_AMBIGUOUS = `
  UPDATE meter_events SET state = 'ambiguous', not_before_ms = ?, last_error = ?, unsure = 1
  WHERE identifier = ? AND state = 'sending'`;

/** Stripe will not take it: kept, with the reason, for the operator. */
const MARK_REFUSED = `
  UPDATE meter_events SET state = 'refused', last_error = ? WHERE identifier = ? AND state = 'sending'`;

export function createDelivery({ database }: LedgerParts): Pick<Ledger, 'lease' | 'mark'> {
  return {
    async lease({ nowMs, leaseMs, limit }) {
      const params = [nowMs, nowMs + leaseMs, nowMs, limit];
      const [rows] = await database.batch([{ sql: LEASE_EVENTS, params }]);
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
      return { sql: MARK_RETRY, params: [delivery.notBeforeMs, shortened(delivery.error), identifier] };
    case 'ambiguous':
      return { sql: MARK_AMBIGUOUS, params: [delivery.notBeforeMs, shortened(delivery.error), identifier] };
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
