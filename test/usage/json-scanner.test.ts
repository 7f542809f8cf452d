import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  JSON_DEPTH_MAX,
  memberText,
  memberValue,
  scanJsonObject,
  type JsonObjectScan,
} from '../../src/usage/json-scanner.ts';
import { bytesOf } from '../support/chunks.ts';

const kindOf = (text: string): string => scanJsonObject(bytesOf(text)).kind;

function scanned(text: string): JsonObjectScan {
  const scan = scanJsonObject(bytesOf(text));
  if (scan.kind !== 'object') throw new Error(scan.message);
  return scan;
}

/** What `JSON.parse` makes of a text; undefined when it refuses it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const nested = (depth: number): string => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;

describe('the scanner finds members', () => {
  it('answers each value by its offsets', () => {
    const text = ' { "model" : "gpt-4o" , "n":[1,{"model":2}] , "stream":true} ';
    const scan = scanned(text);
    const values = [...scan.members.values()].map((member) => memberText(bytesOf(text), member));
    expect(values).toEqual(['"gpt-4o"', '[1,{"model":2}]', 'true']);
    expect(scan.insertAt).toBe(2);
  });

  it('reads one value without parsing the rest', () => {
    const text = '{"a":"é","stream_options":{"include_usage":true}}';
    expect(memberValue(bytesOf(text), scanned(text), 'stream_options')).toEqual({ include_usage: true });
    expect(memberValue(bytesOf(text), scanned(text), 'absent')).toBeUndefined();
  });

  it('decodes escaped keys', () => {
    expect([...scanned('{"mod\\u0065l":1}').members.keys()]).toEqual(['model']);
  });

  it('takes an empty object', () => {
    expect(scanned('{ }').members.size).toBe(0);
  });

  it('keeps a key named __proto__ apart', () => {
    expect([...scanned('{"__proto__":{"model":"x"}}').members.keys()]).toEqual(['__proto__']);
  });
});

const manyKeys = (count: number): string =>
  Array.from({ length: count }, (_, n) => `"k${String(n)}":0`).join(',');

it('the scanner takes the same key in objects that are not the same', () => {
  const inner = `{${manyKeys(40)},"b":{"b":[{"b":1},{"b":2}]}}`;
  expect(scanned(`{"a":${inner},"b":${inner},"c":[${inner},${inner}]}`).members.size).toBe(3);
});

describe('the scanner refuses', () => {
  it.each([
    ['a key given twice', '{"model":"a","model":"b"}', 'duplicate_key'],
    ['a key given twice, once escaped', '{"model":"a","mod\\u0065l":"b"}', 'duplicate_key'],
    ['a key given twice further down', '{"a":[{"b":1,"c":{"b":2},"b":3}]}', 'duplicate_key'],
    ['a key given twice further down, once escaped', '{"a":{"b":1,"\\u0062":2}}', 'duplicate_key'],
    ['a key given twice among many', `{"a":{${manyKeys(100)},"k50":0}}`, 'duplicate_key'],
    ['a key given twice behind an escaped one', '{"a":{"\\u0062":1,"c":1,"c":2}}', 'duplicate_key'],
    ['a key that differs in case', '{"Model":"a"}', 'lookalike_key'],
    ['a key with a long s', '{"\u017ftream":true}', 'lookalike_key'],
    ['a key in capitals', '{"STREAM_OPTIONS":{}}', 'lookalike_key'],
    ['a byte order mark', '\ufeff{}', 'byte_order_mark'],
    ['an array', '[]', 'not_an_object'],
    ['nothing', '', 'not_an_object'],
    ['text after the object', '{} x', 'not_json'],
    ['a second object', '{}{}', 'not_json'],
    ['an object that does not end', '{"a":1', 'not_json'],
    ['a bare control character in a string', '{"a":"\u0001"}', 'not_json'],
    ['a trailing comma', '{"a":1,}', 'not_json'],
    ['a leading zero', '{"a":01}', 'not_json'],
    ['a comment', '{/**/}', 'not_json'],
    ['brackets that do not match', '{"a":[}', 'not_json'],
  ])('%s', (_, text, kind) => {
    expect(kindOf(text)).toBe(kind);
  });

  it('a key that is like no other but in case only where the gateway acts on it', () => {
    expect(kindOf('{"Messages":[],"messages":[]}')).toBe('object');
  });

  it('nesting over the limit, and not the limit itself', () => {
    expect(kindOf(nested(JSON_DEPTH_MAX))).toBe('object');
    expect(kindOf(nested(JSON_DEPTH_MAX + 1))).toBe('too_deep');
    expect(kindOf(nested(1_000_000))).toBe('too_deep');
  });

  it('more members than any dialect has', () => {
    const members = Array.from({ length: 1001 }, (_, index) => `"k${index}":0`);
    expect(kindOf(`{${members.join(',')}}`)).toBe('too_many_members');
  });

  it('what it says names the key and the place', () => {
    const scan = scanJsonObject(bytesOf('{"model":1, "model":2}'));
    expect(scan).toMatchObject({
      offset: 12,
      message: 'The key "model" is given twice, at byte 12.',
    });
  });

  it.each([
    ['an overlong form', [0xc0, 0xaf]],
    ['a lone trail byte', [0x80]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a code point past U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['an overlong three-byte form', [0xe0, 0x9f, 0xbf]],
    ['an overlong four-byte form', [0xf0, 0x8f, 0xbf, 0xbf]],
    ['a sequence cut short', [0xe2, 0x82]],
  ])('%s in a string', (_, middle) => {
    const bytes = new Uint8Array([...bytesOf('{"a":"'), ...middle, ...bytesOf('"}')]);
    expect(scanJsonObject(bytes).kind).toBe('not_utf8');
  });
});

const object = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 5 }));
const piece = fc.constantFrom(
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\\u00',
  '0',
  '-',
  '.',
  'e',
  'true',
  'null',
  ' ',
  'é',
  '\n',
);
const edit = fc.tuple(fc.nat(), fc.nat(3), piece);

describe('the scanner agrees with JSON.parse', () => {
  it('on what objects hold', () => {
    fc.assert(
      fc.property(object, fc.constantFrom(0, 1, '\t'), (value, space) => {
        const text = JSON.stringify(value, null, space);
        const scan = scanJsonObject(bytesOf(text));
        if (scan.kind !== 'object') return expect(scan.kind).toBe('lookalike_key');
        const again = [...scan.members.values()].map((member) => [
          member.key,
          JSON.parse(memberText(bytesOf(text), member)) as unknown,
        ]);
        expect(Object.fromEntries(again)).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('on whether a damaged text is JSON at all', () => {
    fc.assert(
      fc.property(object, fc.array(edit, { minLength: 1, maxLength: 3 }), (value, edits) => {
        let text = JSON.stringify(value);
        for (const [where, length, insert] of edits) {
          const at = where % (text.length + 1);
          text = text.slice(0, at) + insert + text.slice(at + length);
        }
        const scan = scanJsonObject(bytesOf(text));
        if (scan.kind === 'duplicate_key' || scan.kind === 'lookalike_key') return;
        const truth = parsed(text.toWellFormed());
        const isObject = typeof truth === 'object' && truth !== null && !Array.isArray(truth);
        expect(scan.kind === 'object', text).toBe(isObject);
      }),
      { numRuns: 3000 },
    );
  });

  it('on whether bytes are UTF-8', () => {
    const strict = new TextDecoder('utf-8', { fatal: true });
    const odd = fc.oneof(fc.integer({ min: 0x7f, max: 0xff }), fc.constantFrom(0x41, 0x80, 0xbf, 0xed, 0xf0));
    fc.assert(
      fc.property(fc.array(odd, { maxLength: 6 }), (middle) => {
        const bytes = new Uint8Array([...bytesOf('{"a":"'), ...middle, ...bytesOf('"}')]);
        let valid = true;
        try {
          strict.decode(bytes);
        } catch {
          valid = false;
        }
        expect(scanJsonObject(bytes).kind).toBe(valid ? 'object' : 'not_utf8');
      }),
      { numRuns: 5000 },
    );
  });
});
