/**
 * Meter events to Stripe, one request each, through the official package. Every outcome becomes a `Delivery`; the line
 * that matters is between "surely not taken" (retry freely) and "nobody knows" (ambiguous: the identifier protects a
 * resend for 24 hours and no longer).
 */
import { Stripe } from 'stripe';
import type { Delivery, MeterEvent, RetryCause } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { DeadlinePassed, realDeadline, within } from './deadline.ts';
import type { Deadline } from './deadline.ts';
import type { MeterSink } from './ports.ts';
import { STRIPE_TIMEOUT_MS } from './stripe-client.ts';
import {
  isDuplicate,
  isMisdirected,
  isNeverReached,
  isStripes,
  refusalText,
  retryAfterMs,
} from './stripe-answers.ts';

export interface StripeSinkOptions {
  readonly stripe: Stripe;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly deadline?: Deadline | undefined;
}

export function createStripeSink({ stripe, runtime, deadline = realDeadline }: StripeSinkOptions): MeterSink {
  const sendOne = async (event: MeterEvent): Promise<Delivery> => {
    try {
      const options = { maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS };
      const request = stripe.v2.billing.meterEvents.create(paramsOf(event), options);
      const answer = await within(request, deadline(STRIPE_TIMEOUT_MS));
      return acknowledged(event, answer.identifier, runtime.now());
    } catch (error) {
      return deliveryOf(event, error, runtime.now());
    }
  };
  return { send: (events) => Promise.all(events.map(sendOne)) };
}

const paramsOf = (event: MeterEvent): Stripe.V2.Billing.MeterEventCreateParams => ({
  event_name: event.eventName,
  identifier: event.identifier,
  timestamp: new Date(event.timestampMs).toISOString(),
  payload: {
    stripe_customer_id: event.customer,
    value: event.value,
    // What was recorded without a call has neither.
    ...(event.model === '' ? {} : { model: event.model, token_type: event.tokenType }),
  },
});

const NOT_STRIPE = 'What answered may not be Stripe: check STRIPE_API_BASE and what stands in front.';

/** The SDK takes any JSON without an `error` member for success, so only our own identifier come back is one. */
function acknowledged({ identifier }: MeterEvent, echoed: unknown, nowMs: number): Delivery {
  if (echoed === identifier) return { identifier, kind: 'accepted' };
  const error = `The answer does not name the event. ${NOT_STRIPE}`;
  return { identifier, kind: 'ambiguous', notBeforeMs: nowMs, error };
}

function deliveryOf({ identifier }: MeterEvent, error: unknown, nowMs: number): Delivery {
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
  const retry = (cause: RetryCause, why = text): Delivery => ({
    identifier,
    kind: 'retry',
    cause,
    notBeforeMs,
    error: why,
  });
  if (isNeverReached(error)) return retry('unreachable');
  if (status === undefined || status >= 500 || status < 400 || status === 408)
    return ambiguous(text, notBeforeMs);
  if (status === 401 || status === 403)
    return retry(status === 401 ? 'unauthorised' : 'forbidden', refusalText(error));
  if (status === 409 || status === 429 || error.code === 'rate_limit') return retry('busy');
  if (!isStripes(error)) return ambiguous(`${text} ${NOT_STRIPE}`, notBeforeMs);
  if (isMisdirected(error)) return retry('misdirected', refusalText(error));
  return { identifier, kind: 'refused', error: refusalText(error) };
}
