/** Owns the time of delivery on Node: passes follow settlements closely, and retries when they are due. */

export interface FlushLoop {
  /** There may be something to deliver. */
  wake(): void;
  /** Ends the loop; resolves when a running pass is over. */
  stop(): Promise<void>;
}

/** A little later than the settlement, so that calls ending together are delivered together. */
const GATHER_MS = 20;
/** After a pass that failed as a whole: the ledger could not be read or written. */
const FAILED_MS = 1_000;
/** A pass at least so often: another process may have left something behind. */
const IDLE_MS = 10_000;

/** `pass` answers after how many milliseconds another one is worth its while, if it knows. */
export function createFlushLoop(
  pass: () => Promise<number | undefined>,
  failed: (error: unknown) => void,
): FlushLoop {
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Infinity;
  let running: Promise<void> | undefined;
  let isDueAgain = false;
  let stopped = false;

  const plan = (delayMs: number): void => {
    const at = performance.now() + delayMs;
    if (stopped || at >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = at;
    timer = setTimeout(due, delayMs);
  };
  const due = (): void => {
    dueAtMs = Infinity;
    if (running === undefined) running = run();
    else isDueAgain = true;
  };
  const run = async (): Promise<void> => {
    isDueAgain = false;
    let next = FAILED_MS;
    try {
      next = (await pass()) ?? IDLE_MS;
      // What came up during the pass may have come too late for it.
      if (isDueAgain) next = 0;
    } catch (error) {
      failed(error);
    }
    running = undefined;
    plan(Math.min(next, IDLE_MS));
  };
  plan(0);
  return {
    wake: () => plan(GATHER_MS),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
