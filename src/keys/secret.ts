/**
 * What an API key's secret looks like: `sk-fg-`, 8 characters of public id, 40 of randomness (200 bits), 6 of checksum.
 *
 * The checksum lets garbage be refused before a database is asked, and lets scanners of leaked secrets be sure of a find.
 * The alphabet is lower-case Crockford base32: no character looks like another, and 5 bits each come out without bias.
 */
import type { Crypto } from '../runtime.ts';

export const SECRET_PREFIX = 'sk-fg-';
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const ID_BYTES = 5;
const RANDOM_BYTES = 25;
const CHECKSUM_CHARS = 6;
const SECRET = /^sk-fg-([0-9a-hjkmnp-tv-z]{8})[0-9a-hjkmnp-tv-z]{46}$/;

/** A new id and its secret. */
export function createSecret(crypto: Crypto): { readonly id: string; readonly secret: string } {
  const id = base32(crypto.random(ID_BYTES));
  const body = SECRET_PREFIX + id + base32(crypto.random(RANDOM_BYTES));
  return { id, secret: body + checksum(body, crypto) };
}

/** Whether the text could be one of our secrets; says nothing of whether it was ever given out. */
export function isSecret(text: string, crypto: Crypto): boolean {
  return (
    SECRET.test(text) && text.slice(-CHECKSUM_CHARS) === checksum(text.slice(0, -CHECKSUM_CHARS), crypto)
  );
}

/** 24 of the hash's bits spread over 6 characters, 4 bits each: one slip in 16 million goes unseen. */
const checksum = (body: string, crypto: Crypto): string =>
  Array.from(
    crypto.sha256(body).slice(0, CHECKSUM_CHARS),
    (digit) => ALPHABET[Number.parseInt(digit, 16)],
  ).join('');

/** Five bits a character; the bytes are a multiple of five. */
function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let pending = 0;
  for (const byte of bytes) {
    pending = (pending << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(pending >> (bits - 5)) & 31];
    pending &= 31;
  }
  return text;
}
