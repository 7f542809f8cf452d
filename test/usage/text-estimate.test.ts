import { describe, expect, it } from 'vitest';
import { textQuarters, tokensOfQuarters } from '../../src/usage/text-estimate.ts';

const tokens = (text: string): number => tokensOfQuarters(textQuarters(text));

describe('the estimate of tokens', () => {
  it('takes four ASCII characters for a token, rounded up', () => {
    expect(tokens('a')).toBe(1);
    expect(tokens('abcd')).toBe(1);
    expect(tokens('abcde')).toBe(2);
  });

  it('takes two characters of an alphabet for a token', () => {
    expect(tokens('привет')).toBe(3);
  });

  it('takes each ideograph and each emoji for a token', () => {
    expect(tokens('你好😀')).toBe(3);
  });

  it('is zero for no text only', () => {
    expect(tokens('')).toBe(0);
    expect(tokens(' ')).toBe(1);
  });
});
