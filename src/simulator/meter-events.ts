/**
 * Meter events, v1 and v2: checked at once, deduplicated by identifier, added up. The two APIs differ in encoding, in
 * time format and in the words of their refusals, and in nothing else.
 */
import { z } from 'zod';
import { noteAlertUsage } from './alerts.ts';
import { StripeFailure } from './http.ts';
import { meterOf } from './meters.ts';
import { expand, parseParams, parseV2Params, seconds } from './params.ts';
import type { Route } from './routes.ts';
import { stripeId, type AcceptedEvent, type Account, type Meter } from './world.ts';

/** Stripe promises "at least 24 hours"; the stand-in forgets as early as it may. */
export const IDENTIFIER_WINDOW_MS = 24 * 3_600_000;
const PAST_MAX_SECONDS = 35 * 86_400;
const FUTURE_MAX_SECONDS = 300;
const VALUE_DIGITS_MAX = 15;
/** Past this the account is full: about 500 MB of memory. */
const ACCEPTED_MAX = 1_000_000;

const identifier = z.string().min(1).max(100);
const payload = z.record(z.string().max(100), z.string().max(500));
const v1Schema = z.strictObject({
  event_name: z.string().max(100),
  payload,
  identifier: identifier.optional(),
  timestamp: seconds.optional(),
  ...expand,
});
export const v2Schema = z.strictObject({
  event_name: z.string().max(100),
  payload,
  identifier: identifier.optional(),
  timestamp: z.iso.datetime({ offset: true }).optional(),
});

export const meterEventRoutes: readonly Route[] = [
  [
    'POST',
    '/v1/billing/meter_events',
    ({ account, body }) => {
      const params = parseParams(v1Schema, body);
      const event = acceptEvent(account, { ...params, api: 'v1' });
      return {
        object: 'billing.meter_event',
        created: account.seconds(),
        event_name: event.event_name,
        identifier: event.identifier,
        livemode: false,
        payload: event.payload,
        timestamp: event.timestamp,
      };
    },
  ],
  [
    'POST',
    '/v2/billing/meter_events',
    ({ account, body }) => {
      const { timestamp, ...params } = parseV2Params(v2Schema, body);
      const at = timestamp === undefined ? undefined : Math.floor(Date.parse(timestamp) / 1_000);
      const event = acceptEvent(account, { ...params, timestamp: at, api: 'v2' });
      return {
        object: 'v2.billing.meter_event',
        created: isoTime(account.now()),
        event_name: event.event_name,
        identifier: event.identifier,
        livemode: false,
        payload: event.payload,
        timestamp: isoTime(event.timestamp * 1_000),
      };
    },
  ],
];

/** Stripe's v2 time: RFC 3339 in UTC, to the millisecond. */
export const isoTime = (milliseconds: number): string => new Date(milliseconds).toISOString();

/** The accepted event of that identifier whose window is still open. */
export function knownEvent(account: Account, wanted: string): AcceptedEvent | undefined {
  const event = identifiersOf(account).get(wanted);
  return event !== undefined && account.now() - event.receivedAtMs < IDENTIFIER_WINDOW_MS ? event : undefined;
}

/** What an event adds to its meter: its value, or one where the meter counts. */
export const eventValue = (meter: Meter, event: AcceptedEvent): number =>
  meter.default_aggregation.formula === 'count'
    ? 1
    : Number(event.payload[meter.value_settings.event_payload_key]);

/** The last event of each identifier, built on first use and kept beside the list it indexes. */
const indexes = new WeakMap<AcceptedEvent[], Map<string, AcceptedEvent>>();

function identifiersOf({ world }: Account): Map<string, AcceptedEvent> {
  const known = indexes.get(world.accepted);
  if (known !== undefined) return known;
  const index = new Map(world.accepted.map((event) => [event.identifier, event]));
  indexes.set(world.accepted, index);
  return index;
}

interface Candidate {
  event_name: string;
  payload: Record<string, string>;
  identifier?: string | undefined;
  timestamp?: number | undefined;
  api: AcceptedEvent['api'];
}

/** Checks in the order event name, payload, time, identifier; a refused event leaves no trace, its identifier neither. */
export function acceptEvent(account: Account, candidate: Candidate): AcceptedEvent {
  const meter = activeMeter(account, candidate.event_name);
  const customer = payloadCustomer(account, meter, candidate.payload);
  checkPayload(meter, candidate.payload);
  const timestamp = candidate.timestamp ?? account.seconds();
  checkTime(account, timestamp);
  if (candidate.identifier !== undefined && knownEvent(account, candidate.identifier) !== undefined) {
    throw duplicate(candidate.api, candidate.identifier);
  }
  if (account.world.accepted.length >= ACCEPTED_MAX) {
    throw new StripeFailure({ status: 500, type: 'api_error', message: 'The simulator is full.' });
  }
  const event: AcceptedEvent = {
    identifier: candidate.identifier ?? stripeId('mtr_event'),
    event_name: candidate.event_name,
    meter: meter.id,
    customer,
    payload: { ...candidate.payload },
    timestamp,
    receivedAtMs: account.now(),
    cancelled: false,
    api: candidate.api,
  };
  identifiersOf(account).set(event.identifier, event);
  account.world.accepted.push(event);
  account.changed();
  noteAlertUsage(account, event, eventValue(meter, event));
  return event;
}

function activeMeter(account: Account, eventName: string): Meter {
  const meter = meterOf(account, eventName);
  if (meter === undefined) throw refused('no_meter', `No meter found for event name ${eventName}.`);
  if (meter.status !== 'active') {
    throw refused('archived_meter', `The meter for event name ${eventName} is archived.`);
  }
  return meter;
}

function payloadCustomer(account: Account, meter: Meter, sent: Record<string, string>): string {
  const key = meter.customer_mapping.event_payload_key;
  const customer = sent[key];
  if (customer === undefined || customer === '') {
    throw refused('meter_event_no_customer_defined', `The payload has no customer: it needs the key ${key}.`);
  }
  if (!account.world.customers.has(customer)) {
    throw refused('meter_event_customer_not_found', `No such customer: '${customer}'`);
  }
  return customer;
}

function checkPayload(meter: Meter, sent: Record<string, string>): void {
  const absent = (meter.dimension_payload_keys ?? []).filter((key) => !Object.hasOwn(sent, key));
  if (absent.length > 0) {
    throw refused(
      'missing_dimension_payload_keys',
      `The payload lacks the dimension keys ${absent.join(', ')}.`,
    );
  }
  if (meter.default_aggregation.formula === 'count') return;
  const key = meter.value_settings.event_payload_key;
  const value = sent[key];
  if (value === undefined) {
    throw refused('meter_event_value_not_found', `The payload has no value: it needs the key ${key}.`);
  }
  if (!/^-?\d+$/.test(value)) {
    throw refused('meter_event_invalid_value', `The value ${value} is not a whole number.`);
  }
  if (value.replace(/^-?0*/, '').length > VALUE_DIGITS_MAX) {
    throw refused(
      'meter_event_value_too_many_digits',
      `The value ${value} has more than ${VALUE_DIGITS_MAX} significant digits.`,
    );
  }
}

function checkTime(account: Account, timestamp: number): void {
  const now = account.seconds();
  if (timestamp < now - PAST_MAX_SECONDS) {
    throw refused('timestamp_too_far_in_past', 'The timestamp must be within the past 35 calendar days.');
  }
  if (timestamp > now + FUTURE_MAX_SECONDS) {
    throw refused('timestamp_in_future', 'The timestamp must be at most 5 minutes in the future.');
  }
}

const refused = (code: string, message: string): StripeFailure =>
  new StripeFailure({ status: 400, type: 'invalid_request_error', code, message });

/** The two APIs' own answers: v1 tells by its message and has no code, v2 tells by its code. */
const duplicate = (api: AcceptedEvent['api'], repeated: string): StripeFailure =>
  api === 'v1'
    ? new StripeFailure({
        status: 400,
        type: 'invalid_request_error',
        message: `An event already exists with identifier ${repeated}.`,
        headers: { 'stripe-should-retry': 'false' },
      })
    : new StripeFailure({
        status: 400,
        code: 'duplicate_meter_event',
        message: 'A meter event with a duplicate identifier has already been submitted.',
      });
