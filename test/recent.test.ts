import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { createRecent } from '../src/recent.ts';

const MAX = 4;
const keys = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g');
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('get', 'set', 'delete'), key: keys }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear'), key: keys }) },
  ),
  { maxLength: 80, size: 'max' },
);

it('keeps what was used last, like a list that is sorted by use', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const recent = createRecent<number>(MAX);
      /** Used longest ago first. */
      let list: [string, number][] = [];
      for (const [at, { kind, key }] of all.entries()) {
        const known = list.find(([one]) => one === key);
        const others = list.filter(([one]) => one !== key);
        if (kind === 'get') {
          expect(recent.get(key)).toBe(known?.[1]);
          if (known !== undefined) list = [...others, known];
        } else if (kind === 'set') {
          recent.set(key, at);
          list = [...others, [key, at] as [string, number]].slice(-MAX);
        } else if (kind === 'delete') {
          expect(recent.delete(key)).toBe(known !== undefined);
          list = others;
        } else {
          recent.clear();
          list = [];
        }
      }
      // Asked for in their order they stay in their order; none of the others is there.
      for (const [key, value] of list) expect(recent.get(key)).toBe(value);
      for (const key of 'abcdefg')
        if (!list.some(([one]) => one === key)) expect(recent.get(key)).toBeUndefined();
    }),
    { numRuns: 500 },
  );
});
