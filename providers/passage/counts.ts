/** Token counts as vendors write them. */

/** More tokens than any reply can have (the largest contexts are some 10 million): a larger count is a defect. */
export const TOKENS_MAX = 1_000_000_000;

export type Count = number | 'malformed' | undefined;

/** A count as reported: undefined for missing and null, which are not zero. */
export function countOf(value: unknown): Count {
  if (value === undefined || value === null) return undefined;
  const sane = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= TOKENS_MAX;
  return sane ? value : 'malformed';
}

/** An error's own code, type or status, for the record; its message may quote the caller's text, so it is left out. */
export function errorName(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const named = error as Readonly<Record<string, unknown>>;
  const name = named['code'] ?? named['type'] ?? named['status'];
  return typeof name === 'string' || typeof name === 'number' ? `: ${String(name).slice(0, 100)}` : '';
}
