/** Calls that would fit once others settle wait here, by customer and by key, first come first. */
import type { CallToOpen, Holder } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';

export interface Waiters {
  /** A call of theirs holds less, or nothing more: the customer's and the key's waiters are woken. */
  freed(holder: Holder): void;
  /** This moment among all freeings: give it to `room`, so that nothing is missed in between. */
  mark(): number;
  /** True once something was freed since the mark; false when it is too late, or too many wait. */
  room(call: CallToOpen, since: { readonly mark: number; readonly untilMs: number }): Promise<boolean>;
}

/** Calls that may wait at once, of one customer and in all: each is an open request. */
const WAITING_OF_ONE_MAX = 256;
const WAITING_MAX = 2_000;
/** Freeings remembered: who marked a moment before them tries again at once. */
const FREED_MAX = 1_024;

export function createWaiters(runtime: Pick<Runtime, 'now' | 'after'>): Waiters {
  const waiting = new Map<string, Set<() => void>>();
  /** Freeings so far, and whose the latest were. */
  let freeings = 0;
  const latest: Holder[] = [];
  let total = 0;

  const isFreed = ({ customer, keyId }: Holder, mark: number): boolean => {
    if (freeings - mark > FREED_MAX) return true;
    for (let at = mark; at < freeings; at += 1) {
      const freed = latest[at % FREED_MAX];
      if (freed?.customer === customer || freed?.keyId === keyId) return true;
    }
    return false;
  };

  return {
    freed({ customer, keyId }) {
      const holder = { customer, keyId };
      latest[freeings % FREED_MAX] = holder;
      freeings += 1;
      if (waiting.size === 0) return;
      for (const name of namesOf(holder)) for (const go of waiting.get(name) ?? []) go();
    },
    mark: () => freeings,
    room(call, since) {
      const leftMs = since.untilMs - runtime.now();
      const own = namesOf(call);
      const tooMany = total >= WAITING_MAX || (waiting.get(own[0])?.size ?? 0) >= WAITING_OF_ONE_MAX;
      if (leftMs <= 0) return Promise.resolve(false);
      if (isFreed(call, since.mark)) return Promise.resolve(true);
      if (tooMany) return Promise.resolve(false);
      total += 1;
      return new Promise((resolve) => {
        const leave = (woken: boolean): void => {
          total -= 1;
          cancel();
          for (const name of own) {
            const set = waiting.get(name);
            set?.delete(go);
            if (set?.size === 0) waiting.delete(name);
          }
          resolve(woken);
        };
        const go = (): void => leave(true);
        const cancel = runtime.after(leftMs, () => leave(false));
        for (const name of own) waiting.set(name, (waiting.get(name) ?? new Set()).add(go));
      });
    },
  };
}

const namesOf = ({ customer, keyId }: Holder): readonly [string, string] => [
  `customer ${customer}`,
  `key ${keyId}`,
];
