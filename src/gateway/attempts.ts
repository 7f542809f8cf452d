/**
 * What follows an attempt that failed: the same target again, the next one, or the failure as the call's answer. Pure.
 *
 * Only attempts of which the caller has not seen a byte come here. A target's retries come before the next target, so
 * that the operator's order of preference holds through a moment's trouble.
 */

/** How an attempt failed. */
export type Failure =
  | { readonly kind: 'answered'; readonly status: number; readonly headers: Headers; readonly text: string }
  /** Nobody answered: no connection; no word for too long; the connection broke before the reply was whole. */
  | { readonly kind: 'unreachable' | 'timeout' | 'broken' }
  /** The gateway itself is on its way out. */
  | { readonly kind: 'stopped' }
  /** The reply was there, and could not be read. */
  | { readonly kind: 'unreadable' }
  /** A stream whose first word was an error. */
  | { readonly kind: 'failed_stream' }
  /** The upstream refused to be asked for usage. */
  | { readonly kind: 'usage_option' };
type Headers = Readonly<Record<string, string>>;

export interface Verdict {
  /** `again`: the same target may do better soon. `next`: another one may. `end`: nobody would. */
  readonly turn: 'again' | 'next' | 'end';
  /** Whose doing it is: the operator hears of his own, and an upstream's count against it. */
  readonly fault: 'caller' | 'operator' | 'upstream' | 'rate';
}

const caller: Verdict = { turn: 'end', fault: 'caller' };
const operator: Verdict = { turn: 'next', fault: 'operator' };
const rate: Verdict = { turn: 'again', fault: 'rate' };
const upstream: Verdict = { turn: 'again', fault: 'upstream' };

/** The one table of statuses. Of those not in it, 3xx are the operator's, 4xx the caller's and 5xx the upstream's. */
const STATUSES: Readonly<Record<number, Verdict>> = {
  400: caller,
  // The key, the vendor's bill, the account's rights, and the model's name in a list are the operator's.
  401: operator,
  402: operator,
  403: operator,
  404: operator,
  407: operator,
  408: upstream,
  409: rate,
  413: caller,
  422: caller,
  425: rate,
  429: rate,
  501: { turn: 'next', fault: 'upstream' },
  505: { turn: 'next', fault: 'upstream' },
};

/** The same for failures without a status. */
const KINDS: Readonly<Record<Exclude<Failure['kind'], 'answered'>, Verdict>> = {
  unreachable: upstream,
  // It was waited for long enough, and may still be at work on it.
  timeout: { turn: 'next', fault: 'upstream' },
  broken: upstream,
  stopped: caller,
  // It has done the work, and would do the same again.
  unreadable: { turn: 'end', fault: 'upstream' },
  failed_stream: upstream,
  usage_option: { turn: 'again', fault: 'operator' },
};

/** What an error's body says that its status does not: the vendor wants money or another key, whatever is asked. */
const OPERATORS_WORDS =
  /insufficient_quota|billing_hard_limit|credit balance is too low|API_KEY_INVALID|API key expired/;

export function verdictOf(failure: Failure): Verdict {
  if (failure.kind !== 'answered') return KINDS[failure.kind];
  const { status, headers, text } = failure;
  const verdict = STATUSES[status] ?? (status < 400 ? operator : status < 500 ? caller : upstream);
  if (OPERATORS_WORDS.test(text)) return operator;
  // The upstream's own word on whether it is worth it.
  if (verdict.turn === 'again' && headers['x-should-retry'] === 'false') return { ...verdict, turn: 'next' };
  return verdict;
}

/** How far a call has come with its targets. */
export interface Course {
  /** The target that failed, of `targets`. */
  readonly at: number;
  readonly targets: number;
  /** Times this target was asked. */
  readonly tries: number;
  /** Times any was. */
  readonly attempts: number;
  /** Left of the call's time, milliseconds. */
  readonly leftMs: number;
}

export interface Policy {
  /** Times the same target is asked again. */
  readonly retriesMax: number;
  /** A wait longer than this is not waited, milliseconds: the caller does better to know. */
  readonly waitMsMax: number;
  readonly nowMs: number;
  /** From 0 up to, not including, 1. */
  readonly random: number;
  /** Whether a target may be asked now: false while its upstream is known to be in trouble. */
  readonly willing: (target: number) => boolean;
}

export type Step =
  { readonly kind: 'ask'; readonly target: number; readonly waitMs: number } | { readonly kind: 'end' };

/** Upstreams asked for one call at most, retries included: 8 targets and as many retries. */
const ATTEMPTS_MAX = 16;
/** The first wait at most, milliseconds; it doubles. Between half and the whole of it, so that callers do not come in step. */
const BACKOFF_MS_FIRST = 400;

const END: Step = { kind: 'end' };

export function nextStep(failure: Failure, course: Course, policy: Policy): Step {
  const { turn } = verdictOf(failure);
  if (turn === 'end' || course.attempts >= ATTEMPTS_MAX) return END;
  if (failure.kind === 'usage_option') return { kind: 'ask', target: course.at, waitMs: 0 };
  if (turn === 'again' && course.tries <= policy.retriesMax && policy.willing(course.at)) {
    const waitMs = waitOf(failure, course.tries, policy);
    if (waitMs <= policy.waitMsMax && waitMs < course.leftMs) {
      return { kind: 'ask', target: course.at, waitMs };
    }
  }
  if (course.leftMs <= 0) return END;
  for (let target = course.at + 1; target < course.targets; target += 1) {
    if (policy.willing(target)) return { kind: 'ask', target, waitMs: 0 };
  }
  return END;
}

/** The upstream's own wish where it has one; else our own, no longer than is waited at all. */
function waitOf(failure: Failure, tries: number, { nowMs, random, waitMsMax }: Policy): number {
  const wish = failure.kind === 'answered' ? retryAfterMs(failure.headers, nowMs) : undefined;
  if (wish !== undefined) return wish;
  return Math.round(Math.min(waitMsMax, BACKOFF_MS_FIRST * 2 ** (tries - 1)) * (0.5 + random / 2));
}

/** `retry-after-ms`, or `retry-after` as seconds or a date (RFC 9110, 10.2.3); undefined where it says nothing. */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const ms = Number.parseFloat(headers['retry-after-ms'] ?? '');
  if (ms >= 0) return ms;
  const text = headers['retry-after']?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
