/** Exact decimals: money and prices never pass through a floating-point number. */

/** Digits before the point: USD 999,999,999,999 is more than any price or grace. */
const DECIMAL = /^(\d{1,12})(?:\.(\d{1,30}))?$/;

/** The decimal times 10^`digits`; undefined when it is not plain decimal text or has more digits than that after the point. */
export function parseDecimal(text: string, digits: number): bigint | undefined {
  const parts = DECIMAL.exec(text);
  if (parts === null) return undefined;
  const fraction = (parts[2] ?? '').replace(/0+$/, '');
  if (fraction.length > digits) return undefined;
  return BigInt((parts[1] ?? '') + fraction.padEnd(digits, '0'));
}

/** USD to picodollars. */
export const PICO_DIGITS = 12;
/** USD per million tokens to picodollars per token. */
export const PRICE_DIGITS = 6;
/** A factor to millionths. */
export const FACTOR_DIGITS = 6;
