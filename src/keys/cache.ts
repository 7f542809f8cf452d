/** A map that forgets the least recently used entry when it is full, and any entry some time after it was put in. */

export interface Cache<V> {
  /** Undefined when the key was never put in, was pushed out, or is older than `ttlMs`. */
  find(key: string, nowMs: number): V | undefined;
  put(key: string, value: V, nowMs: number): void;
  clear(): void;
}

export function createCache<V>({ entriesMax, ttlMs }: { entriesMax: number; ttlMs: number }): Cache<V> {
  // A Map keeps the order of insertion: the first key is the one not used for longest.
  const entries = new Map<string, { readonly value: V; readonly putAtMs: number }>();
  return {
    find(key, nowMs) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      // A clock that was set back makes the age negative: then the entry's age is not known.
      const ageMs = nowMs - entry.putAtMs;
      if (ageMs < 0 || ageMs >= ttlMs) return undefined;
      entries.set(key, entry);
      return entry.value;
    },
    put(key, value, nowMs) {
      entries.delete(key);
      entries.set(key, { value, putAtMs: nowMs });
      if (entries.size <= entriesMax) return;
      const oldest = entries.keys().next();
      if (oldest.done !== true) entries.delete(oldest.value);
    },
    clear: () => entries.clear(),
  };
}
