/**
 * Tokens by our own count, for a reply whose provider says nothing. Not a tokenizer: one would be megabytes, and a
 * different one per vendor and model.
 *
 * Text weighs in quarters of a token: an ASCII character one (English and code come to about four a token), a
 * character of the alphabets below U+0800 two (Greek, Cyrillic, Hebrew, Arabic, accented Latin), any other code point
 * four (Chinese, Japanese, Korean, emoji). Any text at all is at least one token.
 */

/** The weight of a text in quarters of a token. */
export function textQuarters(text: string): number {
  let quarters = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    // The two halves of a surrogate pair come to four together.
    if (unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff)) quarters += 1;
    else quarters += 3;
  }
  return quarters;
}

/** Whole tokens, rounded up. */
export const tokensOfQuarters = (quarters: number): number => Math.ceil(quarters / 4);
