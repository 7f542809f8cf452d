/** Lets go of what is older than the operator keeps, in small steps between the passes of delivery, once a day. */
import type { Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';

export interface RetentionOptions {
  readonly ledger: Pick<Ledger, 'dropCalls' | 'dropUnits'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  /** Null keeps everything. */
  readonly days: number | null;
  /** From now to the first step, milliseconds. */
  readonly firstMs?: number | undefined;
}
export interface RetentionPasses {
  /** One step, if one is due; answers after how many milliseconds the next one is, if any. */
  pass(): Promise<number | undefined>;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** After the start there is more pressing work. */
const FIRST_MS = 60_000;
/** Between two steps: the ledger's writer is busy with one for some 5 ms, so it keeps nine tenths of its time and more. */
const STEP_MS = 100;

export function createRetentionPasses({
  ledger,
  runtime,
  days,
  firstMs = FIRST_MS,
}: RetentionOptions): RetentionPasses {
  if (days === null) return { pass: async () => undefined };
  let dueMs = runtime.now() + firstMs;
  let at: { readonly part: 'calls' | 'units'; readonly cursor: string | null } = {
    part: 'calls',
    cursor: null,
  };
  let calls = 0;
  let events = 0;

  const step = async (): Promise<boolean> => {
    // Whole hours: what is left of an hour can be compared with Stripe's sum of it, or nothing is.
    const limitMs = runtime.now() - days * DAY_MS;
    const query = { beforeMs: limitMs - (limitMs % HOUR_MS), cursor: at.cursor };
    const dropped = at.part === 'calls' ? await ledger.dropCalls(query) : await ledger.dropUnits(query);
    calls += dropped.calls;
    events += dropped.events;
    if (dropped.nextCursor !== null) at = { part: at.part, cursor: dropped.nextCursor };
    else if (at.part === 'calls') at = { part: 'units', cursor: null };
    else return true;
    return false;
  };

  return {
    async pass() {
      const nowMs = runtime.now();
      // Within a day, whatever clock it was planned by.
      dueMs = Math.min(dueMs, nowMs + DAY_MS);
      if (nowMs < dueMs) return dueMs - nowMs;
      const isOver = await step();
      dueMs = nowMs + (isOver ? DAY_MS : STEP_MS);
      if (isOver) {
        if (calls + events > 0)
          runtime.log('info', 'ledger_trimmed', { calls, events, older_than_days: days });
        at = { part: 'calls', cursor: null };
        [calls, events] = [0, 0];
      }
      return dueMs - nowMs;
    },
  };
}
