/** The ids of calls sort by the time that they were made in: `req_`, 10 characters of milliseconds, 16 of anything. */

/** Crockford's base32, in lower case. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** The id of a call that was made elsewhere: it lies among the others by its time. `hash` is hexadecimal, 20 digits or more. */
export const callIdOf = (timestampMs: number, hash: string): string =>
  firstCallIdAt(timestampMs) + base32(BigInt(`0x${hash.slice(0, 20)}`), 16);

/** Sorts before every id of that millisecond and later ones, and after all before. */
export const firstCallIdAt = (timestampMs: number): string => `req_${base32(BigInt(timestampMs), 10)}`;

function base32(value: bigint, chars: number): string {
  let text = '';
  let rest = value;
  for (let index = 0; index < chars; index += 1) {
    text = ALPHABET.charAt(Number(rest % 32n)) + text;
    rest /= 32n;
  }
  return text;
}
