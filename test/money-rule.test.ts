/** Money is never a float: the rule, over every source file, and proof that it sees what it forbids. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;
const FORBIDDEN: readonly (readonly [string, RegExp])[] = [
  ['an amount of type number', /\b\w*(?:[pP]ico|[uU]sd)\w*\??: (?:readonly )?number\b/],
  ['an amount made a number', /\bNumber(?:\.parseFloat)?\([^)]*(?:[pP]ico|[uU]sd)/],
  ['a float read from text', /\bparseFloat\((?!headers)/],
  ['a float written as text', /\.toFixed\(/],
];
/**
 * The catalogue gives its rates as floats, which are read once, by their decimal text. A `retry-after` header is no money.
 */
const ALLOWED: ReadonlySet<string> = new Set([
  'src/billing/prices/prices.ts',
  'src/billing/prices/unit-prices.ts',
]);

const breaches = (text: string): readonly string[] =>
  text
    .split('\n')
    .flatMap((line) =>
      FORBIDDEN.filter(([, pattern]) => pattern.test(line)).map(([what]) => `${what}: ${line.trim()}`),
    );

describe('money is never a float', () => {
  it('in any source file', () => {
    const files = ['src', 'providers'].flatMap((room) =>
      readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' }).map((file) => join(room, file)),
    );
    const found = files
      .filter((file) => file.endsWith('.ts') && !ALLOWED.has(file))
      .flatMap((file) =>
        breaches(readFileSync(join(ROOT, file), 'utf8')).map((breach) => `${file}: ${breach}`),
      );
    expect(found).toEqual([]);
  });

  it.each([
    'readonly costPico: number;',
    'balanceUsd?: number',
    'const cost = Number(call.costPico);',
    'parseFloat(amount)',
    'usd.toFixed(2)',
  ])('and the rule sees %s', (line) => {
    expect(breaches(line).length).toBe(1);
  });
});
