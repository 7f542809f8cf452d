/** Puts delivery together: layouts, ways to Stripe, other places, alarms. */
import type { Stripe } from 'stripe';
import { createAlarms } from '../billing/delivery/alarms.ts';
import { createDelivery, type MeterDelivery } from '../billing/delivery/delivery.ts';
import { createClasses } from '../billing/delivery/layouts.ts';
import { meterWarnings } from '../billing/delivery/meter-check.ts';
import { createSinks } from '../billing/delivery/sinks/create-sinks.ts';
import type { Post } from '../billing/delivery/sinks/http-sink.ts';
import { createStripeWays } from '../billing/delivery/ways.ts';
import { createWithdrawals, type Withdrawal } from '../billing/delivery/withdrawals.ts';
import type { Settings } from '../config.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';

export interface DeliveryParts {
  readonly settings: Settings;
  readonly runtime: Runtime;
  readonly crypto: Crypto;
  readonly ledger: Ledger;
  readonly stripe: Stripe;
  /** Reaches the places that are not Stripe. */
  readonly post: Post;
  /** Told how many events were sent, before more are. */
  readonly sent?: ((count: number) => Promise<void>) | undefined;
}

export interface AssembledDelivery {
  readonly delivery: MeterDelivery;
  /** What is wrong with the account's meters, and what to do. Rejects when Stripe cannot be asked. */
  readonly checkMeters: () => Promise<readonly string[]>;
  /** Takes an accepted event back from Stripe. */
  readonly withdraw: (identifier: string) => Promise<Withdrawal>;
}

export function assembleDelivery({
  settings: { billing },
  runtime,
  crypto,
  ledger,
  stripe,
  post,
  sent,
}: DeliveryParts): AssembledDelivery {
  const alarms = createAlarms({ ledger, runtime });
  const delivery = createDelivery({
    ledger,
    runtime,
    crypto,
    alarms,
    sink: createStripeWays(billing.transport, { stripe, runtime, heard: alarms.heard }),
    eventName: billing.eventName,
    layouts: billing.layouts,
    classOf: createClasses(billing.priceClasses),
    windowMs: billing.windowMs,
    sinks: createSinks({ sinks: billing.sinks, post, runtime, crypto }),
    sent,
  });
  return {
    delivery,
    checkMeters: () => meterWarnings({ ...billing, stripe, classes: [...billing.priceClasses.keys()] }),
    withdraw: createWithdrawals({ stripe, ledger, runtime }),
  };
}
