/** Once a night the ledger is compared with Stripe, by whoever owns the loop: it asks with every pass. */
import type { Ledger } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import type { Reconciler } from './reconciler.ts';

export interface Nightly {
  /** Begins a run when one is due; never waits for it. */
  check(): Promise<void>;
}

const DAY_MS = 86_400_000;
/** 03:10 UTC: the last day's usage has left, and Stripe's sums had three hours to follow. */
const AT_MS = 11_400_000;

/** A night that was missed is made up for at once; a ledger that was never compared waits for its first night. */
export function createNightly({
  ledger,
  runtime,
  reconciler,
}: {
  readonly ledger: Pick<Ledger, 'runs'>;
  readonly runtime: Pick<Runtime, 'now' | 'defer'>;
  readonly reconciler: Reconciler;
}): Nightly {
  let nextMs: number | undefined;
  const firstNight = async (): Promise<number> => {
    const latest = (await ledger.runs({ limit: 100 })).data.find(
      ({ cause, customer }) => cause === 'nightly' && customer === null,
    );
    return nightAfter(latest?.startedAtMs ?? runtime.now());
  };
  return {
    async check() {
      nextMs ??= await firstNight();
      const nowMs = runtime.now();
      if (nowMs < nextMs) return;
      const run = await reconciler.begin({ cause: 'nightly' });
      // One by command is under way: the next pass asks again.
      if (run === null) return;
      nextMs = nightAfter(nowMs);
      runtime.defer(run.done);
    },
  };
}

const nightAfter = (ms: number): number => Math.floor((ms - AT_MS) / DAY_MS + 1) * DAY_MS + AT_MS;
