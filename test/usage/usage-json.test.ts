import { describe, expect, it } from 'vitest';
import { usageFromJson, usageToJson } from '../../src/usage/usage-json.ts';
import { type UsageLine, ZERO_TOKENS } from '../../src/usage/usage.ts';

describe('usage as it is kept', () => {
  it('is read as it was, whatever was counted', () => {
    const lines: UsageLine[] = [
      { ...ZERO_TOKENS, uncachedInput: 12, textOutput: 50, servedModel: 'gpt-4o-mini-2024-07-18' },
      { ...ZERO_TOKENS, units: { images: 2, web_searches: 1 }, servedModel: null },
      {
        uncachedInput: 1,
        cacheRead: 2,
        cacheWrite: 3,
        cacheWrite1h: 4,
        audioInput: 5,
        imageInput: 6,
        textOutput: 7,
        reasoning: 8,
        audioOutput: 9,
        imageOutput: Number.MAX_SAFE_INTEGER,
        servedModel: 'a "quoted" \\ näme\n',
      },
    ];
    expect(usageFromJson(usageToJson(lines))).toEqual(lines);
    expect(usageToJson([])).toBe('[]');
  });

  it('leaves out what counted nothing, and reads what did not', () => {
    const line: UsageLine = { ...ZERO_TOKENS, uncachedInput: 12, servedModel: null };
    expect(usageToJson([line])).toBe('[{"uncachedInput":12,"servedModel":null}]');
    expect(usageFromJson(JSON.stringify([line]))).toEqual([line]);
  });
});
