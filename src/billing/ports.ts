/** What billing needs of Stripe, and of any other place that usage is sent to. */
import type { Delivery, MeterEvent } from '../ledger/ledger.ts';

/** A place meter events are delivered to. Never throws for an answer of the other side: every event gets its delivery. */
export interface MeterSink {
  send(events: readonly MeterEvent[]): Promise<readonly Delivery[]>;
}

/** One way of sending, with its rules. */
export interface Transport extends MeterSink {
  readonly name: string;
  /** Events that one `send` takes. */
  readonly batchMax: number;
  /** Whether one customer's events of one meter go one after the other, as Stripe asks; batches go in any order. */
  readonly isInTurn: boolean;
  /** Sends at a time. */
  readonly parallelMax: number;
}

/** The ways to one place, and the choice among them. */
export interface Transports {
  /** The way for events that are leased now, with so many waiting. */
  choose(waiting: number, nowMs: number): Transport;
  /** A way that events in doubt began on; undefined where it is closed now. */
  named(name: string, nowMs: number): Transport | undefined;
  /** Told of every answer. */
  saw(transport: Transport, answer: Delivery, nowMs: number): void;
}

/** What is read from Stripe outside delivery. Each method throws `StripeUnreachable` when Stripe could not answer in time. */
export interface StripeAccount {
  /** Whether the customer exists and is not deleted. Waits 2 s at most. */
  customerExists(customer: string): Promise<boolean>;
  /** Whether any of the customer's metered credit in US dollars is left; undefined where the key may not read it. */
  hasAvailableCredit(customer: string): Promise<boolean | undefined>;
}

export class StripeUnreachable extends Error {
  override readonly name = 'StripeUnreachable';
}
