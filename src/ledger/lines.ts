/** A call's lines as they are kept in its row: a JSON list, sealed later into rows of their own. */
import type { Line } from './ledger.ts';

/** Throws on a line that could not be billed: it would be lost, or counted as something else. */
export function linesToJson(lines: readonly Line[]): string {
  const names = new Set<string>();
  for (const line of lines) {
    if (!Number.isSafeInteger(line.tokens) || line.tokens < 1)
      throw new RangeError(`A line has one token or more, whole: not ${line.tokens} of ${lineName(line)}.`);
    names.add(lineName(line));
  }
  if (names.size < lines.length)
    throw new RangeError(`A call has one line of a kind: ${[...names].join(', ')}.`);
  return JSON.stringify(
    lines.map(({ attempt, model, tokenType, tokens }) => ({ attempt, model, tokenType, tokens })),
  );
}

/** Reads what `linesToJson` wrote. */
export const linesFromJson = (json: string | null): readonly Line[] =>
  json === null ? [] : (JSON.parse(json) as readonly Line[]);

export const tokensOf = (lines: readonly Line[]): number => lines.reduce((sum, line) => sum + line.tokens, 0);

/** What makes a line itself within its call. No model or token type has a space in it. */
export const lineName = ({ attempt, model, tokenType }: Omit<Line, 'tokens'>): string =>
  `${attempt} ${model} ${tokenType}`;
