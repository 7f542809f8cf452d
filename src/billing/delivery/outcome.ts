/**
 * What became of a meter event, from how a request through the official package ended. The line that matters is between
 * "surely not taken" (retry freely) and "nobody knows" (ambiguous: the identifier protects a resend for 24 hours and no
 * longer).
 */
import { Stripe } from 'stripe';
import type { Delivery, MeterEvent, RetryCause } from '../../ledger/ledger.ts';
import { DeadlinePassed } from '../stripe/deadline.ts';
import { STRIPE_TIMEOUT_MS } from '../stripe/client.ts';
import {
  isDuplicate,
  isMisdirected,
  isNeverReached,
  isStripes,
  refusalText,
  retryAfterMs,
} from '../stripe/answers.ts';

type Identified = Pick<MeterEvent, 'identifier'>;

export const NOT_STRIPE = 'What answered may not be Stripe: check STRIPE_API_BASE and what stands in front.';
/** Usage from a clock that was ahead is taken once Stripe's clock is there too. */
const EARLY_MS = 60_000;

/** The SDK takes any JSON without an `error` member for success, so only our own identifier come back is one. */
export function acknowledged({ identifier }: Identified, echoed: unknown, nowMs: number): Delivery {
  if (echoed === identifier) return { identifier, kind: 'accepted' };
  const error = `The answer does not name the event. ${NOT_STRIPE}`;
  return { identifier, kind: 'ambiguous', notBeforeMs: nowMs, error };
}

export function deliveryOf({ identifier }: Identified, error: unknown, nowMs: number): Delivery {
  const ambiguous = (text: string, notBeforeMs = nowMs): Delivery => ({
    identifier,
    kind: 'ambiguous',
    notBeforeMs,
    error: text,
  });
  if (error instanceof DeadlinePassed)
    return ambiguous(`No answer from Stripe in ${String(STRIPE_TIMEOUT_MS)} ms.`);
  if (!(error instanceof Stripe.errors.StripeError)) return ambiguous(`The send failed: ${String(error)}`);
  const status = error.statusCode;
  if (isDuplicate(error)) return { identifier, kind: 'duplicate' };
  const text = `${status === undefined ? 'No answer' : `HTTP ${String(status)}`}: ${error.message}`;
  const notBeforeMs = nowMs + retryAfterMs(error.headers?.['retry-after'], nowMs);
  const retry = (cause: RetryCause, why = text, atMs = notBeforeMs): Delivery => ({
    identifier,
    kind: 'retry',
    cause,
    notBeforeMs: atMs,
    error: why,
  });
  if (isNeverReached(error)) return retry('unreachable');
  if (status === undefined || status >= 500 || status < 400 || status === 408)
    return ambiguous(text, notBeforeMs);
  // Of a request under the same key nobody knows the end.
  if ((error.rawType as string | undefined) === 'idempotency_error') return ambiguous(text, notBeforeMs);
  const busy = busyCause(error);
  if (busy !== undefined) return retry(busy);
  if (isStripes(error) && isMisdirected(error)) return retry('misdirected', refusalText(error));
  if (status === 401 || status === 403)
    return retry(status === 401 ? 'unauthorised' : 'forbidden', refusalText(error));
  if (!isStripes(error))
    return {
      ...ambiguous(`${text} ${NOT_STRIPE}`, notBeforeMs),
      ...(status === 404 ? { noRoute: true } : {}),
    };
  if (!isFinal(error)) return ambiguous(text, notBeforeMs);
  if (error.code === 'timestamp_in_future') return retry('early', refusalText(error), nowMs + EARLY_MS);
  return { identifier, kind: 'refused', error: refusalText(error) };
}

/** Whether it is about the event itself. A 402 or 424 of Stripe's is not. */
const isFinal = ({ statusCode }: Stripe.errors.StripeError): boolean =>
  statusCode === 400 || statusCode === 404 || statusCode === 413 || statusCode === 422;

const CONTENDED: ReadonlySet<string | undefined> = new Set(['lock_timeout', 'too_many_concurrent_requests']);

/**
 * `contended`: another call for this customer and meter is under way; it says nothing of the account's rate. Stripe says
 * which limit a 429 is of by its code, or by a header.
 */
function busyCause({
  statusCode,
  code,
  headers,
}: Stripe.errors.StripeError): 'busy' | 'contended' | undefined {
  const isOfOne = CONTENDED.has(code) || headers?.['stripe-rate-limited-reason'] === 'resource-specific';
  if (statusCode === 409 || (statusCode === 429 && isOfOne)) return 'contended';
  return statusCode === 429 || code === 'rate_limit' ? 'busy' : undefined;
}

/** The `date` header of an answer, or of an error. */
export function dateOf(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  if ('lastResponse' in answer) return dateOf(answer.lastResponse);
  const headers = 'headers' in answer ? answer.headers : undefined;
  if (typeof headers !== 'object' || headers === null || !('date' in headers)) return undefined;
  return typeof headers.date === 'string' ? headers.date : undefined;
}
