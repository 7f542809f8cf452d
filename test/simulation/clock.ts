/** Time that passes when it is told to. Timers belong to a process and die with it. */

/** Saturday, 21 November 2026, noon. */
const START_MS = Date.UTC(2026, 10, 21, 12);

export interface Owner {
  readonly alive: boolean;
}

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Owner;
  readonly work: () => void;
}

export class Clock {
  /** The gateway's clock, which may be set back. */
  nowMs = START_MS;
  /** Stripe's, which never is. */
  trueMs = START_MS;
  #timers: Timer[] = [];
  #orders = 0;

  after(owner: Owner, ms: number, work: () => void): () => void {
    const timer = { atMs: this.trueMs + Math.max(0, ms), order: (this.#orders += 1), owner, work };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** Lets time pass and does what came due on the way, in its order; `settle` after each. */
  async pass(ms: number, settle: () => Promise<void>): Promise<void> {
    const untilMs = this.trueMs + ms;
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#to(Math.max(next.atMs, this.trueMs));
      next.work();
      await settle();
    }
    this.#to(untilMs);
  }

  setBack(ms: number): void {
    this.nowMs -= ms;
  }

  #next(untilMs: number): Timer | undefined {
    this.#timers = this.#timers.filter(({ owner }) => owner.alive);
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs > untilMs) continue;
      if (
        first === undefined ||
        timer.atMs < first.atMs ||
        (timer.atMs === first.atMs && timer.order < first.order)
      )
        first = timer;
    }
    return first;
  }

  #to(trueMs: number): void {
    this.nowMs += trueMs - this.trueMs;
    this.trueMs = trueMs;
  }
}

/** Everything that can happen without time passing has happened. Nothing here does real input or output. */
export const quiet = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
