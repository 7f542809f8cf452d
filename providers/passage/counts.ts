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

/** Whether a body or an event says that it failed, in whatever shape. */
export const carriesError = (body: Readonly<Record<string, unknown>>): boolean =>
  (body['error'] ?? null) !== null;

/**
 * Why a reply with this error is none, for the record: with the error's own code, type or status. Its message may quote the
 * caller's text, so it is left out.
 */
export function errorReason(error: unknown): string {
  const told = 'the reply carries an error';
  if (typeof error !== 'object' || error === null) return told;
  const named = error as Readonly<Record<string, unknown>>;
  const name = named['code'] ?? named['type'] ?? named['status'];
  const isName = typeof name === 'string' || typeof name === 'number';
  return isName ? `${told}: ${String(name).slice(0, 100)}` : told;
}
