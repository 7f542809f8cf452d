/** The account's voice: events are recorded, told to the webhook endpoints, made on order, or kept quiet at the start. */
import { createGrant, parseGrantParams } from './credits.ts';
import { createCustomer } from './customers.ts';
import { createMeter, meterOf } from './meters.ts';
import { makeEvent } from './trigger.ts';
import type { Delivery, DeliveryOrder, WebhookSender } from './webhooks.ts';
import {
  API_VERSION,
  stripeId,
  type Account,
  type CreditGrant,
  type Customer,
  type Meter,
  type StripeEvent,
  type World,
} from './world.ts';

/** Stripe lists 30 days of events; the stand-in keeps so many. */
const EVENTS_MAX = 20_000;

export interface Triggered {
  readonly event: StripeEvent;
  /** The first attempt at each endpoint; empty while deliveries are held. */
  readonly deliveries: readonly Delivery[];
}

export interface Voices {
  /** Tells every event to the endpoints. */
  readonly account: Account;
  /** Makes an event to order and waits for the first attempts to deliver it. */
  trigger(type: string, overrides?: Record<string, unknown>, order?: DeliveryOrder): Promise<Triggered>;
  addCustomer(id: string, name?: string): Customer;
  addMeter(eventName: string, dimensionKeys?: readonly string[]): Meter;
  addCredit(customer: string, cents: number): CreditGrant;
}

export function createVoices(
  base: { world: World; now: () => number; url: () => string; changed: () => void },
  sender: WebhookSender,
): Voices {
  const silent: Account = {
    ...base,
    seconds: () => Math.floor(base.now() / 1_000),
    emit: (type, object, previous) => {
      const event = eventOf(silent.seconds(), type, object, previous);
      base.world.events.push(event);
      if (base.world.events.length > EVENTS_MAX) base.world.events.shift();
      base.changed();
      return event;
    },
  };
  const account: Account = {
    ...silent,
    emit: (...said) => {
      const event = silent.emit(...said);
      // The sender keeps account of its own work and never rejects.
      void sender.send(event);
      return event;
    },
  };
  return {
    account,
    trigger: async (type, overrides = {}, order = {}) => {
      let made: { event: StripeEvent; sent: Promise<readonly Delivery[]> } | undefined;
      const ordered: Account = {
        ...silent,
        emit: (...said) => {
          if (said[0] !== type) return account.emit(...said);
          const event = silent.emit(...said);
          made = { event, sent: sender.send(event, order) };
          return event;
        },
      };
      makeEvent(ordered, type, overrides);
      if (made === undefined) throw new Error(`Nothing was emitted for ${type}.`);
      return { event: made.event, deliveries: await made.sent };
    },
    addCustomer: (id, name) => createCustomer(silent, name === undefined ? { id } : { id, name }),
    addMeter: (eventName, dimensionKeys) =>
      meterOf(silent, eventName) ??
      createMeter(silent, {
        default_aggregation: { formula: 'sum' },
        display_name: eventName,
        event_name: eventName,
        ...(dimensionKeys === undefined ? {} : { dimension_payload_keys: [...dimensionKeys] }),
      }),
    addCredit: (customer, cents) =>
      createGrant(
        silent,
        parseGrantParams({
          amount: { type: 'monetary', monetary: { currency: 'usd', value: cents } },
          applicability_config: { scope: { price_type: 'metered' } },
          customer,
        }),
      ),
  };
}

/** The object is copied: an event tells how things were. */
const eventOf = (
  created: number,
  type: string,
  object: object,
  previous: Record<string, unknown> | undefined,
): StripeEvent => ({
  id: stripeId('evt'),
  object: 'event',
  api_version: API_VERSION,
  created,
  data: {
    object: structuredClone(object) as Record<string, unknown>,
    ...(previous === undefined ? {} : { previous_attributes: previous }),
  },
  livemode: false,
  pending_webhooks: 0,
  request: { id: null, idempotency_key: null },
  type,
});
