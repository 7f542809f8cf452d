/**
 * A map that keeps so many entries at most and forgets the one that was used longest ago.
 *
 * Entries are linked in the order of their use. A Map has an order too, but to find its first key it walks over all that
 * was deleted before: tens of microseconds for each entry, in a map of 100,000 that forgets one for each it learns.
 */
export interface Recent<V> {
  /** Undefined where there is none. To be asked for is to be used. */
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  /** Whether there was one. */
  delete(key: string): boolean;
  clear(): void;
}

interface Link<V> {
  readonly key: string;
  value: V;
  older: Link<V> | undefined;
  newer: Link<V> | undefined;
}

export function createRecent<V>(entriesMax: number): Recent<V> {
  const links = new Map<string, Link<V>>();
  let oldest: Link<V> | undefined;
  let newest: Link<V> | undefined;

  const join = (older: Link<V> | undefined, newer: Link<V> | undefined): void => {
    if (older === undefined) oldest = newer;
    else older.newer = newer;
    if (newer === undefined) newest = older;
    else newer.older = older;
  };
  const append = (link: Link<V>): void => {
    join(newest, link);
    join(link, undefined);
  };
  const use = (link: Link<V>): void => {
    if (link === newest) return;
    join(link.older, link.newer);
    append(link);
  };
  const forget = (link: Link<V>): boolean => {
    join(link.older, link.newer);
    return links.delete(link.key);
  };

  return {
    get(key) {
      const link = links.get(key);
      if (link !== undefined) use(link);
      return link?.value;
    },
    set(key, value) {
      const known = links.get(key);
      if (known !== undefined) {
        known.value = value;
        use(known);
        return;
      }
      const link: Link<V> = { key, value, older: undefined, newer: undefined };
      links.set(key, link);
      append(link);
      if (links.size > entriesMax && oldest !== undefined) forget(oldest);
    },
    delete(key) {
      const link = links.get(key);
      return link !== undefined && forget(link);
    },
    clear() {
      links.clear();
      oldest = undefined;
      newest = undefined;
    },
  };
}
