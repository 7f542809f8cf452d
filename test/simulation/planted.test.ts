import { describe, expect, it } from 'vitest';
import { DEFECTS, UNNOTICED_MAX } from './defects.ts';
import { simulate } from './simulate.ts';

describe('the simulation notices that', () => {
  it.each(DEFECTS)('$name', async ({ damage }) => {
    const { failure } = await simulate({ from: 1, seeds: UNNOTICED_MAX, damage });
    expect(failure?.wrong[0]).toBeTypeOf('string');
  });
});

it('twelve defects are planted, each under a name of its own', () => {
  expect(new Set(DEFECTS.map(({ name }) => name)).size).toBe(12);
});
