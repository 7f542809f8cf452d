/** From sealed meter events to delivered ones: leased for sending, marked with Stripe's answer. */
import type { LedgerParts } from './create-ledger.ts';
import { GROUP_MARKS, inGroups } from './in-groups.ts';
import type { Delivery, LeasedEvent, Ledger, Row, Statement } from './ledger.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';

/** Stripe's message is kept this long at most: it may echo anything. */
const ERROR_CHARS_MAX = 500;

/** As the index of due events has it: spelled alike, or it would not be used. */
const IS_DUE = `(state = 'pending' OR state = 'sending' OR state = 'ambiguous')`;
const marks = (values: readonly string[]): string => values.map(() => '?').join(', ');

/**
 * Takes due events, the longest due first: by the time they were due, not by their age, or old events that fail again
 * and again would keep the others waiting. One that was not `pending` has an attempt behind it whose end nobody knows,
 * and keeps its way. The limit is cast, here and elsewhere, or SQLite would prepare the statement anew for each value: 130 us.
 */
const leaseEvents = (chosen: string): string => `
  UPDATE meter_events SET state = 'sending', attempts = attempts + 1,
    transport = CASE WHEN state = 'pending' AND unsure = 0 THEN ? ELSE COALESCE(transport, ?) END,
    unsure = CASE WHEN state = 'pending' THEN unsure ELSE 1 END,
    first_attempt_at_ms = COALESCE(first_attempt_at_ms, CAST(? AS BIGINT)), not_before_ms = ?
  WHERE identifier IN (
    SELECT identifier FROM meter_events
    WHERE ${IS_DUE} AND not_before_ms <= ? ${chosen}
    ORDER BY not_before_ms, timestamp_ms, identifier LIMIT CAST(? AS BIGINT))
  RETURNING identifier, destination, event_name, customer, model, token_type, CAST(value AS TEXT) AS value, timestamp_ms,
    attempts, first_attempt_at_ms, unsure, transport`;

/**
 * Stripe has it: true whichever attempt is answered, so it overrides every state but the final ones, and Stripe's own later
 * word, which came first.
 */
const STILL_TO_ACCEPT = `state NOT IN ('accepted', 'confirmed', 'cancelled') AND NOT (state = 'refused' AND late = 1)`;
const MARK_ACCEPTED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL
  WHERE identifier = ? AND ${STILL_TO_ACCEPT}`;

/** The same of many, where they came in one request. */
const MANY = 10;
const MARK_MANY_ACCEPTED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL
  WHERE identifier IN (${GROUP_MARKS}) AND ${STILL_TO_ACCEPT}`;

/** Stripe surely has it not: if no earlier attempt is in doubt, none is left that it may have acted on. */
const MARK_RETRY = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, last_error = ?, attempts = attempts - CAST(? AS INTEGER),
    first_attempt_at_ms = CASE WHEN unsure = 0 THEN NULL ELSE first_attempt_at_ms END
  WHERE identifier = ? AND state = 'sending'`;

/** Nobody knows whether Stripe has it; the time of the first such attempt is kept. */
const MARK_AMBIGUOUS = `
  UPDATE meter_events SET state = 'ambiguous', not_before_ms = ?, last_error = ?, unsure = 1
  WHERE identifier = ? AND state = 'sending'`;

/** Stripe will not take it: kept, with the reason, for the operator, who is told where an earlier attempt is in doubt. */
const MARK_REFUSED = `
  UPDATE meter_events SET state = 'refused', last_error = ? || CASE WHEN unsure = 1 THEN ? ELSE '' END
  WHERE identifier = ? AND state = 'sending'`;
const DOUBTED =
  ' But an earlier attempt had no clear answer: Stripe may have counted it. To do: do not bill it otherwise before ' +
  '`faregate events retry` (Stripe says so if it has it) or `faregate reconcile` has told.';

/** In doubt for too long to be sent again: Stripe forgets identifiers after a day. Reconciliation decides. */
const MARK_QUARANTINED = `
  UPDATE meter_events SET state = 'quarantined', last_error = ?
  WHERE identifier = ? AND state IN ('sending', 'ambiguous')`;

/** Its usage is too old for Stripe. */
const MARK_EXPIRED = `
  UPDATE meter_events SET state = 'expired', last_error = ?
  WHERE identifier = ? AND state IN ('pending', 'sending', 'ambiguous')`;

const COUNT_WAITING = (chosen: string): string => `
  SELECT COUNT(*) AS waiting FROM (
    SELECT identifier FROM meter_events WHERE ${IS_DUE} ${chosen} LIMIT CAST(? AS BIGINT)) AS counted`;

/** Of one destination: the first entry of its part of the index, however many wait. */
const READ_FIRST_DUE = `
  SELECT not_before_ms FROM meter_events WHERE ${IS_DUE} AND destination = ? ORDER BY not_before_ms LIMIT 1`;

/** Waiting and doubt move with a clock that was set back; what was due stays due. */
const SHIFT_CLOCK = `
  UPDATE meter_events SET not_before_ms = CASE WHEN not_before_ms > CAST(? AS BIGINT) THEN not_before_ms - CAST(? AS BIGINT) ELSE 0 END,
    first_attempt_at_ms = first_attempt_at_ms - CAST(? AS BIGINT)
  WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous'`;

/**
 * So do purchases, notices and responses that wait for a time, and readings of Stripe: what was read by the later clock
 * would else be thought newer than all that is read until the clock is there again.
 */
const earlier = (table: string, column: string): string =>
  `UPDATE ${table} SET ${column} = CASE WHEN ${column} > CAST(? AS BIGINT) THEN ${column} - CAST(? AS BIGINT) ELSE 0 END
   WHERE ${column} IS NOT NULL`;
const SHIFTED = [
  earlier('top_ups', 'not_before_ms'),
  earlier('notices', 'not_before_ms'),
  earlier('background_responses', 'due_at_ms'),
  earlier('stripe_readings', 'due_at_ms'),
  earlier('stripe_readings', 'wanted_at_ms'),
  earlier('accounts', 'subscription_read_at_ms'),
  earlier('credit_grants', 'read_at_ms'),
];
/** A charge is looked for from its beginning, and given up 23 hours after it. */
const SHIFT_OPEN_PURCHASES = `
  UPDATE top_ups SET created_at_ms = created_at_ms - CAST(? AS BIGINT) WHERE ended_at_ms IS NULL`;
/** Seconds: how far the list of events was looked through. */
const SHIFT_CURSOR = earlier('stripe_cursor', 'created_s');

const READ_LATEST = `SELECT MAX(timestamp_ms) AS latest_ms FROM meter_events`;

/** Events keep the times of the later clock: kept beside the move, their latest does not move all once more at each start. */
const MOVED = 'moved';
const KEEP_MOVED = `
  INSERT INTO ledger_marks (name, ledger, sequence) SELECT ?, '', COALESCE(MAX(timestamp_ms), 0) FROM meter_events WHERE 1 = 1
  ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence`;
const READ_MOVED = `SELECT sequence FROM ledger_marks WHERE name = ?`;

/** Changes nothing, durably: fails where any write would. */
const PROBE = `UPDATE schema_version SET version = version`;

export function createDelivery({
  database,
}: LedgerParts): Pick<
  Ledger,
  'lease' | 'mark' | 'waiting' | 'nextDueMs' | 'clockSetBack' | 'latestEventMs' | 'latestClockMs' | 'probe'
> {
  return {
    async waiting(limit, destinations) {
      const chosen = destinations === undefined ? '' : `AND destination IN (${marks(destinations)})`;
      const params = [...(destinations ?? []), limit];
      const [rows] = await database.batch([{ sql: COUNT_WAITING(chosen), params }]);
      return rows?.[0] === undefined ? 0 : numberOf(rows[0], 'waiting');
    },
    async nextDueMs(destinations) {
      const answers = await database.batch(
        destinations.map((destination) => ({ sql: READ_FIRST_DUE, params: [destination] })),
      );
      const times = answers.flat().map((row) => numberOf(row, 'not_before_ms'));
      return times.length === 0 ? undefined : Math.min(...times);
    },
    async clockSetBack(byMs) {
      const byS = Math.ceil(byMs / 1_000);
      await database.batch([
        { sql: SHIFT_CLOCK, params: [byMs, byMs, byMs] },
        ...SHIFTED.map((sql) => ({ sql, params: [byMs, byMs] })),
        { sql: SHIFT_OPEN_PURCHASES, params: [byMs] },
        { sql: SHIFT_CURSOR, params: [byS, byS] },
        { sql: KEEP_MOVED, params: [MOVED] },
      ]);
    },
    async latestEventMs() {
      const [rows] = await database.batch([{ sql: READ_LATEST, params: [] }]);
      return latestIn(rows);
    },
    async latestClockMs() {
      // Compared here: a condition beside it would have SQLite walk the whole index for what stands at its end.
      const [rows, [moved] = []] = await database.batch([
        { sql: READ_LATEST, params: [] },
        { sql: READ_MOVED, params: [MOVED] },
      ]);
      const latestMs = latestIn(rows) ?? 0;
      return latestMs > (moved === undefined ? 0 : numberOf(moved, 'sequence')) ? latestMs : null;
    },
    async probe() {
      await database.batch([{ sql: PROBE, params: [] }]);
    },
    async lease({ nowMs, leaseMs, limit, identifier, destinations, transport = null }) {
      const chosen = [
        ...(identifier === undefined ? [] : ['AND identifier = ?']),
        ...(destinations === undefined ? [] : [`AND destination IN (${marks(destinations)})`]),
      ].join(' ');
      const choice = [...(identifier === undefined ? [] : [identifier]), ...(destinations ?? [])];
      const params = [transport, transport, nowMs, nowMs + leaseMs, nowMs, ...choice, limit];
      const [rows] = await database.batch([{ sql: leaseEvents(chosen), params }]);
      return (rows ?? []).map(leasedEvent).sort(byAge);
    },
    async mark(deliveries, nowMs) {
      if (deliveries.length === 0) return;
      const taken = deliveries.filter(({ kind }) => kind === 'accepted' || kind === 'duplicate');
      const isMany = taken.length >= MANY;
      const single = isMany ? deliveries.filter((delivery) => !taken.includes(delivery)) : deliveries;
      await database.batch([
        ...inGroups(isMany ? taken.map(({ identifier }) => identifier) : [], MARK_MANY_ACCEPTED, {
          before: [nowMs],
        }),
        ...single.map((delivery) => marking(delivery, nowMs)),
      ]);
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
    case 'expired':
      return { sql: MARK_EXPIRED, params: [shortened(delivery.error), identifier] };
    case 'refused':
      return { sql: MARK_REFUSED, params: [shortened(delivery.error), DOUBTED, identifier] };
  }
}

const latestIn = (rows: readonly Row[] | undefined): number | null =>
  rows?.[0] === undefined ? null : numberOrNull(rows[0], 'latest_ms');

const shortened = (error: string): string => error.slice(0, ERROR_CHARS_MAX);

const leasedEvent = (row: Row): LeasedEvent => ({
  identifier: textOf(row, 'identifier'),
  destination: textOf(row, 'destination'),
  eventName: textOf(row, 'event_name'),
  customer: textOf(row, 'customer'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
  value: textOf(row, 'value'),
  timestampMs: numberOf(row, 'timestamp_ms'),
  attempts: numberOf(row, 'attempts'),
  firstAttemptAtMs: numberOf(row, 'first_attempt_at_ms'),
  isInDoubt: numberOf(row, 'unsure') === 1,
  transport: textOrNull(row, 'transport'),
});

/** RETURNING has no order of its own. */
const byAge = (a: LeasedEvent, b: LeasedEvent): number =>
  a.timestampMs - b.timestampMs || (a.identifier < b.identifier ? -1 : 1);
