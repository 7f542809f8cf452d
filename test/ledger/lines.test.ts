import { describe, expect, it } from 'vitest';
import { linesFromJson, linesToJson } from '../../src/ledger/lines.ts';
import type { Line } from '../../src/ledger/ledger.ts';

const line = (more: Partial<Line> = {}): Line => ({
  attempt: 1,
  model: 'openai/gpt-4o-mini',
  tokenType: 'input',
  tokens: 12,
  ...more,
});

describe('the lines of a call as they are kept', () => {
  it('are read as they were', () => {
    const lines = [line(), line({ tokenType: 'output', tokens: 50 }), line({ model: 'x/"y"' })];
    expect(linesFromJson(linesToJson(lines))).toEqual(lines);
    expect(linesFromJson(linesToJson([]))).toEqual([]);
    expect(linesFromJson(null)).toEqual([]);
  });

  it('are read from rows that hold objects, as they were written once', () => {
    expect(linesFromJson(JSON.stringify([line()]))).toEqual([line()]);
  });

  it('are refused where they could not be billed', () => {
    for (const tokens of [0, -1, 1.5, Number.NaN, 2 ** 53])
      expect(() => linesToJson([line({ tokens })])).toThrow('A line has one token or more');
    expect(() => linesToJson([line(), line({ tokens: 3 })])).toThrow('one line of a kind');
    expect(() => linesToJson([line(), line({ attempt: 2 })])).not.toThrow();
  });
});
