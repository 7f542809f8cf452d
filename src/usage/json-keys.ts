/**
 * The keys of the objects that are open while a text is scanned: tells a key that its object has already, at any depth.
 * Parsers differ in which of the two they keep, so what is counted from one reading may not be what a provider does.
 * A message has a few short keys, so they are compared where they stand; only a large object gets a set.
 */

export interface OpenKeys {
  /** An object begins. */
  open(): void;
  /** The innermost object ends. */
  close(): void;
  /** Whether the innermost object has the key already, given by the offsets of its quotes, end exclusive; else it has now. */
  isTwice(start: number, end: number): boolean;
}

/** Keys of one object that are compared one by one: 32 make 496 comparisons, most of them of a length alone. */
const COMPARED_MAX = 32;

/** `decode` answers the key between two offsets as text, its escapes resolved. */
export function createOpenKeys(
  bytes: Uint8Array,
  decode: (bytes: Uint8Array, start: number, end: number) => string,
): OpenKeys {
  /** Start and end of each key of each open object, the outermost object first; behind `used` lies what was closed. */
  const spans: number[] = [];
  let used = 0;
  /** Of each open object: where its keys begin, and its set where it has one. */
  const begins: number[] = [];
  const sets: (Set<string> | undefined)[] = [];
  let depth = -1;

  const has = (from: number, start: number, end: number): boolean => {
    for (let at = from; at < used; at += 2) {
      const other = spans[at] ?? 0;
      if ((spans[at + 1] ?? 0) - other === end - start && isSame(bytes, { other, start, end })) return true;
    }
    return false;
  };
  const setOf = (from: number): Set<string> => {
    const set = new Set<string>();
    for (let at = from; at < used; at += 2) set.add(decode(bytes, spans[at] ?? 0, spans[at + 1] ?? 0));
    return set;
  };

  return {
    open() {
      depth += 1;
      begins[depth] = used;
      sets[depth] = undefined;
    },
    close() {
      used = begins[depth] ?? 0;
      sets[depth] = undefined;
      depth -= 1;
    },
    isTwice(start, end) {
      const from = begins[depth] ?? 0;
      const known = sets[depth];
      const isFew = known === undefined && used - from < COMPARED_MAX * 2;
      if (isFew && !isEscaped(bytes, start, end)) {
        if (has(from, start, end)) return true;
        spans[used] = start;
        spans[used + 1] = end;
        used += 2;
        return false;
      }
      const set = known ?? setOf(from);
      sets[depth] = set;
      const key = decode(bytes, start, end);
      if (set.has(key)) return true;
      set.add(key);
      return false;
    },
  };
}

const BACKSLASH = 0x5c;

/** A key with an escape may be the same as one that is written otherwise. */
function isEscaped(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (bytes[at] === BACKSLASH) return true;
  return false;
}

/** From the end: names that are numbered differ there. */
function isSame(
  bytes: Uint8Array,
  { other, start, end }: { readonly other: number; readonly start: number; readonly end: number },
): boolean {
  for (let at = end - 1; at >= start; at -= 1) {
    if (bytes[at] !== bytes[other + at - start]) return false;
  }
  return true;
}
