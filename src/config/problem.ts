/** What is wrong with the configuration, said so that it can be repaired without looking anything up. */

export interface Problem {
  /** The key's path in the file (`providers.openai.api_key`) or the environment variable's name. */
  readonly path: string;
  /** One-based; null when the problem is not in the file. */
  readonly line: number | null;
  readonly column: number | null;
  /** What is wrong and what to do. Never a secret's value. */
  readonly message: string;
}

/** A problem that is in no file: of a variable, or of something that is missing. */
export const unplaced = (path: string, message: string): Problem => ({
  path,
  line: null,
  column: null,
  message,
});

/** One line for a person: `faregate.yaml:4:3 providers.opnai: …`. */
export const problemText = (problem: Problem, file: string): string =>
  problem.line === null
    ? `${problem.path}: ${problem.message}`
    : `${file}:${String(problem.line)}:${String(problem.column)} ${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`;

export type Path = readonly (string | number)[];

/** A path as people write it; a part that is not a plain word is put in brackets. */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${String(part)}]`;
    if (!/^[\w-]+$/.test(part)) return `${text}[${JSON.stringify(part)}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');

/** `; did you mean "x"?`, or nothing when no candidate is near: at most a third of the word's letters may differ. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? '' : `; did you mean "${best}"?`;
}

/** Longer words are cut: nothing in the schema is nearly as long, and the table is quadratic. */
const WORD_CHARS_MAX = 64;

/** Letters to insert, delete, replace or swap with their neighbour to make one word of the other. */
function editDistance(a: string, b: string): number {
  const left = a.slice(0, WORD_CHARS_MAX);
  const right = b.slice(0, WORD_CHARS_MAX);
  const rows: number[][] = [Array.from({ length: right.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? 0;
  for (let row = 1; row <= left.length; row++) {
    const cells = [row];
    rows.push(cells);
    for (let column = 1; column <= right.length; column++) {
      const cost = left[row - 1] === right[column - 1] ? 0 : 1;
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      cells[column] = Math.min(
        at(row - 1, column) + 1,
        at(row, column - 1) + 1,
        at(row - 1, column - 1) + cost,
        swapped ? at(row - 2, column - 2) + 1 : Infinity,
      );
    }
  }
  return at(left.length, right.length);
}
