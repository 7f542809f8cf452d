/** A call's lines as they are kept in its row: a JSON list, sealed later into rows of their own. */
import type { Line } from './ledger.ts';

/** A line as it is kept: attempt, model, token type, tokens. Written as an object once; such rows are still read. */
type KeptLine = readonly [Line['attempt'], Line['model'], Line['tokenType'], Line['tokens']] | Line;

/** Throws on a line that could not be billed: it would be lost, or counted as something else. */
export function linesToJson(lines: readonly Line[]): string {
  for (const [at, line] of lines.entries()) {
    if (!Number.isSafeInteger(line.tokens) || line.tokens < 1)
      throw new RangeError(`A line has one token or more, whole: not ${line.tokens} of ${lineName(line)}.`);
    if (lines.findIndex((other) => isSameKind(other, line)) < at)
      throw new RangeError(`A call has one line of a kind: ${lines.map(lineName).join(', ')}.`);
  }
  return JSON.stringify(
    lines.map(({ attempt, model, tokenType, tokens }): KeptLine => [attempt, model, tokenType, tokens]),
  );
}

const isSameKind = (a: Line, b: Line): boolean =>
  a.tokenType === b.tokenType && a.model === b.model && a.attempt === b.attempt;

/** Reads what `linesToJson` wrote. */
export const linesFromJson = (json: string | null): readonly Line[] =>
  json === null ? [] : (JSON.parse(json) as readonly KeptLine[]).map(lineOf);

function lineOf(kept: KeptLine): Line {
  if (!isTuple(kept)) return kept;
  const [attempt, model, tokenType, tokens] = kept;
  return { attempt, model, tokenType, tokens };
}

const isTuple = (kept: KeptLine): kept is Exclude<KeptLine, Line> => Array.isArray(kept);

export const tokensOf = (lines: readonly Line[]): number => lines.reduce((sum, line) => sum + line.tokens, 0);

/** What makes a line itself within its call. No model or token type has a space in it. */
export const lineName = ({ attempt, model, tokenType }: Omit<Line, 'tokens'>): string =>
  `${attempt} ${model} ${tokenType}`;
