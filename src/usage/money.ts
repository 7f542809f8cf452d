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

/** The inverse of `formatUsd`; also takes whole dollars and fewer places. Throws `RangeError` for any other text. */
export function parseUsd(text: string): bigint {
  const parts = /^(-?)(\d{1,18})(?:\.(\d{1,12}))?$/.exec(text);
  if (parts === null) {
    throw new RangeError(
      `"${text.slice(0, 40)}" is not an amount in USD: write digits, with 12 places at most, like 5.00`,
    );
  }
  const [, sign, whole = '', fraction = ''] = parts;
  const size = BigInt(whole) * PICO + BigInt(fraction.padEnd(12, '0'));
  return sign === '-' ? -size : size;
}

/** Whole cents of `10`, `0.5` or `10.00`; undefined for any other text, and from ten million dollars on. */
export function parseCents(text: string): number | undefined {
  const [, whole, fraction = ''] = /^(\d{1,7})(?:\.(\d{1,2}))?$/.exec(text) ?? [];
  return whole === undefined ? undefined : Number(whole + fraction.padEnd(2, '0'));
}

/** Decimal text in USD of whole cents. */
export const formatCents = (cents: number): string => formatUsd((BigInt(cents) * PICO) / 100n);
