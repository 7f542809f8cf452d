/**
 * Keys given twice in one object, at any depth. Parsers differ in which of the two they keep, so what is counted from one
 * reading may not be what a provider does. Linear, and made for long texts: strings that are no keys are skipped by search.
 */

/** The first key that an object of the text has twice; undefined where none has. The text must be valid JSON. */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | null)[] = [];
  let keys: Set<string> | null = null;
  let wantsKey = false;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case OPEN_BRACE:
      case OPEN_BRACKET: {
        open.push(keys);
        keys = text.charCodeAt(at) === OPEN_BRACE ? new Set() : null;
        wantsKey = keys !== null;
        break;
      }
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        keys = open.pop() ?? null;
        wantsKey = false;
        break;
      case COMMA:
        wantsKey = keys !== null;
        break;
      case QUOTE: {
        const end = closingQuote(text, at);
        if (wantsKey && keys !== null) {
          const key = keyOf(text.slice(at, end + 1));
          if (keys.has(key)) return key;
          keys.add(key);
          wantsKey = false;
        }
        at = end;
        break;
      }
    }
  }
  return undefined;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

function closingQuote(text: string, from: number): number {
  for (let end = text.indexOf('"', from + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    if ((end - before) % 2 === 1) return end;
  }
  return text.length;
}

const keyOf = (quoted: string): string =>
  quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
