import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatUsd, parseUsd } from '../../src/usage/money.ts';

describe('money text', () => {
  it.each([
    [5_000_000_000_000n, '5.00'],
    [0n, '0.00'],
    [1n, '0.000000000001'],
    [-1_200_000_000_000n, '-1.20'],
    [37_500_000n, '0.0000375'],
    [9_007_199_254_740_993n, '9007.199254740993'],
  ])('of %s picodollars is %s', (pico, text) => {
    expect(formatUsd(pico)).toBe(text);
  });

  it('is read back exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 29n), max: 10n ** 29n }), (pico) => {
        expect(parseUsd(formatUsd(pico))).toBe(pico);
      }),
    );
  });

  it.each(['', '5.', '.5', '1e3', '5.0000000000001', '1,000', ' 5', '+5', 'NaN', '0x10'])(
    'is not "%s"',
    (text) => {
      expect(() => parseUsd(text)).toThrow(RangeError);
    },
  );
});
