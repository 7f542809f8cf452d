/** Everything that is read from Stripe, put together: customers, their money, webhooks and what makes up for lost ones. */
import type { Stripe } from 'stripe';
import type { Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { createCustomers, type Customers } from './customers.ts';
import { createLateVerdicts } from '../delivery/late-verdicts.ts';
import type { StripeAccount } from '../ports.ts';
import { createStripeAccount } from './account.ts';
import { createEventPoll, type EventPoll } from './poll.ts';
import { createStripeReader } from './reading.ts';
import { createRefresher, type Refresher } from './refresh.ts';
import type { AlertPolicy } from './webhook-facts.ts';
import type { ToppingUp } from '../top-ups/top-ups.ts';
import { createWebhooks, type Webhooks } from './webhooks.ts';

export interface StripeSideOptions {
  readonly stripe: Stripe;
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly webhookSecret: string;
  readonly alerts: AlertPolicy;
  readonly whenUnknown: 'refuse' | 'allow';
  /** How long a customer is served after a payment is missing, milliseconds. */
  readonly graceMs: number;
  /** Told when a customer's money was read anew. */
  readonly changed?: ((customer: string) => void) | undefined;
  /** Told of checkouts. */
  readonly topUps?: Pick<ToppingUp, 'told'> | undefined;
}

export interface StripeSide {
  readonly account: StripeAccount;
  readonly customers: Customers;
  readonly webhooks: Webhooks;
  readonly refresher: Refresher;
  readonly poll: EventPoll;
}

export function createStripeSide(options: StripeSideOptions): StripeSide {
  const { stripe, ledger, runtime, graceMs } = options;
  const account = createStripeAccount({ stripe });
  const reader = createStripeReader({ stripe, graceMs, now: runtime.now });
  const refresher = createRefresher({ ledger, reader, runtime, graceMs, changed: options.changed });
  const customers = createCustomers({
    ledger,
    account,
    runtime,
    whenUnknown: options.whenUnknown,
    first: refresher.first,
  });
  const webhooks = createWebhooks({
    secret: options.webhookSecret,
    ledger,
    account,
    customers,
    runtime,
    alerts: options.alerts,
    verdicts: createLateVerdicts({ stripe, ledger, runtime }),
    refresher,
    topUps: options.topUps,
  });
  const apply = async (text: string): Promise<void> => void (await webhooks.apply(text));
  return {
    account,
    customers,
    webhooks,
    refresher,
    poll: createEventPoll({ stripe, ledger, apply, runtime }),
  };
}
