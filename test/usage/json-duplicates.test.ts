import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { duplicateKey } from '../../src/usage/json-duplicates.ts';

it.each([
  ['{"generationConfig":{"maxOutputTokens":5,"maxOutputTokens":65536}}', 'maxOutputTokens'],
  ['{"a":[{"b":{}},{"c":1, "d":[] , "c":2}]}', 'c'],
  ['{"a":{"max_tokens":5,"max\\u005ftokens":9}}', 'max_tokens'],
  ['{"a\\\\":1,"a\\\\":2}', 'a\\'],
  ['{"":1,"":2}', ''],
])('the key that stands twice in one object of %s is found', (text, key) => {
  expect(duplicateKey(text)).toBe(key);
});

it.each([
  '{"a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}',
  '{"a":"\\"b\\":1,\\"b\\":2","b":"a"}',
  '{"a":["b","b",{"b":"b"}],"b":"a"}',
  '[]',
])('none is found in %s', (text) => {
  expect(duplicateKey(text)).toBeUndefined();
});

it('none is found in whatever JSON writes itself', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.nat(2), (value, indent) => {
      expect(duplicateKey(JSON.stringify(value, null, indent))).toBeUndefined();
    }),
  );
});
