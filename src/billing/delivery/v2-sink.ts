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

/** v2: checked at once, JSON, times to the millisecond. */
export const createStripeSink = (options: StripeSinkOptions): MeterSink =>
  oneByOne(options, (event, request) =>
    options.stripe.v2.billing.meterEvents.create(v2Params(event), request),
  );

/** v1: form-encoded, times in whole seconds. They are cut, not rounded: what ended in a period's last second stays in it. */
export const createStripeV1Sink = (options: StripeSinkOptions): MeterSink =>
  oneByOne(options, (event, request) => options.stripe.billing.meterEvents.create(v1Params(event), request));

/**
 * New for each request, since v1 replays the first answer to a key for 24 hours, failures too. The event is in it: of the
 * requests that a late verdict names, Stripe's reference says that their idempotency key is told.
 */
const requestKey = ({ identifier }: MeterEvent, nowMs: number): string =>
  `${identifier}.${nowMs.toString(36)}`;

/** The event that a late verdict names, by its own identifier or by the key of the request that brought it. */
export const eventOf = (named: string): string => /^(fg_\w+)\.[0-9a-z]+$/.exec(named)?.[1] ?? named;

type Ask = (event: MeterEvent, request: Stripe.RequestOptions) => Promise<{ readonly identifier: string }>;

const OPTIONS = { maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS };

function oneByOne({ runtime, deadline = realDeadline, heard }: StripeSinkOptions, ask: Ask): MeterSink {
  const sendOne = async (event: MeterEvent): Promise<Delivery> => {
    try {
      const answer = await within(
        withoutStack(() => ask(event, { ...OPTIONS, idempotencyKey: requestKey(event, runtime.now()) })),
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
