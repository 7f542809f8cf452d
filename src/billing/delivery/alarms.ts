/** Tells the operator, once for each step, that usage does not get to where it is billed. */
import type { Backlog, Ledger } from '../../ledger/ledger.ts';
import type { LogFields, Runtime } from '../../runtime.ts';

export interface Alarms {
  /** Looks, if it is time to; to be called with every pass. */
  check(): Promise<void>;
  /** Stripe's own time, from an answer's `date` header. */
  heard(date: string | undefined): void;
  /** What is wrong now, for readiness and totals; empty when nothing is. */
  detail(): Readonly<Record<string, string | number>>;
}

/** Looked at so often: it reads every event that waits. */
const CHECK_MS = 30_000;
/** By age of the oldest undelivered usage. Stripe takes 35 days; invoices close an hour after their period. */
const STEPS = [
  { ageMs: 3_600_000, name: '1 hour' },
  { ageMs: 24 * 3_600_000, name: '24 hours' },
  { ageMs: 30 * 24 * 3_600_000, name: '30 days' },
] as const;
/** Stripe refuses usage from more than 5 minutes ahead of its clock; its header has whole seconds. */
const SKEW_WARN_MS = 30_000;
const SKEW_ERROR_MS = 240_000;

export function createAlarms({
  ledger,
  runtime,
}: {
  readonly ledger: Pick<Ledger, 'backlog'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
}): Alarms {
  let checkedMs = -Infinity;
  let step = -1;
  let found: Backlog = { oldestMs: null, parked: {}, unmatchedVerdicts: 0 };
  let skewMs = 0;
  let skewLevel = 0;

  const tellAge = (ageMs: number): void => {
    const now = STEPS.findLastIndex((one) => ageMs >= one.ageMs);
    if (now > step) {
      const fields: LogFields = { older_than: STEPS[now]?.name, age_seconds: Math.round(ageMs / 1000) };
      runtime.log(now > 0 ? 'error' : 'warn', 'delivery_behind', fields);
    }
    if (now < step && now === -1) runtime.log('info', 'delivery_caught_up');
    step = now;
  };

  return {
    async check() {
      const nowMs = runtime.now();
      if (nowMs >= checkedMs && nowMs - checkedMs < CHECK_MS) return;
      checkedMs = nowMs;
      found = await ledger.backlog();
      tellAge(found.oldestMs === null ? -1 : nowMs - found.oldestMs);
    },
    heard(date) {
      const theirsMs = date === undefined ? NaN : Date.parse(date);
      if (!Number.isFinite(theirsMs)) return;
      skewMs = runtime.now() - theirsMs;
      const size = Math.abs(skewMs);
      const level = size >= SKEW_ERROR_MS ? 2 : size >= SKEW_WARN_MS ? 1 : 0;
      if (level > skewLevel) {
        const seconds = Math.round(skewMs / 1000);
        runtime.log(level === 2 ? 'error' : 'warn', 'clock_differs', { seconds_ahead_of_stripe: seconds });
      }
      skewLevel = level;
    },
    detail: () => ({
      ...(step >= 0 ? { undelivered_older_than: STEPS[step]?.name ?? '' } : {}),
      ...(found.oldestMs === null ? {} : { oldest_undelivered: new Date(found.oldestMs).toISOString() }),
      ...Object.fromEntries(Object.entries(found.parked).map(([state, count]) => [`events_${state}`, count])),
      ...(found.unmatchedVerdicts > 0 ? { unmatched_verdicts: found.unmatchedVerdicts } : {}),
      ...(skewLevel > 0 ? { clock_seconds_ahead_of_stripe: Math.round(skewMs / 1000) } : {}),
    }),
  };
}
