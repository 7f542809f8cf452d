/** One statement for many keys: a tenth of the work of one statement each. */
import type { Statement } from './ledger.ts';

/** Durable Objects bind 100 values to a statement; ten are left for what else it needs. */
const KEYS_MAX = 90;

/**
 * Statements that take a group of keys each, by `IN (marks)`. All have the same text, since a prepared statement is kept
 * for each: a short group names its last key again, which changes nothing.
 */
export function inGroups(
  keys: readonly string[],
  sql: string,
  { before = [] }: { readonly before?: Statement['params'] } = {},
): readonly Statement[] {
  return Array.from({ length: Math.ceil(keys.length / KEYS_MAX) }, (_, at) => {
    const group = keys.slice(at * KEYS_MAX, (at + 1) * KEYS_MAX);
    const last = group.at(-1) ?? '';
    const spare = Array.from({ length: KEYS_MAX - group.length }, () => last);
    return { sql, params: [...before, ...group, ...spare] };
  });
}

/** The marks of a group, for the statement's text. */
export const GROUP_MARKS = Array.from({ length: KEYS_MAX }, () => '?').join(', ');
