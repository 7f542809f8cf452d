/**
 * How many sends a second one way takes, learned from its answers: no limit until it says that it is busy, then half of
 * what it was given in that second, then a tenth more each second that it does not complain.
 */

export interface Limiter {
  /** Sends that may begin now. */
  free(nowMs: number): number;
  /** One begins. */
  took(nowMs: number): void;
  /** It was busy, and asks to wait until then. */
  busy(nowMs: number, notBeforeMs: number): void;
  /** When another send may begin, if none may now. */
  nextMs(nowMs: number): number;
  /** The clock was set back: times known are of no use. */
  clockSetBack(): void;
  /** For people: sends a second, or Infinity. */
  readonly perSecond: number;
}

const SECOND = 1_000;
/** A fifth of what Stripe's sandbox takes: less would be slower than the retries of single events. */
const PER_SECOND_MIN = 5;
const GROWTH = 1.1;
/** Stripe's highest published rate, for the stream; past it nothing is limited here. */
const PER_SECOND_MAX = 10_000;

export function createLimiter(): Limiter {
  let perSecond = Infinity;
  let tokens = 0;
  let refilledMs = 0;
  let grownMs = 0;
  let closedUntilMs = 0;
  let second = { startMs: 0, sends: 0 };

  const refill = (nowMs: number): void => {
    if (perSecond === Infinity) return;
    if (refilledMs === 0) [refilledMs, grownMs] = [nowMs, nowMs];
    tokens = Math.min(Math.max(1, perSecond), tokens + ((nowMs - refilledMs) / SECOND) * perSecond);
    refilledMs = nowMs;
    const quietS = Math.min(100, Math.floor((nowMs - grownMs) / SECOND));
    if (quietS < 1) return;
    grownMs = nowMs;
    perSecond *= GROWTH ** quietS;
    if (perSecond > PER_SECOND_MAX) perSecond = Infinity;
  };

  return {
    get perSecond() {
      return perSecond;
    },
    free(nowMs) {
      if (nowMs < closedUntilMs) return 0;
      refill(nowMs);
      return perSecond === Infinity ? Infinity : Math.floor(tokens);
    },
    took(nowMs) {
      tokens -= 1;
      second =
        nowMs - second.startMs < SECOND && nowMs >= second.startMs
          ? { ...second, sends: second.sends + 1 }
          : { startMs: nowMs, sends: 1 };
    },
    busy(nowMs, notBeforeMs) {
      closedUntilMs = Math.max(closedUntilMs, notBeforeMs);
      // One crowded second is one complaint, however many of its sends were turned away.
      if (perSecond !== Infinity && nowMs - grownMs < SECOND && nowMs >= grownMs) return;
      perSecond = Math.max(PER_SECOND_MIN, Math.min(perSecond, second.sends) / 2);
      tokens = Math.min(tokens, 0);
      [refilledMs, grownMs] = [nowMs, nowMs];
    },
    nextMs(nowMs) {
      if (nowMs < closedUntilMs) return closedUntilMs - nowMs;
      refill(nowMs);
      return tokens >= 1 || perSecond === Infinity ? 0 : Math.ceil(((1 - tokens) / perSecond) * SECOND);
    },
    clockSetBack() {
      [refilledMs, grownMs, closedUntilMs] = [0, 0, 0];
      second = { startMs: 0, sends: 0 };
    },
  };
}
