/** From settled lines to events that are delivered: what delivery asks of the ledger. Times are milliseconds. */
import type { Line } from './ledger.ts';

/** A sealed meter event: never changed again; an equal identifier means an equal event. */
export interface MeterEvent {
  readonly identifier: string;
  /** Where it goes: one of Stripe's layouts (`dimensions`, `per_type`, `cost`), or `sink:<name>`. */
  readonly destination: string;
  readonly eventName: string;
  readonly customer: string;
  readonly model: string;
  readonly tokenType: string;
  /** Whole tokens, decimal; in the cost layout millionths of a dollar, and 0 where that little is carried on. */
  readonly value: string;
  /** When the call ended; of several calls, the last. */
  readonly timestampMs: number;
}
export interface LeasedEvent extends MeterEvent {
  /** Times the event was tried, this lease included. */
  readonly attempts: number;
  /** The earliest attempt that Stripe may have acted on: an attempt that surely failed (`retry`) does not count. */
  readonly firstAttemptAtMs: number;
  /** Whether an earlier attempt ended without a clear answer. */
  readonly isInDoubt: boolean;
  /** The way it goes: the one of an attempt in doubt, where there was one; else the way this lease is for. */
  readonly transport: string | null;
}
export type EventState =
  | 'pending'
  | 'sending'
  | 'accepted'
  | 'confirmed'
  | 'refused'
  | 'ambiguous'
  | 'quarantined'
  | 'expired'
  | 'cancelled';

/**
 * `busy`: Stripe asked to wait. `contended`: it is busy with the same customer and meter. `unreachable`: nobody answered. `unauthorised`: Stripe refuses the key, not the event.
 * `forbidden`: the key may not do this; whether for this event or for any, other events tell. `misdirected`: there is no
 * such route where the request went. `early`: the usage is ahead of Stripe's clock.
 */
export type RetryCause =
  'busy' | 'contended' | 'unreachable' | 'unauthorised' | 'forbidden' | 'misdirected' | 'early';

/** Stripe's answer to one event. */
export type Delivery =
  | { readonly identifier: string; readonly kind: 'accepted' | 'duplicate' }
  | {
      readonly identifier: string;
      /** Stripe surely did not take it. */
      readonly kind: 'retry';
      readonly notBeforeMs: number;
      readonly error: string;
      readonly cause?: RetryCause | undefined;
      /** True when it was not sent at all, or not for a fault of its own: this lease does not count as an attempt. */
      readonly untried?: boolean | undefined;
    }
  | {
      readonly identifier: string;
      readonly kind: 'ambiguous';
      readonly notBeforeMs: number;
      readonly error: string;
      /** Whoever answered, Stripe or a proxy, has no such route. */
      readonly noRoute?: boolean | undefined;
    }
  /**
   * `quarantined`: too old to be told apart from a second event; never sent again, left to reconciliation. `expired`: its
   * usage is older than Stripe takes.
   */
  | {
      readonly identifier: string;
      readonly kind: 'refused' | 'quarantined' | 'expired';
      readonly error: string;
    };

/** A line that is settled and not yet in an event of the destination. */
export interface UnsealedLine extends Line {
  readonly call: string;
  readonly customer: string;
  readonly endedAtMs: number;
  readonly destination: string;
  /** Its part of what the call cost, picodollars: all of it on a call's first line. */
  readonly pico: string;
}
export interface SealingScope {
  /** `dimensions` alone unless given. */
  readonly destinations?: readonly string[] | undefined;
  /** Only calls that ended before. */
  readonly beforeMs?: number | undefined;
}
/** What sealing must know of a customer. */
export interface SealingFacts {
  /** What the cost layout has not billed yet: less than a millionth of a dollar. */
  readonly carryPico: string;
  /** Times known to part two billing periods: usage is not summed across them. */
  readonly boundariesMs: readonly number[];
}
/** The event a line was sealed into. */
export interface Seal {
  readonly event: MeterEvent;
  readonly members: readonly {
    readonly call: string;
    readonly attempt: number;
    readonly model: string;
    readonly tokenType: string;
  }[];
  /** Of an event of the cost layout: what is carried to it and on. Its value is the rest. */
  readonly carry?: { readonly beforePico: string; readonly afterPico: string } | undefined;
}

export interface LeaseRequest {
  readonly nowMs: number;
  readonly leaseMs: number;
  readonly limit: number;
  /** Only this event, if it is due. */
  readonly identifier?: string | undefined;
  /** Only events of these; any, unless given. */
  readonly destinations?: readonly string[] | undefined;
  /** The way they will be sent, kept with each for as long as its attempt is in doubt. */
  readonly transport?: string | undefined;
}

/** What became, by Stripe's own later word, of events that it had taken. */
export interface LateVerdict {
  /** Stripe's id of the news. */
  readonly id: string;
  readonly type: string;
  readonly message: string;
  /** Events that Stripe says failed. */
  readonly errorCount: number;
  /** Those it names, each with the reason and what to do. */
  readonly refused: readonly { readonly identifier: string; readonly error: string }[];
  readonly receivedAtMs: number;
  /** By Stripe's clock: until when it looked at what it speaks of. Of attempts made long after, it says nothing. */
  readonly validatedUntilMs: number;
  /** Of those it names: how many were found in other ledgers, where ledgers lie apart. */
  readonly matchedElsewhere?: number | undefined;
}

/** How far delivery is behind. */
export interface Backlog {
  /** When the oldest call ended whose usage is not delivered, nor parked for the operator; null when there is none. */
  readonly oldestMs: number | null;
  /** Events parked by state: `refused`, `quarantined`, `expired`. */
  readonly parked: Readonly<Record<string, number>>;
  /** Events that Stripe said it failed, and that could not be matched. */
  readonly unmatchedVerdicts: number;
}

export interface DeliveryLedger {
  /** The lines of the oldest calls, `limit` of them at most, that are in no event yet, for each destination. */
  unsealed(limit: number, scope?: SealingScope): Promise<readonly UnsealedLine[]>;
  sealingFacts(customers: readonly string[]): Promise<ReadonlyMap<string, SealingFacts>>;
  /**
   * Writes events and binds their lines to them, in one step. A line that is already bound keeps its event; an event
   * that cannot have all of its lines is not written, and leaves them unsealed. `destinations` are all there are: a call
   * is done when its lines are in events of each.
   */
  seal(seals: readonly Seal[], destinations?: readonly string[]): Promise<void>;
  /** Events that wait to be delivered, counted up to `limit`. */
  waiting(limit: number, destinations?: readonly string[]): Promise<number>;
  /** When the first of them is due: a retry's time, or the end of a lease. Undefined where none waits. */
  nextDueMs(destinations: readonly string[]): Promise<number | undefined>;
  backlog(): Promise<Backlog>;
  /**
   * Takes events that are due (`pending`, `ambiguous`, or `sending` with a lease that ran out) for `leaseMs`, those
   * that have waited longest first: what was tried and put off comes after what was never tried.
   */
  lease(lease: LeaseRequest): Promise<readonly LeasedEvent[]>;
  /** Records Stripe's answers. */
  mark(deliveries: readonly Delivery[], nowMs: number): Promise<void>;

  /** Makes a refused event due again, with its doubt if it has any; false where it is not refused. */
  retryEvent(identifier: string, nowMs: number): Promise<boolean>;
  /**
   * Ends the doubt about a quarantined event: Stripe has it (`delivered`, it counts as accepted), or has it not (`lost`,
   * it is due again). False where it is not quarantined.
   */
  resolveEvent(identifier: string, found: 'delivered' | 'lost', nowMs: number): Promise<boolean>;
  /**
   * The wall clock was set back by so much: what waits for a time, is in doubt since one, or was read at one, moves with
   * it. Without this, retries would wait for the old time, and doubt would be thought younger than it is.
   */
  clockSetBack(byMs: number): Promise<void>;
  /** The latest time on record of any event; null without events. */
  latestEventMs(): Promise<number | null>;
  /** The same, for the clock to be compared with at the start; null too where the ledger was moved for that time already. */
  latestClockMs(): Promise<number | null>;
  /** Waives an event that Stripe surely has not; false where it may have it. */
  cancelEvent(identifier: string): Promise<boolean>;
  /** Stripe took back an event it had accepted; false where it is not accepted. */
  cancelAccepted(identifier: string): Promise<boolean>;
  /** Reconciliation found these accepted events in Stripe's sums. */
  confirmEvents(identifiers: readonly string[]): Promise<void>;
  /**
   * Records a late verdict once, and refuses the events it names that Stripe has, or may have, taken: accepted, on their
   * way, or in doubt. What is answered to an attempt under way changes nothing then. Answers how many those were.
   */
  applyVerdict(
    verdict: LateVerdict,
  ): Promise<{ readonly kind: 'applied' | 'seen'; readonly matched: number }>;
}
