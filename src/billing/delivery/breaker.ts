/**
 * Holds sending back while Stripe gives no answers or refuses the key, so that the backlog stays never-attempted: what
 * was never attempted may be sent at any later time, what is ambiguous only for 23 hours.
 */

export interface BreakerOptions {
  /** A number from 0 up to, not including, 1. */
  readonly random: () => number;
}

/** What one send told of Stripe: it answered; it did not; it refuses the key. */
export type Sign = 'answered' | 'unanswered' | 'unauthorised';

export type Leave =
  | { readonly kind: 'send' }
  /** Send one event: the canary that failed before, or, with null, one that was tried least. */
  | { readonly kind: 'probe'; readonly canary: string | null }
  | { readonly kind: 'wait'; readonly untilMs: number };

export interface Breaker {
  leave(nowMs: number): Leave;
  /** Answers whether this made the breaker trip. */
  saw(sign: Sign, event: SentEvent, nowMs: number): boolean;
  /** The clock was set back by so much. */
  clockSetBack(byMs: number): void;
}

export interface SentEvent {
  readonly identifier: string;
  readonly isProbe: boolean;
  /** Stripe's own wish, when there was one. */
  readonly notBeforeMs: number;
}

/** One lost connection closes several sends at once; so many in a row are an outage. */
const FAILURES_MAX = 5;
const PROBE_MS_FIRST = 1_000;
/** Half of the 30 s within which a failed send must be retried once Stripe is well. */
const PROBE_MS_MAX = 15_000;
/** A refused key is mended by hand. */
const UNAUTHORISED_MS = 10_000;

interface Trip {
  readonly untilMs: number;
  /** Probes sent since it tripped. */
  readonly probes: number;
  readonly canary: string;
}

export function createBreaker({ random }: BreakerOptions): Breaker {
  let failures = 0;
  let trip: Trip | undefined;

  /** Between half and the whole of the interval, doubling: several processes must not probe in step. */
  const waitMs = (sign: Sign, probes: number): number =>
    sign === 'unauthorised'
      ? UNAUTHORISED_MS
      : Math.ceil(Math.min(PROBE_MS_MAX, PROBE_MS_FIRST * 2 ** Math.min(probes, 10)) * (0.5 + random() / 2));

  return {
    leave(nowMs) {
      if (trip === undefined) return { kind: 'send' };
      if (nowMs < trip.untilMs) return { kind: 'wait', untilMs: trip.untilMs };
      return { kind: 'probe', canary: wantsFresh(trip.probes + 1) ? null : trip.canary };
    },
    clockSetBack(byMs) {
      if (trip !== undefined) trip = { ...trip, untilMs: trip.untilMs - byMs };
    },
    saw(sign, { identifier, isProbe, notBeforeMs }, nowMs) {
      if (sign === 'answered') {
        failures = 0;
        trip = undefined;
        return false;
      }
      failures += 1;
      if (trip === undefined) {
        if (sign === 'unanswered' && failures < FAILURES_MAX) return false;
        trip = { untilMs: Math.max(nowMs + waitMs(sign, 0), notBeforeMs), probes: 0, canary: identifier };
        return true;
      }
      if (!isProbe) return false;
      const probes = trip.probes + 1;
      trip = { untilMs: Math.max(nowMs + waitMs(sign, probes), notBeforeMs), probes, canary: trip.canary };
      return sign === 'unauthorised';
    },
  };
}

/**
 * The 2nd, 4th, 8th … probe is another event: a canary that is itself the trouble must not block the others, and a day's
 * outage must not make thousands of events ambiguous (it makes about a dozen).
 */
const wantsFresh = (probe: number): boolean => probe > 1 && (probe & (probe - 1)) === 0;
