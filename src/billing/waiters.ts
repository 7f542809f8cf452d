/** Calls that would fit once others settle wait here, by customer and by key, first come first. */
import type { CallToOpen } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';

export interface Waiters {
  /** A call runs that holds something. */
  opened(call: CallToOpen): void;
  /** That call holds less, or nothing more: its customer's and its key's waiters are woken. */
  freed(call: string): void;
  /** True once something was freed; false when it is too late, or too many wait. */
  room(call: CallToOpen, untilMs: number): Promise<boolean>;
}

/** Calls that may wait at once, of one customer and in all: each is an open request. */
const WAITING_OF_ONE_MAX = 256;
const WAITING_MAX = 2_000;
/** Holders remembered; past it the longest running are forgotten, and their end wakes nobody. */
const HOLDERS_MAX = 50_000;

export function createWaiters(runtime: Pick<Runtime, 'now' | 'after'>): Waiters {
  const holders = new Map<string, readonly [string, string]>();
  const waiting = new Map<string, Set<() => void>>();
  let total = 0;

  const names = ({ customer, keyId }: CallToOpen): readonly [string, string] => [
    `customer ${customer}`,
    `key ${keyId}`,
  ];
  const wake = (name: string): void => {
    for (const go of waiting.get(name) ?? []) go();
  };

  return {
    opened(call) {
      holders.set(call.id, names(call));
      const oldest = holders.size > HOLDERS_MAX ? holders.keys().next() : undefined;
      if (oldest?.done === false) holders.delete(oldest.value);
    },
    freed(call) {
      const held = holders.get(call);
      if (held === undefined) return;
      for (const name of held) wake(name);
    },
    room(call, untilMs) {
      const leftMs = untilMs - runtime.now();
      const own = names(call);
      const tooMany = total >= WAITING_MAX || (waiting.get(own[0])?.size ?? 0) >= WAITING_OF_ONE_MAX;
      if (leftMs <= 0 || tooMany) return Promise.resolve(false);
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
