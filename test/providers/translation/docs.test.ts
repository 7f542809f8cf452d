/** docs/translation.md says what the code does, member by member. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { callerTables, targetTable } from '../../support/translation-tables.ts';

const lines = readFileSync(new URL('../../../docs/translation.md', import.meta.url), 'utf8').split('\n');

/** The rows of the table under a heading, head and rule left out. */
function documented(heading: string): readonly (readonly string[])[] {
  const from = lines.findIndex((line) => /^#+ /.test(line) && line.endsWith(` ${heading}`));
  const rest = lines.slice(from + 1);
  const end = rest.findIndex((line) => line.startsWith('#'));
  return rest
    .slice(0, end < 0 ? undefined : end)
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

describe('docs/translation.md', () => {
  it('has every member of a conversation with what it becomes, as it is in the code', () => {
    expect(documented("What a conversation's members become")).toEqual(targetTable());
  });

  it.each([...callerTables().keys()])(
    'has every member that a caller of %s may send, and no other',
    (heading) => {
      expect(documented(heading)).toEqual(callerTables().get(heading));
    },
  );
});
