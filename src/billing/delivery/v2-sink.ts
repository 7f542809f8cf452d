/** Meter events to Stripe's v2 and v1 APIs, one request each, through the official package. */
import type { Stripe } from 'stripe';
import type { Delivery, MeterEvent } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { realDeadline, within } from '../stripe/deadline.ts';
import type { Deadline } from '../stripe/deadline.ts';
import { payloadOf } from './layouts.ts';
import type { MeterSink } from '../ports.ts';
import { STRIPE_TIMEOUT_MS, withoutStack } from '../stripe/client.ts';
import { acknowledged, dateOf, deliveryOf } from './outcome.ts';

export interface StripeSinkOptions {
  readonly stripe: Stripe;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly deadline?: Deadline | undefined;
  /** Told the `date` header of each answer. */
  readonly heard?: ((date: string | undefined) => void) | undefined;
}

const OPTIONS = { maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS };

/** v2: checked at once, JSON, times to the millisecond. */
export const createStripeSink = (options: StripeSinkOptions): MeterSink =>
  oneByOne(options, (event) => options.stripe.v2.billing.meterEvents.create(v2Params(event), OPTIONS));

/**
 * v1: form-encoded, times in whole seconds. They are cut, not rounded: what ended in a period's last second stays in it.
 * The idempotency key is the SDK's own, new for each request: v1 replays the first answer for 24 hours, failures too.
 */
export const createStripeV1Sink = (options: StripeSinkOptions): MeterSink =>
  oneByOne(options, (event) => options.stripe.billing.meterEvents.create(v1Params(event), OPTIONS));

type Ask = (event: MeterEvent) => Promise<{ readonly identifier: string }>;

function oneByOne({ runtime, deadline = realDeadline, heard }: StripeSinkOptions, ask: Ask): MeterSink {
  const sendOne = async (event: MeterEvent): Promise<Delivery> => {
    try {
      const answer = await within(
        withoutStack(() => ask(event)),
        deadline(STRIPE_TIMEOUT_MS),
      );
      heard?.(dateOf(answer));
      return acknowledged(event, answer.identifier, runtime.now());
    } catch (error) {
      heard?.(dateOf(error));
      return deliveryOf(event, error, runtime.now());
    }
  };
  return { send: (events) => Promise.all(events.map(sendOne)) };
}

/** Also what the stream takes. */
export const v2Params = (event: MeterEvent): Stripe.V2.Billing.MeterEventCreateParams => ({
  event_name: event.eventName,
  identifier: event.identifier,
  timestamp: new Date(event.timestampMs).toISOString(),
  payload: payloadOf(event),
});

const v1Params = (event: MeterEvent): Stripe.Billing.MeterEventCreateParams => ({
  event_name: event.eventName,
  identifier: event.identifier,
  timestamp: Math.floor(event.timestampMs / 1000),
  payload: payloadOf(event),
});
