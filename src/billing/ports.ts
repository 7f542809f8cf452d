/** What billing needs of Stripe, and of any other place that usage is sent to. */
import type { Delivery, MeterEvent } from '../ledger/ledger.ts';

/** A place meter events are delivered to. Never throws for an answer of the other side: every event gets its delivery. */
export interface MeterSink {
  send(events: readonly MeterEvent[]): Promise<readonly Delivery[]>;
}

/** What is read from Stripe outside delivery. Each method throws `StripeUnreachable` when Stripe could not answer in time. */
export interface StripeAccount {
  /** Whether the customer exists and is not deleted. Waits 2 s at most. */
  customerExists(customer: string): Promise<boolean>;
  /** Whether any currency of the customer's metered credit balance is above zero. */
  hasAvailableCredit(customer: string): Promise<boolean>;
}

export class StripeUnreachable extends Error {
  override readonly name = 'StripeUnreachable';
}
