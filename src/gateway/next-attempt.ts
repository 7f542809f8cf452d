/**
 * Which upstream a call asks first, and after an attempt that failed, which next. What follows what is decided in
 * attempts.ts; here are the things it is decided about: health, refusals, the record.
 */
import type { ProviderCall } from '../../providers/provider.ts';
import { Untranslatable } from '../../providers/translation/conversation.ts';
import { Refusal } from '../errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';
import { type Failure, nextStep, type Step, verdictOf } from './attempts.ts';
import { type Call, prepare, type PreparedCall } from './call.ts';
import type { Target } from './resolve.ts';
import type { Ending, Settler } from './settle.ts';
import { type BreakerPolicy, createUpstreamHealth, type UpstreamHealth } from './upstream-health.ts';

/** A call before it is known who serves it. */
export interface CallDraft extends Omit<Call, 'target' | 'request'> {
  readonly request: Omit<ProviderCall, 'model'>;
}

/** An attempt that failed. */
export interface Failed {
  readonly prepared: PreparedCall;
  readonly failure: Failure;
  readonly ending: Ending;
  /** Whether its reply has begun, or nobody waits for another: then nothing follows it. */
  readonly last: boolean;
}

export interface Next {
  readonly prepared: PreparedCall;
  readonly waitMs: number;
  /** Resolves when the failed attempt is on record. */
  readonly recorded: Promise<void>;
}

export interface Attempts {
  /**
   * The call at the first of its targets that can be asked.
   *
   * @throws {Refusal} 502 when all are held back, or what the first said when none can be asked for this.
   */
  first(draft: CallDraft): PreparedCall;
  /** What follows; undefined when the failure is the call's own end. */
  after(failed: Failed): Next | undefined;
  /** Told of each target that has answered well. */
  worked(target: Target): void;
}

export interface AttemptsOptions {
  readonly ledger: Ledger;
  readonly settler: Settler;
  readonly runtime: Runtime;
  readonly crypto: Crypto;
  readonly retries: { readonly max: number; readonly waitMsMax: number };
  readonly breaker: BreakerPolicy;
}

/** Upstreams that answered well once they were not asked for usage, by name and model; forgotten when there are too many. */
const REFUSALS_REMEMBERED_MAX = 1_000;

export function createAttempts(options: AttemptsOptions): Attempts {
  const { runtime, settler, ledger } = options;
  const health = createUpstreamHealth(options.breaker);
  const refusesUsageOption = new Set<string>();
  const unasked = new WeakSet<Target>();

  const at: At = (draft, place) => {
    const target = draft.targets[place];
    if (target === undefined) throw new Error(`A call has no target ${place}.`);
    const willing = refusesUsageOption.has(keyOf(target)) ? withoutUsageOption(target) : target;
    const request = { ...draft.request, model: target.upstreamModel };
    return prepare({ ...draft, target: willing, request }, place);
  };

  return {
    first(draft) {
      const chosen = health.choose(draft.targets, runtime.now());
      if (typeof chosen !== 'number') throw held(chosen.target, chosen.heldMs);
      return firstPrepared(draft, chosen, at);
    },
    worked(target) {
      health.worked(target);
      // Only now: what was refused may have been something else, which a caller wrote beside it.
      if (!unasked.has(target)) return;
      if (refusesUsageOption.size >= REFUSALS_REMEMBERED_MAX) refusesUsageOption.clear();
      refusesUsageOption.add(keyOf(target));
    },
    after(failed) {
      const { failure, ending } = failed;
      const prepared =
        failure.kind === 'usage_option' ? unaskedFor(failed.prepared, unasked) : failed.prepared;
      note(failed, health, runtime);
      const step = failed.last ? undefined : stepOf(failed, health, options);
      const next = step?.kind === 'ask' ? preparedFrom(prepared, step.target, at) : undefined;
      if (step?.kind !== 'ask' || next === undefined) return undefined;
      const { route, billedModel: model } = next.call.target;
      const record = settler.failedAttempt(prepared.call, ending, failure.kind);
      const recorded = ledger.attemptFailed(prepared.call.id, record, {
        provider: route.upstream.name,
        model,
      });
      return { prepared: next, waitMs: step.waitMs, recorded };
    },
  };
}

function stepOf(
  { prepared, failure, ending }: Failed,
  health: UpstreamHealth,
  options: AttemptsOptions,
): Step {
  const { call, at, tries } = prepared;
  const nowMs = options.runtime.now();
  const leftMs = call.target.route.timeouts.totalMs - (nowMs - call.startedAtMs);
  return nextStep(
    failure,
    { at, tries, targets: call.targets.length, attempts: ending.attempt, leftMs },
    {
      retriesMax: options.retries.max,
      waitMsMax: options.retries.waitMsMax,
      nowMs,
      random: (options.crypto.random(1)[0] ?? 0) / 256,
      willing(place) {
        const target = call.targets[place];
        if (target === undefined) return false;
        // One that is open is not retried; another is tried when its time has come.
        return place === at ? !health.isOpen(target) : health.willing(target, nowMs);
      },
    },
  );
}

/** What the failure says of the upstream, and the operator's line about it. */
function note(
  { prepared: { call }, failure, ending }: Failed,
  health: UpstreamHealth,
  runtime: Runtime,
): void {
  const { fault } = verdictOf(failure);
  const upstream = keyOf(call.target);
  if (fault === 'upstream') {
    const answered = failure.kind === 'answered' || failure.kind === 'failed_stream';
    if (health.failed(call.target, { nowMs: runtime.now(), answered }))
      runtime.log('warn', 'upstream_open', { upstream });
  } else {
    health.worked(call.target);
  }
  // A refusal of the caller's own request is nobody's trouble.
  if (fault === 'caller') return;
  runtime.log(fault === 'operator' ? 'error' : 'warn', 'attempt_failed', {
    request_id: call.id,
    attempt: ending.attempt,
    upstream,
    failure: failure.kind,
    status: ending.status,
    fault,
  });
}

/** The target cannot be asked for what the caller wants; another may be. */
const isRefusal = (error: unknown): boolean => error instanceof Refusal || error instanceof Untranslatable;

type At = (draft: CallDraft, place: number) => PreparedCall;

/** The call at that place or a later one, whichever can first be asked for what the caller wants. */
function firstPrepared(draft: CallDraft, place: number, at: At): PreparedCall {
  try {
    return at(draft, place);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    for (let later = 0; later < draft.targets.length; later += 1) {
      if (later === place) continue;
      try {
        return at(draft, later);
      } catch (other) {
        if (!isRefusal(other)) throw other;
      }
    }
    throw error;
  }
}

/** The call at that place, or a later one; a second try where it is the same as before. */
function preparedFrom(before: PreparedCall, place: number, at: At): PreparedCall | undefined {
  for (let later = place; later < before.call.targets.length; later += 1) {
    try {
      const next = at(before.call, later);
      return later === before.at ? { ...next, tries: before.tries + 1 } : next;
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }
  return undefined;
}

function held({ route }: Target, heldMs: number): Refusal {
  const retryAfterS = Math.max(1, Math.ceil(heldMs / 1000));
  return new Refusal(
    'upstream_error',
    `The provider "${route.upstream.name}" has not answered for several calls in a row, and is not asked for another ${retryAfterS} s.`,
    { headers: { 'retry-after': String(retryAfterS) }, retryAfterS },
  );
}

const keyOf = ({ route, upstreamModel }: Target): string => `${route.upstream.name}/${upstreamModel}`;

/** The call whose target is not asked for usage when its turn comes again; that target is noted. */
function unaskedFor(prepared: PreparedCall, unasked: WeakSet<Target>): PreparedCall {
  const targets = prepared.call.targets.map((target, place) =>
    place === prepared.at ? withoutUsageOption(target) : target,
  );
  const target = targets[prepared.at];
  if (target !== undefined) unasked.add(target);
  return { ...prepared, call: { ...prepared.call, targets } };
}

const withoutUsageOption = (target: Target): Target => ({
  ...target,
  route: { ...target.route, upstream: { ...target.route.upstream, asksUsage: false } },
});
