/**
 * Once a night the ledger is compared with Stripe, by whoever owns the loop: it asks with every pass. A run that failed is
 * tried again soon, and again, each time after twice as long.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { RunView } from '../../ledger/reconcile-port.ts';
import type { Runtime } from '../../runtime.ts';
import type { Reconciler } from './reconciler.ts';

export interface Nightly {
  /** Begins a run when one is due; never waits for it. Answers when to ask again, milliseconds from now. */
  check(): Promise<number>;
  /** For readiness: empty while the nights go well. */
  detail(): Record<string, unknown>;
}

export interface NightlyOptions {
  readonly ledger: Pick<Ledger, 'runs' | 'customerAfter' | 'oldestUnconfirmedMs'>;
  readonly runtime: Pick<Runtime, 'now' | 'defer' | 'log'>;
  readonly reconciler: Reconciler;
  /** Milliseconds after 03:10: where many ledgers are compared, not all at once. */
  readonly offsetMs?: number | undefined;
}

const DAY_MS = 86_400_000;
/** 03:10 UTC: the last day's usage has left, and Stripe's sums had three hours to follow. */
const AT_MS = 11_400_000;
const RETRY_MS_FIRST = 300_000;
const RETRY_MS_MAX = 7_200_000;
/** In a row, some half an hour after the first: then it is no hiccup. */
const FAILURES_ALARM = 3;
/** While a run by command is under way. */
const BUSY_MS = 60_000;
/** Runs by command that may lie between two nights', and failures in a row that are counted. */
const RUNS_MAX = 100;

/** A night that was missed is made up for at once; a ledger that was never compared waits for its first night. */
export function createNightly(options: NightlyOptions): Nightly {
  const { runtime, reconciler, offsetMs = 0 } = options;
  let nextMs: number | undefined;
  let failures = 0;

  const over = ({ state, error }: Pick<RunView, 'state' | 'error'>): void => {
    const nowMs = runtime.now();
    if (state !== 'failed') {
      if (failures >= FAILURES_ALARM) runtime.log('info', 'reconciliation_well_again', { failures });
      failures = 0;
      return;
    }
    failures += 1;
    nextMs = Math.min(nightAfter(nowMs, offsetMs), nowMs + retryMs(failures));
    if (failures >= FAILURES_ALARM) runtime.log('error', 'reconciliation_keeps_failing', { failures, error });
  };

  return {
    async check() {
      if (nextMs === undefined) ({ nextMs, failures } = await planned(options));
      const nowMs = runtime.now();
      // Never later than the next night: one that was planned by a clock since set back could be a year off.
      nextMs = Math.min(nextMs, nightAfter(nowMs, offsetMs));
      if (nowMs < nextMs) return nextMs - nowMs;
      const run = await reconciler.begin({ cause: 'nightly' });
      if (run === null) return BUSY_MS;
      nextMs = nightAfter(nowMs, offsetMs);
      const fell = (error: unknown): never => {
        over({ state: 'failed', error: String(error) });
        throw error;
      };
      runtime.defer(run.done.then(over, fell));
      // How it ends is not known yet.
      return Math.min(nextMs - nowMs, RETRY_MS_FIRST);
    },
    detail: () => (failures >= FAILURES_ALARM ? { reconciliations_failed_in_a_row: failures } : {}),
  };
}

/** By what is on record. A run of an earlier process that never ended has failed. */
async function planned({
  ledger,
  runtime,
  offsetMs = 0,
}: NightlyOptions): Promise<{ readonly nextMs: number; readonly failures: number }> {
  const { data } = await ledger.runs({ limit: RUNS_MAX });
  const nights = data.filter(({ cause, customer }) => cause === 'nightly' && customer === null);
  const good = nights.findIndex(({ state }) => state === 'finished');
  const failures = good === -1 ? nights.length : good;
  const [latest] = nights;
  if (latest === undefined)
    return { nextMs: nightAfter(await begunMs(ledger, runtime.now()), offsetMs), failures };
  const nightMs = nightAfter(latest.startedAtMs, offsetMs);
  if (failures === 0) return { nextMs: nightMs, failures };
  return { nextMs: Math.min(nightMs, latest.startedAtMs + retryMs(failures)), failures };
}

/** The oldest usage there is to compare; the process may be younger than that, and end before the night. */
async function begunMs(
  ledger: Pick<Ledger, 'customerAfter' | 'oldestUnconfirmedMs'>,
  nowMs: number,
): Promise<number> {
  const customer = await ledger.customerAfter('');
  const oldestMs = customer === undefined ? null : await ledger.oldestUnconfirmedMs(customer, 0);
  return Math.min(oldestMs ?? nowMs, nowMs);
}

const retryMs = (failures: number): number =>
  Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.min(failures - 1, 16));

const nightAfter = (ms: number, offsetMs: number): number => {
  const atMs = AT_MS + offsetMs;
  return Math.floor((ms - atMs) / DAY_MS + 1) * DAY_MS + atMs;
};
