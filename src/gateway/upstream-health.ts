/**
 * The circuit breaker: what is known of upstreams in trouble, by provider and model. An upstream in good health is not in
 * here, and costs nothing.
 *
 * After several failures in a row an upstream is *open*: calls with another target go there. When its time is over one
 * call may try it (half open); if that fails it is open again, for twice as long. Any answer that is not a failure of its
 * own closes it.
 */
import type { Target } from './resolve.ts';

export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly failuresMax: number;
  /** Open for so long at most, milliseconds. */
  readonly openMsMax: number;
}

interface Trouble {
  /** In a row. */
  readonly failures: number;
  /** Times it was opened, probes that failed included; 0 while it is closed. */
  readonly opened: number;
  /** Open until then. */
  readonly untilMs: number;
  /** A call is trying it. */
  readonly probed: boolean;
  /** Whether the last failure was an answer. Then it is there, and its own error is the best thing to tell. */
  readonly answers: boolean;
}

export interface UpstreamHealth {
  /**
   * The first of the targets that may be asked, by its place; where none may, one that answers at least; else how long
   * the first to be tried again is still held back.
   */
  choose(
    targets: readonly Target[],
    nowMs: number,
  ): number | { readonly heldMs: number; readonly target: Target };
  /** Whether this one may be asked. Says yes once when its time is over: whoever asked must try it. */
  willing(target: Target, nowMs: number): boolean;
  /** Whether it is open, be it its time to be tried or not. */
  isOpen(target: Target): boolean;
  /** Answers whether that opened it. */
  failed(target: Target, failure: { readonly nowMs: number; readonly answered: boolean }): boolean;
  worked(target: Target): void;
}

/** Open for so long at first, milliseconds. */
const OPEN_MS_FIRST = 1_000;
/** Upstream models in trouble that are remembered; callers choose model names, so the oldest is forgotten. */
const TROUBLED_MAX = 1_000;

export function createUpstreamHealth({ failuresMax, openMsMax }: BreakerPolicy): UpstreamHealth {
  const troubled = new Map<string, Trouble>();
  const openMs = (opened: number): number => Math.min(openMsMax, OPEN_MS_FIRST * 2 ** Math.min(opened, 20));

  const willing: UpstreamHealth['willing'] = (target, nowMs) => {
    if (troubled.size === 0) return true;
    const key = keyOf(target);
    const trouble = troubled.get(key);
    if (trouble === undefined || trouble.opened === 0) return true;
    // Further off than it can have been set is a time before the clock was set back: then it is over.
    const leftMs = trouble.untilMs - nowMs;
    if (leftMs > 0 && leftMs <= openMs(trouble.opened)) return false;
    // Others stay away until the probe has ended; one that never does must not hold them back for ever.
    troubled.set(key, { ...trouble, probed: true, untilMs: nowMs + openMs(trouble.opened) });
    return true;
  };

  return {
    willing,
    choose(targets, nowMs) {
      if (troubled.size === 0) return 0;
      const first = targets.findIndex((target) => willing(target, nowMs));
      if (first >= 0) return first;
      const troubles = targets.map((target) => troubled.get(keyOf(target)));
      const answering = troubles.findIndex((trouble) => trouble?.answers === true);
      if (answering >= 0) return answering;
      const untils = troubles.map((trouble) => trouble?.untilMs ?? 0);
      const soonest = targets[untils.indexOf(Math.min(...untils))];
      return soonest === undefined ? 0 : { heldMs: Math.min(...untils) - nowMs, target: soonest };
    },
    isOpen: (target) => troubled.size > 0 && (troubled.get(keyOf(target))?.opened ?? 0) > 0,
    failed(target, { nowMs, answered }) {
      const key = keyOf(target);
      if (!troubled.has(key) && troubled.size >= TROUBLED_MAX) forgetOldest(troubled);
      const before = troubled.get(key) ?? { failures: 0, opened: 0, untilMs: 0, probed: false };
      const failures = before.failures + 1;
      // Of an open one only the probe is news: calls that were under way when it opened fail with it.
      const opens = before.opened === 0 ? failures >= failuresMax : before.probed;
      const now = opens
        ? { opened: before.opened + 1, untilMs: nowMs + openMs(before.opened), probed: false }
        : { opened: before.opened, untilMs: before.untilMs, probed: before.probed };
      troubled.set(key, { failures, answers: answered, ...now });
      return opens && before.opened === 0;
    },
    worked(target) {
      if (troubled.size > 0) troubled.delete(keyOf(target));
    },
  };
}

const keyOf = ({ route, upstreamModel }: Target): string => `${route.upstream.name}/${upstreamModel}`;

function forgetOldest(troubled: Map<string, Trouble>): void {
  const [oldest] = troubled.keys();
  if (oldest !== undefined) troubled.delete(oldest);
}
