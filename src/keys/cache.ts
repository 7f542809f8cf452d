/** A map that forgets the least recently used entry when it is full, and any entry some time after it was put in. */
import { createRecent } from '../recent.ts';

export interface Cache<V> {
  /** Undefined when the key was never put in, was pushed out, or is older than `ttlMs`. */
  find(key: string, nowMs: number): V | undefined;
  put(key: string, value: V, nowMs: number): void;
  clear(): void;
}

export function createCache<V>({ entriesMax, ttlMs }: { entriesMax: number; ttlMs: number }): Cache<V> {
  const entries = createRecent<{ readonly value: V; readonly putAtMs: number }>(entriesMax);
  return {
    find(key, nowMs) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      // A clock that was set back makes the age negative: then the entry's age is not known.
      const ageMs = nowMs - entry.putAtMs;
      if (ageMs >= 0 && ageMs < ttlMs) return entry.value;
      entries.delete(key);
      return undefined;
    },
    put: (key, value, nowMs) => entries.set(key, { value, putAtMs: nowMs }),
    clear: () => entries.clear(),
  };
}
