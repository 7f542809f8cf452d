import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { scanJsonObject } from '../../src/usage/json-scanner.ts';

const scan = (text: string) => scanJsonObject(new TextEncoder().encode(text));

it.each([
  ['{"generationConfig":{"maxOutputTokens":5,"maxOutputTokens":65536}}', 'maxOutputTokens'],
  ['{"a":[{"b":{}},{"c":1, "d":[] , "c":2}]}', 'c'],
  ['{"a":{"max_tokens":5,"max\\u005ftokens":9}}', 'max_tokens'],
  ['{"x":{"a\\\\":1,"a\\\\":2}}', 'a\\\\'],
  ['{"x":{"":1,"":2}}', ''],
])('the key that stands twice in one object of %s is told', (text, key) => {
  expect(scan(text)).toMatchObject({
    kind: 'duplicate_key',
    message: expect.stringContaining(`"${key}"`) as unknown,
  });
});

it.each([
  '{"a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}',
  '{"a":"\\"b\\":1,\\"b\\":2","b":"a"}',
  '{"a":["b","b",{"b":"b"}],"b":"a"}',
])('none is found in %s', (text) => {
  expect(scan(text).kind).toBe('object');
});

it('none is found in whatever JSON writes itself', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.nat(2), (value, indent) => {
      expect(scan(JSON.stringify({ value }, null, indent)).kind).toBe('object');
    }),
  );
});

it('a key is found again wherever it was among many others', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 80 }), fc.nat(), (keys, at) => {
      const twice = keys[at % keys.length] ?? '';
      const members = [...keys, twice].map((key) => `${JSON.stringify(key)}:{"k":1}`).join(',');
      expect(scan(`{"value":{${members}}}`).kind).toBe('duplicate_key');
    }),
  );
});
