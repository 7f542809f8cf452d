/** What every statement must keep to, read off the source. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const folders = ['src/ledger', 'src/keys'];
const files = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`),
);

it('has no bare parameter after LIMIT: SQLite (3.53) would prepare the statement anew at each run', () => {
  // It plans by the value of such a parameter, and so for each value again: 25 to 130 us each time. A cast hides the value.
  const bare = files.filter((file) => /\bLIMIT \?/.test(readFileSync(file, 'utf8')));
  expect(files.length).toBeGreaterThan(20);
  expect(bare).toEqual([]);
});
