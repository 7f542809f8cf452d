/** Money is whole picodollars: fine enough for any price per token, exact in every sum. */

/** Picodollars in a dollar. */
export const PICO = 1_000_000_000_000n;

/** Decimal text in USD, exact, at least two places: `0.00`, `0.000021`, `-1.50`. */
export function formatUsd(pico: bigint): string {
  const sign = pico < 0n ? '-' : '';
  const digits = (pico < 0n ? -pico : pico).toString().padStart(13, '0');
  const fraction = digits.slice(-12).replace(/0+$/, '').padEnd(2, '0');
  return `${sign}${digits.slice(0, -12)}.${fraction}`;
}
