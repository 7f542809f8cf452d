import { describe, expect, it } from 'vitest';
import { JsonReply } from '../../src/usage/json-reply.ts';
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { bytesOf, oneByOne, textOf } from '../support/chunks.ts';

function held(text: string): JsonReply {
  const reply = new JsonReply();
  for (const byte of oneByOne(bytesOf(text))) reply.write(byte);
  return reply;
}

describe('a held JSON reply', () => {
  it('is parsed across any chunk boundary, also inside a character', () => {
    expect(held('{"a":"é漢😀"}').parse()).toEqual({ a: 'é漢😀' });
  });

  it('may begin with keep-alive white space', () => {
    expect(held('\n\n   \n{"a":1}').parse()).toEqual({ a: 1 });
  });

  it('may begin with a byte order mark', () => {
    expect(held('\ufeff{"a":1}').parse()).toEqual({ a: 1 });
  });

  it('is undefined when it is no JSON', () => {
    expect(held('<html>').parse()).toBeUndefined();
    expect(held('').parse()).toBeUndefined();
  });

  it('is released byte for byte, once', () => {
    const reply = held(' {"a":1}\n');
    expect(textOf(reply.release())).toBe(' {"a":1}\n');
    expect(reply.release()).toEqual([]);
  });

  it('is refused past its bound', () => {
    const reply = new JsonReply(10);
    reply.write(new Uint8Array(10));
    expect(() => reply.write(new Uint8Array(1))).toThrow(ReplyTooLarge);
  });
});
