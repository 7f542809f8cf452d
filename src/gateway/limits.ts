/**
 * Step 1c: a caller's own limits. Requests and tokens per minute and calls at once, per API key: the configuration's, or
 * the key's own where it carries some.
 *
 * Tokens are counted twice: our own estimate of the input when the call is admitted, and in its place what was billed
 * when it is settled. So a call may pass the limit by its output, and the next ones wait for it.
 */
import { type Dialect, Refusal } from '../errors.ts';
import type { ApiKey, KeyLimits } from '../keys/keys.ts';
import type { CallerReply } from './ports.ts';
import type { Settler } from './settle.ts';
import { limitHeaders, type LimitState, secondsUntil } from './limit-headers.ts';
import { createSlidingWindow, type SlidingWindow } from './sliding-window.ts';

export interface Limiter {
  /**
   * Lets a request in and counts it.
   *
   * @throws {Refusal} 429 `rate_limit_exceeded` with `retry-after`; then nothing is counted.
   */
  enter(key: Pick<ApiKey, 'id' | 'limits'>, dialect: Dialect): Passage;
}

/** A request that was let in, until its reply is over and its call's books are closed. */
export interface Passage {
  /**
   * Counts the estimate against the tokens per minute. It is asked for only where they are limited.
   *
   * @throws {Refusal} 429.
   */
  take(estimate: () => number): void;
  /** The reply with the limits in its head; noticed when it is over. */
  watch(reply: CallerReply): CallerReply;
  /** The same, but that the settler's bill replaces the estimate, and that `done` ends the call's hold on its place. */
  counting<T extends Counted>(options: T): T;
  /** No call came of the request, and nobody is waiting for a reply that goes on. */
  leave(done: () => void): void;
}

interface Counted {
  readonly settler: Settler;
  readonly done: () => void;
}

export interface LimiterOptions {
  readonly limits: KeyLimits;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Keys whose last minute is remembered, 2 KB each; past it the one that has been quiet for longest starts afresh. */
const LIMITED_KEYS_MAX = 10_000;
/** When a running call will end is not known: this is when to ask again, milliseconds. */
const BUSY_MS = 1_000;

interface KeyUsage {
  running: number;
  readonly requests: SlidingWindow;
  readonly tokens: SlidingWindow;
}

export function createLimiter({ limits: configured, now }: LimiterOptions): Limiter {
  const usages = new Map<string, KeyUsage>();
  return {
    enter(key, dialect) {
      const limits = limitsOf(key.limits, configured);
      if (limits.rpm === null && limits.tpm === null && limits.concurrency === null) return UNLIMITED;
      const usage = usageOf(usages, key.id);
      const states = (): readonly LimitState[] => statesOf(limits, usage, now());
      const over = (what: string, waitMs: number, retries = true): Refusal =>
        tooMany(what, { waitMs, retries, headers: limitHeaders(states(), dialect, now()) });
      if (limits.concurrency !== null && usage.running >= limits.concurrency)
        throw over(`${limits.concurrency} calls at once`, BUSY_MS);
      if (limits.rpm !== null) {
        const waitMs = usage.requests.untilAtMost(limits.rpm - 1, now());
        if (waitMs > 0) throw over(`${limits.rpm} requests per minute`, waitMs);
        usage.requests.add(1, now());
      }
      return createPassage({
        usage,
        tpm: limits.tpm,
        now,
        over,
        head: () => limitHeaders(states(), dialect, now()),
      });
    },
  };
}

const limitsOf = (own: ApiKey['limits'], configured: KeyLimits): KeyLimits => ({
  rpm: own?.rpm === undefined ? configured.rpm : own.rpm,
  tpm: own?.tpm === undefined ? configured.tpm : own.tpm,
  concurrency: own?.concurrency === undefined ? configured.concurrency : own.concurrency,
});

/** The key's last minute, now the most recent of all. A key with a running call is never forgotten. */
function usageOf(usages: Map<string, KeyUsage>, id: string): KeyUsage {
  const usage = usages.get(id) ?? {
    running: 0,
    requests: createSlidingWindow(),
    tokens: createSlidingWindow(),
  };
  usages.delete(id);
  usages.set(id, usage);
  for (const [oldest, { running }] of usages) {
    if (usages.size <= LIMITED_KEYS_MAX || oldest === id) break;
    const busy = usages.get(oldest);
    usages.delete(oldest);
    if (running > 0 && busy !== undefined) usages.set(oldest, busy);
  }
  return usage;
}

function statesOf({ rpm, tpm }: KeyLimits, usage: KeyUsage, nowMs: number): readonly LimitState[] {
  const state = (of: LimitState['of'], limit: number | null, window: SlidingWindow): readonly LimitState[] =>
    limit === null
      ? []
      : [
          {
            of,
            limit,
            remaining: Math.max(0, limit - window.sum(nowMs)),
            resetMs: window.untilAtMost(0, nowMs),
          },
        ];
  return [...state('requests', rpm, usage.requests), ...state('tokens', tpm, usage.tokens)];
}

interface PassageParts {
  readonly usage: KeyUsage;
  readonly tpm: number | null;
  readonly now: () => number;
  readonly over: (what: string, waitMs: number, retries?: boolean) => Refusal;
  readonly head: () => Record<string, string>;
}

function createPassage({ usage, tpm, now, over, head }: PassageParts): Passage {
  const { tokens } = usage;
  let taken: { readonly amount: number; readonly atMs: number } | undefined;
  let holds = 2;
  usage.running += 1;
  const release = (): void => {
    holds -= 1;
    if (holds === 0) usage.running -= 1;
  };
  const done = once(release);
  const ended = once(release);
  const giveBack = (): void => {
    if (taken !== undefined) tokens.retract(taken.amount, taken.atMs);
    taken = undefined;
  };
  const closed = (): void => {
    // What was never settled has used nothing.
    giveBack();
    done();
  };
  return {
    take(estimate) {
      if (tpm === null) return;
      const amount = estimate();
      if (amount > tpm)
        throw over(`${tpm} tokens per minute, and this request alone has about ${amount}`, 60_000, false);
      const waitMs = tokens.untilAtMost(tpm - amount, now());
      if (waitMs > 0) throw over(`${tpm} tokens per minute`, waitMs);
      taken = { amount, atMs: now() };
      tokens.add(amount, taken.atMs);
    },
    watch: (reply) => watched(reply, head, ended),
    counting: (options) => ({
      ...options,
      settler: {
        ...options.settler,
        async settle(call, ending, measured) {
          const bill = await options.settler.settle(call, ending, measured);
          giveBack();
          tokens.add(bill.inputTokens + bill.outputTokens, now());
          return bill;
        },
      },
      done() {
        options.done();
        closed();
      },
    }),
    leave(left) {
      left();
      closed();
      ended();
    },
  };
}

const once = (work: () => void): (() => void) => {
  let did = false;
  return () => {
    if (did) return;
    did = true;
    work();
  };
};

/** A broken reply is over too, and so is one whose reader has left. */
const watched = (reply: CallerReply, head: () => Record<string, string>, over: () => void): CallerReply => ({
  head: (status, headers) => reply.head(status, { ...headers, ...head() }),
  write: (bytes) => reply.write(bytes),
  end() {
    reply.end();
    over();
  },
  break() {
    reply.break();
    over();
  },
  onDrain: (resume) => reply.onDrain(resume),
  onGone: (left) =>
    reply.onGone(() => {
      over();
      left();
    }),
});

function tooMany(
  what: string,
  { waitMs, retries, headers }: { waitMs: number; retries: boolean; headers: Record<string, string> },
): Refusal {
  const seconds = secondsUntil(waitMs);
  const advice = retries ? `Try again in ${seconds} s.` : 'Send less in one request.';
  return new Refusal('rate_limit_exceeded', `This key is limited to ${what}. ${advice}`, {
    retryAfterS: seconds,
    headers: {
      ...headers,
      'retry-after': String(seconds),
      // It will never fit, so that a client's own retries would be in vain.
      ...(retries ? {} : { 'x-should-retry': 'false' }),
    },
  });
}

/** What has no limits passes as it is, at no cost. */
export const UNLIMITED: Passage = {
  take: () => undefined,
  watch: (reply) => reply,
  counting: (options) => options,
  leave: (done) => done(),
};
