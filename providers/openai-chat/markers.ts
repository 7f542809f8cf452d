/** Finds the few JSON keys that make an event worth parsing, in about a third of the steps that it has bytes. */

/**
 * Whether the bytes have a key `"usage"`, `"x_groq"` or `"error"` whose value is something other than null. A quote
 * inside a JSON string is escaped, so text that merely talks of usage does not match.
 */
export function hasMarker(bytes: Uint8Array, start: number, end: number): boolean {
  // Horspool's search for the three words at once, by the byte that is the seventh of the window.
  let at = start + WINDOW - 1;
  while (at < end) {
    const last = bytes[at] ?? 0;
    if (last === QUOTE || last === LAST_OF_GROQ) {
      if (bytes[at - WINDOW + 1] === QUOTE && isMarkerAt(bytes, at, end)) return true;
    }
    at += SHIFT[last] ?? 1;
  }
  return false;
}

const WINDOW = 7;
const QUOTE = 0x22;
const LAST_OF_GROQ = 0x71;
const WORDS = ['"usage"', '"x_groq"', '"error"'].map((text) => new TextEncoder().encode(text));

/** How far the window may move on when its last byte is this one. */
const SHIFT = new Uint8Array(256).fill(WINDOW);
for (const word of WORDS) {
  for (let index = 0; index < WINDOW - 1; index += 1) {
    const byte = word[index] ?? 0;
    SHIFT[byte] = Math.min(SHIFT[byte] ?? WINDOW, WINDOW - 1 - index);
  }
}

function isMarkerAt(bytes: Uint8Array, at: number, end: number): boolean {
  const start = at - WINDOW + 1;
  return WORDS.some((word) => isWordAt(bytes, start, word) && hasValue(bytes, start + word.length, end));
}

function isWordAt(bytes: Uint8Array, start: number, word: Uint8Array): boolean {
  for (let index = 0; index < word.length; index += 1) if (bytes[start + index] !== word[index]) return false;
  return true;
}

/** A colon and then something other than null. */
function hasValue(bytes: Uint8Array, from: number, end: number): boolean {
  let at = skipSpace(bytes, from, end);
  if (bytes[at] !== 0x3a) return false;
  at = skipSpace(bytes, at + 1, end);
  return at < end && bytes[at] !== 0x6e;
}

function skipSpace(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && (bytes[at] ?? 0) <= 0x20) at += 1;
  return at;
}
