/**
 * Identifiers that sort by time: 10 characters of milliseconds, 16 of randomness (80 bits), Crockford base32 in lower
 * case. Within a millisecond, and while the clock runs backwards, each is the one before plus one.
 */
import { randomBytes } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_CHARS = 10;
/** The random part is two halves of 40 bits, each a safe integer. */
const HALF_CHARS = 8;
const HALF_BYTES = 5;
const HALF_LIMIT = 2 ** 40;

/** `now` in milliseconds since the epoch; `random` is the machine's own source unless a test gives another. */
export function createIds(
  now: () => number,
  random: (bytes: number) => Uint8Array = createRandomPool(),
): () => string {
  let lastMs = -1;
  let time = '';
  let high = 0;
  let low = 0;
  const draw = (ms: number): void => {
    lastMs = ms;
    time = base32(ms, TIME_CHARS);
    const bytes = random(2 * HALF_BYTES);
    high = integer(bytes.subarray(0, HALF_BYTES));
    low = integer(bytes.subarray(HALF_BYTES));
  };
  return () => {
    const ms = now();
    if (ms > lastMs) {
      draw(ms);
    } else {
      low += 1;
      if (low === HALF_LIMIT) [high, low] = [high + 1, 0];
      // All 80 bits used up: the next millisecond is borrowed.
      if (high === HALF_LIMIT) draw(lastMs + 1);
    }
    return time + base32(high, HALF_CHARS) + base32(low, HALF_CHARS);
  };
}

/** Random bytes drawn 4 KiB at a time: a draw costs 3 us however small it is. */
function createRandomPool(): (bytes: number) => Uint8Array {
  let pool = new Uint8Array();
  let at = 0;
  return (bytes) => {
    if (at + bytes > pool.length) {
      pool = randomBytes(4096);
      at = 0;
    }
    at += bytes;
    return pool.subarray(at - bytes, at);
  };
}

const integer = (bytes: Uint8Array): number => bytes.reduce((value, byte) => value * 256 + byte, 0);

/** Fixed width, so that text sorts as numbers do. Values are below 2^50: no bit operators, which stop at 32. */
function base32(value: number, chars: number): string {
  let text = '';
  let rest = value;
  for (let index = 0; index < chars; index++) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
