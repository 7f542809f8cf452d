/** Stripe's answers to a meter event, told apart. Sources: the v1 and v2 API references and the SDK's own error classes. */
import { Stripe } from 'stripe';

type StripeError = InstanceType<typeof Stripe.errors.StripeError>;

/** v2 has a code for it, v1 only a sentence; either means that Stripe has the event. */
export function isDuplicate(error: StripeError): boolean {
  if (error.statusCode !== 400 && error.statusCode !== 409) return false;
  return (
    error.code === 'duplicate_meter_event' ||
    /^An event already exists with identifier\b/i.test(error.message) ||
    /meter event with a duplicate identifier has already been submitted/i.test(error.message)
  );
}

const ERROR_TYPES: ReadonlySet<unknown> = new Set([
  'api_error',
  'idempotency_error',
  'invalid_request_error',
  'rate_limit_error',
  'temporary_session_expired',
]);

/**
 * Whether the error is Stripe's own: one of its types, a code that it has for meter events, or its request id. Anything
 * else may come from a proxy on the way, and says nothing of the event.
 */
export function isStripes({ rawType, code, requestId }: StripeError): boolean {
  return (
    ERROR_TYPES.has(rawType) ||
    (typeof code === 'string' && (code in FIXES || V2_CODES.has(code))) ||
    (typeof requestId === 'string' && requestId.startsWith('req_'))
  );
}

const V2_CODES: ReadonlySet<string> = new Set([
  'invalid_fields',
  'duplicate_meter_event',
  'too_many_concurrent_requests',
]);

/**
 * Whether the answer is about where the request went, and so the same for every event: no such route, or an API that
 * this mode of the account has not (v2 is not in the old test mode).
 */
export const isMisdirected = ({ statusCode, code, message }: StripeError): boolean =>
  (statusCode === 404 && !(typeof code === 'string' && code in FIXES)) ||
  ((statusCode === 400 || statusCode === 403) &&
    /\btest ?mode\b/i.test(message) &&
    !(typeof code === 'string' && code in FIXES));

/** Failures from before a request could be written: no address, no connection, no TLS. */
const UNREACHED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/**
 * Whether the request surely never got to Stripe. The SDK sends once more after a closed connection, even with retries
 * off; then the first try may have arrived whatever became of the second, and only the message tells that there were two.
 */
export function isNeverReached(error: StripeError): boolean {
  if (!(error instanceof Stripe.errors.StripeConnectionError)) return false;
  if (/was retried \d/.test(error.message)) return false;
  return codesOf(error.detail).some((code) => UNREACHED.has(code));
}

/** The code of a failure, or of what caused it: fetch wraps the socket's error once. */
function codesOf(detail: unknown): readonly string[] {
  if (typeof detail !== 'object' || detail === null) return [];
  const own = 'code' in detail && typeof detail.code === 'string' ? [detail.code] : [];
  return own.length > 0 || !('cause' in detail) ? own : codesOf(detail.cause);
}

/** A wait longer than this is no longer about load; the send is tried again and the answer looked at anew. */
const RETRY_AFTER_MS_MAX = 3_600_000;

/** `retry-after` in whole milliseconds from now, as seconds or as a date; 0 when there is none that makes sense. */
export function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined || header.trim() === '') return 0;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(Math.ceil(ms), 0), RETRY_AFTER_MS_MAX) : 0;
}

const METER_HINT = 'create or reactivate the meter (`faregate sync`), then `faregate events retry`';
const FIXES: Readonly<Record<string, string>> = {
  no_meter: METER_HINT,
  archived_meter: METER_HINT,
  meter_event_customer_not_found:
    'the customer is not in this Stripe account: check the key, or restore the customer',
  resource_missing: 'the customer is not in this Stripe account: check the key, or restore the customer',
  meter_event_no_customer_defined:
    "the meter's customer mapping must be by id under stripe_customer_id (`faregate sync`)",
  meter_event_value_not_found: "the meter's value key must be `value` (`faregate sync`)",
  meter_event_invalid_value: "the meter's value key must be `value` (`faregate sync`)",
  meter_event_value_too_many_digits: 'Stripe takes 15 digits: record the usage as several events',
  meter_event_dimension_count_too_high:
    'the meter has too many dimensions: use one of its own for this account',
  missing_dimension_payload_keys:
    'the meter wants a payload key that is not sent: its dimensions must be model and token_type',
  timestamp_too_far_in_past: 'Stripe takes 35 days: bill this usage by an invoice item',
  timestamp_in_future: "this machine's clock is ahead: set it, then `faregate events retry`",
};

/** The reason of a refusal and what to do about it. */
export function refusalText(error: StripeError): string {
  const { statusCode, code, message } = error;
  return `HTTP ${String(statusCode ?? 0)}${code === undefined ? '' : ` ${code}`}: ${message} To do: ${fixFor(error)}.`;
}

function fixFor({ statusCode, code }: StripeError): string {
  if (statusCode === 401) return 'Stripe refuses the key: check STRIPE_SECRET_KEY';
  if (statusCode === 403) return 'give the restricted key Billing meter events, write';
  const fix = code === undefined ? undefined : FIXES[code];
  if (fix !== undefined) return fix;
  if (statusCode === 404) return 'check STRIPE_API_BASE, and that the account has the v2 API';
  return 'mend what the message names, then `faregate events retry`';
}

/** What to do about a code that Stripe's later word on an event has. */
export const fixForCode = (code: string): string =>
  FIXES[code] ?? 'mend what the message names, then `faregate events retry`';
