import { describe, expect, it } from 'vitest';
import { jsonReader, readAll } from '../support/chat.ts';
import { bytesOf, oneByOne, textOf } from '../support/chunks.ts';

const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
const reply = (more: object): string =>
  JSON.stringify({ id: 'c1', model: 'm-served', choices: [{ message: { content: 'abcdabcd' } }], ...more });

function read(text: string, status = 200, headers: Record<string, string> = {}) {
  const reader = jsonReader(status, headers);
  const released = textOf(readAll(reader, [bytesOf(text)]));
  return { released, metered: reader.metered(), estimate: reader.estimate() };
}

describe('a chat reply that is one JSON value', () => {
  it('is held until the end, then released byte for byte', () => {
    const reader = jsonReader();
    const text = ` \n${reply({ usage })}\n`;
    for (const byte of oneByOne(bytesOf(text))) expect(reader.write(byte)).toEqual([]);
    expect(textOf(reader.end())).toBe(text);
    expect(reader.end()).toEqual([]);
    expect(reader.metered().kind).toBe('final');
  });

  it('tells its usage, its id and the model that served', () => {
    expect(read(reply({ usage })).metered).toMatchObject({
      kind: 'final',
      lines: [{ uncachedInput: 3, textOutput: 4, servedModel: 'm-served' }],
      responseId: 'c1',
    });
  });

  it('has no usage before it is complete', () => {
    const reader = jsonReader();
    reader.write(bytesOf(reply({ usage })));
    expect(reader.metered()).toMatchObject({ kind: 'none', reason: 'the reply broke off' });
  });

  it.each([
    ['none', {}],
    ['null', { usage: null }],
    ['nonsense', { usage: { prompt_tokens: 'x' } }],
  ])('is estimated when its usage is %s', (_, more) => {
    const seen = read(reply(more));
    expect(seen.metered).toMatchObject({ kind: 'none', lines: [], failed: false, responseId: 'c1' });
    expect(seen.estimate).toEqual({ outputTokens: 2, deltas: 1 });
  });

  it('is estimated over all its choices', () => {
    const choices = [{ message: { content: 'abcd' } }, { message: { refusal: 'abcd' } }, { message: {} }];
    expect(read(reply({ choices })).estimate).toEqual({ outputTokens: 2, deltas: 2 });
  });

  it.each([
    ['400', '{"error":{"message":"x"},"usage":{"prompt_tokens":3,"completion_tokens":4}}', 400],
    ['401 with an empty body', '', 401],
    ['429', '{"detail":"slow down"}', 429],
    ['500 in HTML', '<html>', 500],
    ['302', '', 302],
  ])('has no usage when the provider answered %s', (_, body, status) => {
    const seen = read(body, status);
    expect(seen.metered).toMatchObject({ kind: 'none', lines: [], failed: true });
    expect(seen.metered.reason).toBe(`the provider answered ${status}`);
    expect(seen.released).toBe(body);
    expect(seen.estimate.outputTokens).toBe(0);
  });

  it('has no usage when it is an error with status 200', () => {
    const seen = read('{"error":{"code":"content_filter","message":"x"}}');
    expect(seen.metered).toMatchObject({
      kind: 'none',
      failed: true,
      reason: 'the reply carries an error: content_filter',
    });
  });

  it.each(['', '[]', 'null', '"usage"', '<html>', '{"usage":{'])('has no usage when it is %j', (body) => {
    const seen = read(body);
    expect(seen.metered).toMatchObject({ kind: 'none', reason: 'the reply is no JSON object' });
    expect(seen.released).toBe(body);
  });

  it('says so when it is encoded against what was asked', () => {
    expect(read('\u0001', 200, { 'content-encoding': 'gzip' }).metered.reason).toBe(
      'the reply is encoded: gzip',
    );
  });
});
