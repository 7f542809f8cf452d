import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import { DONE, delta, event, prepare, readAll, streamReader, usageChunk } from '../support/chat.ts';
import { bytesOf, cutAt, oneByOne, textOf } from '../support/chunks.ts';

const hello =
  delta({ role: 'assistant', content: '' }) + delta({ content: 'Hello' }) + delta({ content: '!' });

/** Reads a whole stream in one chunk. */
function read(text: string, asked = false) {
  const reader = streamReader(asked);
  const forwarded = textOf(readAll(reader, [bytesOf(text)]));
  const metered = reader.metered();
  const line = metered.lines[0];
  const tokens = line === undefined ? null : [inputTokens(line), outputTokens(line)];
  return { reader, forwarded, metered, line, tokens, estimate: reader.estimate() };
}

const estimateOf = (...deltas: object[]) => read(deltas.map((more) => delta(more)).join('')).estimate;

const streamsOf = (status: number, contentType: string | undefined, stream: boolean): boolean =>
  prepare({ model: 'm', stream }).read({
    status,
    headers: contentType === undefined ? {} : { 'content-type': contentType },
  }).streams;

function opens(text: string, split: (bytes: Uint8Array) => readonly Uint8Array[]): boolean | undefined {
  const reader = streamReader(false);
  readAll(reader, split(bytesOf(text)));
  return reader.opensWithError;
}

/** As Google's endpoint of this dialect sends them. */
const geminiChunk = (completion: number, total: number, more: object): string =>
  event({
    id: 'c1',
    model: 'gemini-3-flash-preview',
    choices: [{ index: 0, delta: { role: 'assistant', content: 'x' }, ...more }],
    usage: { completion_tokens: completion, prompt_tokens: 9, total_tokens: total },
  });

describe('a chat stream opens with an error', () => {
  const error = event({ error: { message: 'Overloaded' } });
  it.each([
    [error, true],
    [error + usageChunk(3, 0) + DONE, true],
    ['error: overloaded\n\n' + hello, true],
    [hello + error, false],
    [delta({ role: 'assistant', content: '' }) + error, false],
    [': thinking\n\n' + error, true],
    [': thinking\n\n' + hello + error, false],
    [': thinking\n\n'.repeat(100) + error, false],
    [hello + usageChunk(3, 4) + DONE, false],
    ['', undefined],
  ])('by its first event alone, however it is cut: %j', (text, expected) => {
    expect(opens(text, (bytes) => [bytes])).toBe(expected);
    expect(opens(text, oneByOne)).toBe(expected);
  });
});

describe('a chat stream goes out', () => {
  it('unchanged when the caller asked for usage', () => {
    const text = hello + usageChunk(3, 4) + DONE;
    expect(read(text, true).forwarded).toBe(text);
  });

  it('without the usage chunk that the caller did not ask for', () => {
    const seen = read(hello + usageChunk(3, 4) + DONE);
    expect(seen.forwarded).toBe(hello + DONE);
    expect(seen.tokens).toEqual([3, 4]);
  });

  it('with usage that came along with content', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
    const text =
      hello + event({ choices: [{ delta: { content: '?' }, finish_reason: 'stop' }], usage }) + DONE;
    const seen = read(text);
    expect(seen.forwarded).toBe(text);
    expect(seen.tokens).toEqual([3, 4]);
  });

  it('with a usage chunk that also carries citations', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 4 };
    const text = hello + event({ choices: [], usage, citations: ['https://a.example'] });
    expect(read(text).forwarded).toBe(text);
  });

  it('with a chunk that has neither choices nor usage', () => {
    const text =
      event({ choices: [], prompt_filter_results: [] }) + event({ choices: [], usage: null }) + hello;
    expect(read(text).forwarded).toBe(text);
  });

  it('event by event, at once', () => {
    const reader = streamReader(false);
    expect(textOf(reader.write(bytesOf(delta({ content: 'a' }))))).toBe(delta({ content: 'a' }));
    expect(textOf(reader.write(bytesOf(': keep-alive\n')))).toBe(': keep-alive\n');
    expect(reader.write(bytesOf('data: {"half'))).toEqual([]);
  });

  it('in one slice for a burst of events in one chunk', () => {
    const chunk = bytesOf(hello.repeat(100));
    expect(streamReader(false).write(chunk)).toEqual([chunk]);
  });

  it('in two slices around what is withheld', () => {
    const slices = streamReader(false).write(bytesOf(hello + usageChunk(1, 1) + hello + hello));
    expect(slices.map((slice) => textOf([slice]))).toEqual([hello, hello + hello]);
  });

  it('up to its end marker, which waits with all that follows', () => {
    const reader = streamReader(false);
    expect(textOf(reader.write(bytesOf(hello + DONE + ': bye\n\n')))).toBe(hello);
    expect(reader.terminal).toBe(true);
    expect(textOf(reader.end())).toBe(`${DONE}: bye\n\n`);
    expect(textOf(reader.write(bytesOf('\n')))).toBe('');
    expect(textOf(reader.end())).toBe('\n');
  });

  it('with an end marker that has no blank line', () => {
    expect(read(`${hello}data: [DONE]`).forwarded).toBe(`${hello}data: [DONE]`);
  });

  it('until the bound on what follows the end marker', () => {
    const reader = streamReader(false);
    reader.write(bytesOf(DONE));
    const flood = (): void => {
      for (let sent = 0; sent < 40; sent += 1) reader.write(bytesOf(`: ${'x'.repeat(50_000)}\n`));
    };
    expect(flood).toThrow("What follows the stream's end marker");
  });
});

describe('the usage of a chat stream', () => {
  it('is final with the reply complete', () => {
    expect(read(hello + usageChunk(3, 4) + DONE).metered).toEqual({
      kind: 'final',
      lines: [expect.objectContaining({ uncachedInput: 3, textOutput: 4, servedModel: 'm-served' })],
      responseId: 'c1',
      reason: undefined,
      failed: false,
    });
  });

  it('is final at the end marker, before the connection closes', () => {
    const reader = streamReader(false);
    reader.write(bytesOf(hello + usageChunk(3, 4) + DONE));
    expect(reader.metered().kind).toBe('final');
  });

  it('is final at the chunk of usage alone, whatever breaks after it', () => {
    const reader = streamReader(false);
    reader.write(bytesOf(hello + usageChunk(3, 4)));
    expect(reader.metered().kind).toBe('final');
    reader.write(bytesOf(delta({ content: 'more' })));
    expect(reader.metered()).toMatchObject({ kind: 'cut', reason: 'the reply broke off' });
  });

  it('is cut when running sums were told and the stream broke, or merely ended', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
    const reader = streamReader(false);
    reader.write(bytesOf(event({ choices: [{ delta: { content: 'a' } }], usage })));
    expect(reader.metered().kind).toBe('cut');
    reader.end();
    expect(reader.metered().kind).toBe('cut');
    expect(reader.complete).toBe(false);
  });

  it('is final when running sums were told and the stream ended with a reason to stop', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
    const reader = streamReader(false);
    reader.write(bytesOf(event({ choices: [{ delta: {}, finish_reason: 'stop' }], usage })));
    reader.end();
    expect(reader.metered().kind).toBe('final');
    expect(reader.complete).toBe(true);
  });

  it('is not final where it was told before what was said: fewer tokens than deltas', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
    const early = event({ choices: [{ delta: { role: 'assistant' } }], usage });
    const stopped = event({ choices: [{ delta: {}, finish_reason: 'stop' }] });
    const said = delta({ content: 'The fare ' }) + delta({ content: 'is paid.' });
    for (const end of ['', stopped, stopped + DONE, DONE]) {
      const bytewise = streamReader(false);
      readAll(bytewise, oneByOne(bytesOf(early + said + end)));
      for (const metered of [read(early + said + end).metered, bytewise.metered()])
        expect(metered).toMatchObject({
          kind: 'cut',
          outputOpen: true,
          lines: [{ uncachedInput: 3, textOutput: 1 }],
        });
    }
    const unbelievable = event({ choices: [], usage: { ...usage, completion_tokens: '9' } });
    expect(read(early + said + unbelievable + DONE).metered).toMatchObject({ kind: 'cut', outputOpen: true });
    // As many tokens as deltas may be all there is, and a count behind them is the vendor's last word.
    expect(read(early + delta({ content: 'x' }) + DONE).metered.kind).toBe('final');
    expect(read(said + usageChunk(3, 1) + DONE).metered).toMatchObject({ kind: 'final' });
  });

  it('is final where no text came behind it, however many pieces its tokens came in', () => {
    const letters = [...'fare'].map((content) => delta({ content })).join('');
    const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
    const stopped = event({ choices: [{ delta: {}, finish_reason: 'stop' }], usage });
    const sources = event({ choices: [{ delta: { content: '' } }], citations: ['https://example.com'] });
    const bytewise = streamReader(false);
    readAll(bytewise, oneByOne(bytesOf(letters + stopped + sources + DONE)));
    for (const metered of [read(letters + stopped + sources + DONE).metered, bytewise.metered()])
      expect(metered).toMatchObject({ kind: 'final', lines: [{ uncachedInput: 3, textOutput: 1 }] });
  });

  it('is the last one told, never a sum', () => {
    const running = [1, 2, 3].map((tokens) =>
      event({
        choices: [{ delta: { content: 'a' } }],
        usage: { prompt_tokens: 5, completion_tokens: tokens, total_tokens: 5 + tokens },
      }),
    );
    expect(read(running.join('')).tokens).toEqual([5, 3]);
  });

  it.each([true, false])('is final also where it is withheld and more comes behind it: asked %s', (asked) => {
    const letters = [...'fare'].map((content) => delta({ content })).join('');
    const stopped = event({ choices: [{ delta: {}, finish_reason: 'stop' }] });
    const stream = letters + usageChunk(3, 1) + stopped + DONE;
    const bytewise = streamReader(asked);
    readAll(bytewise, oneByOne(bytesOf(stream)));
    for (const metered of [read(stream, asked).metered, bytewise.metered()])
      expect(metered).toMatchObject({ kind: 'final', lines: [{ uncachedInput: 3, textOutput: 1 }] });
    const more = letters + usageChunk(3, 1) + delta({ content: '!' }) + DONE;
    expect(read(more, asked).metered).toMatchObject({ kind: 'cut', outputOpen: true });
  });

  it('is whole behind an event that would be an error by its names, had nothing been said after it', () => {
    const queued = event({ message: 'Queued, second in line' });
    const stopped = event({ choices: [{ delta: {}, finish_reason: 'stop' }] });
    const { reader, metered } = read(queued + hello + stopped);
    expect([reader.complete, metered]).toMatchObject([true, { kind: 'none', failed: false }]);
    const alone = read(queued);
    expect([alone.reader.complete, alone.metered]).toMatchObject([false, { kind: 'none', failed: true }]);
    const checkpointed = streamReader(false);
    checkpointed.write(bytesOf(queued));
    checkpointed.metered();
    readAll(checkpointed, [bytesOf(hello + stopped)]);
    expect([checkpointed.complete, checkpointed.metered().failed]).toEqual([true, false]);
  });

  it("has the thoughts that Google's endpoint tells in the total of each chunk alone", () => {
    const stream = geminiChunk(1, 103, {}) + geminiChunk(3, 105, { finish_reason: 'length' }) + DONE;
    expect(read(stream)).toMatchObject({ tokens: [9, 96], line: { reasoning: 93 }, forwarded: stream });
  });

  it('is not added up where Groq tells it twice', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
    const text =
      hello + event({ choices: [{ delta: {}, finish_reason: 'stop' }], x_groq: { id: 'req', usage } }) + DONE;
    expect(read(text).tokens).toEqual([5, 3]);
    const twice = text.replace(DONE, event({ choices: [], usage, x_groq: { usage } }) + DONE);
    expect(read(twice).tokens).toEqual([5, 3]);
    expect(read(twice).forwarded).toBe(text);
  });

  it('is none where nothing is told, with the id for look-ups', () => {
    expect(read(hello + DONE).metered).toMatchObject({
      kind: 'none',
      lines: [],
      responseId: 'c1',
      reason: 'the stream told no usage',
      failed: false,
    });
  });

  it('is none where what is told cannot be believed, and says why', () => {
    const text = hello + event({ choices: [], usage: { prompt_tokens: -1, completion_tokens: 2 } }) + DONE;
    const seen = read(text);
    expect(seen.metered).toMatchObject({ kind: 'none', reason: 'prompt_tokens is not a token count' });
    expect(seen.estimate.outputTokens).toBe(2);
    expect(seen.forwarded).toBe(hello + DONE);
  });
});

describe('the usage of a chat stream, oddly told,', () => {
  it('is read from its only choice where nothing else tells it', () => {
    const inChoice = event({
      choices: [{ index: 0, delta: {}, usage: { prompt_tokens: 3, completion_tokens: 4 } }],
    });
    expect(read(hello + inChoice + DONE)).toMatchObject({ tokens: [3, 4], metered: { kind: 'final' } });
    expect(read(hello + inChoice + usageChunk(5, 6) + DONE).tokens).toEqual([5, 6]);
  });

  it('is not lost to one that is empty', () => {
    expect(read(hello + usageChunk(3, 4) + event({ choices: [], usage: {} }) + DONE)).toMatchObject({
      tokens: [3, 4],
      metered: { kind: 'final' },
    });
  });

  it.each([{}, { choices: null }])('is withheld beside %j', (more) => {
    const told = event({ id: 'c', ...more, usage: { prompt_tokens: 3, completion_tokens: 4 } });
    expect(read(hello + told + DONE)).toMatchObject({ tokens: [3, 4], forwarded: hello + DONE });
  });

  it('survives a later null', () => {
    expect(read(usageChunk(3, 4) + delta({ content: 'x' }) + DONE).tokens).toEqual([3, 4]);
  });

  it('is read from an event without its blank line', () => {
    expect(read(hello + usageChunk(3, 4).trimEnd()).tokens).toEqual([3, 4]);
  });

  it('is read from an event of several data lines', () => {
    const text =
      'data: {"choices":[],\r\ndata: "usage":\r\ndata: {"prompt_tokens":3,"completion_tokens":4}}\r\n\r\n';
    expect(read(hello + text).tokens).toEqual([3, 4]);
    expect(read(hello + text).forwarded).toBe(hello);
  });
});

describe('a reason to stop that is empty', () => {
  it('is none: the stream that ends after it is cut', () => {
    const running = event({ choices: [{ index: 0, delta: { content: 'a' }, finish_reason: '' }] });
    expect(read(running).reader.complete).toBe(false);
    const stopped = event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    expect(read(running + stopped).reader.complete).toBe(true);
  });
});

describe('an error inside a stream', () => {
  it.each([
    ['an error event', 'event: error\ndata: {"error":{"message":"secret","code":"bad"}}\n\n', ': bad'],
    ['an error chunk', event({ choices: [], error: { code: 502, message: 'x' } }), ': 502'],
  ])('as %s makes the reply a failed one', (_, text, shown) => {
    const seen = read(hello + text);
    expect(seen.metered).toMatchObject({
      kind: 'none',
      failed: true,
      reason: `the reply carries an error${shown}`,
    });
    expect(seen.forwarded).toBe(hello + text);
  });

  it('as a field named error makes the reply a failed one', () => {
    expect(read(`${hello}error: {"detail":"x"}\n\n`).metered).toMatchObject({ kind: 'none', failed: true });
  });

  it('beside usage leaves the usage', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 4 };
    const seen = read(hello + event({ choices: [], usage, error: { code: 1 } }) + DONE);
    expect(seen.metered).toMatchObject({ kind: 'final', failed: true });
    expect(seen.tokens).toEqual([3, 4]);
  });

  it('that is null is none', () => {
    expect(read(hello + event({ choices: [], error: null }) + DONE).metered.failed).toBe(false);
  });
});

describe('the estimate of a stream', () => {
  it('counts deltas that bear content', () => {
    expect(
      estimateOf({ role: 'assistant' }, { content: '' }, { content: 'abcd' }, { content: 'abcd' }),
    ).toEqual({
      outputTokens: 2,
      deltas: 2,
    });
  });

  it.each([
    ['a refusal', { refusal: 'abcdabcd' }],
    ['reasoning', { reasoning: 'abcdabcd' }],
    ['reasoning content', { reasoning_content: 'abcdabcd' }],
    ['reasoning told twice', { reasoning: 'abcdabcd', reasoning_details: [{ text: 'abcdabcd' }] }],
    ['a reasoning summary', { reasoning_details: [{ type: 'reasoning.summary', summary: 'abcdabcd' }] }],
    ['a tool call', { tool_calls: [{ index: 0, function: { name: 'abcd', arguments: '{"a"' } }] }],
    ['a custom tool call', { tool_calls: [{ custom: { name: 'abcd', input: 'abcd' } }] }],
    ['a function call', { function_call: { name: 'abcd', arguments: 'abcd' } }],
    ['content parts', { content: [{ type: 'text', text: 'abcdabcd' }] }],
    [
      'thoughts in parts',
      { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'abcdabcd' }] }] },
    ],
    ['the transcript of audio', { audio: { data: 'AAAA', transcript: 'abcdabcd' } }],
  ])('covers %s', (_, more) => {
    expect(estimateOf(more)).toEqual({ outputTokens: 2, deltas: 1 });
  });

  it('covers every choice', () => {
    const choices = [0, 1, 2].map((index) => ({ index, delta: { content: 'abcd' } }));
    expect(read(event({ choices })).estimate).toEqual({ outputTokens: 3, deltas: 3 });
  });

  it('does not count the whole message that comes beside each delta', () => {
    const choices = [{ delta: { content: 'abcd' }, message: { content: 'abcd'.repeat(50) } }];
    expect(read(event({ choices })).estimate.outputTokens).toBe(1);
  });

  it('is never nothing when there was any text', () => {
    expect(estimateOf({ content: '.' })).toEqual({ outputTokens: 1, deltas: 1 });
  });

  it('is the same whenever it is asked for', () => {
    const reader = streamReader(false);
    for (let sent = 0; sent < 100; sent += 1) {
      reader.write(bytesOf(delta({ content: 'abcd' })));
      expect(reader.estimate()).toEqual({ outputTokens: sent + 1, deltas: sent + 1 });
    }
  });

  it('goes through folding, and through an event larger than what is kept', () => {
    const text =
      delta({ content: 'abcd'.repeat(100) }).repeat(5000) + delta({ content: 'abcd'.repeat(100_000) });
    expect(read(text).estimate).toEqual({ outputTokens: 600_000, deltas: 5001 });
  });
});

describe('an adversary in a stream', () => {
  it('does not fool the meter with text that looks like usage', () => {
    const fake = '"usage":{"prompt_tokens":999,"completion_tokens":999}';
    const texts = [
      fake,
      `data: {"choices":[],${fake}}\n\n`,
      'data: [DONE]\n\n',
      '"usage"',
      `{${fake}}`,
      '\r\rdata: x',
    ];
    const text = texts.map((content) => delta({ content })).join('') + usageChunk(3, 4) + DONE;
    const seen = read(text);
    expect(seen.tokens).toEqual([3, 4]);
    expect(seen.forwarded).toBe(text.replace(usageChunk(3, 4), ''));
    expect(read(texts.map((content) => delta({ content })).join('')).metered.kind).toBe('none');
  });

  it('does not fool the meter with usage that is not at the top', () => {
    const usage = { prompt_tokens: 999, completion_tokens: 999 };
    const text = event({ choices: [{ delta: { content: 'x', usage } }], extra: { usage } });
    expect(read(text).metered.kind).toBe('none');
  });

  it('gets events that are no JSON through', () => {
    const text =
      'data: {"usage": {\n\ndata: "usage"\n\ndata: null\n\ndata:\n\ndata: 1e999\n\ndata: [1,{"usage":1}]\n\n';
    const seen = read(text + usageChunk(3, 4));
    expect(seen.forwarded).toBe(text);
    expect(seen.tokens).toEqual([3, 4]);
  });

  it('gets nowhere with events of the wrong shapes', () => {
    const odd = [
      { choices: {} },
      { choices: [null, 1, []] },
      { choices: [{ delta: [] }] },
      { choices: [{ delta: 3 }] },
    ];
    const text = [...odd, { usage: 'x', x_groq: 4, error: 0 }].map((data) => event(data)).join('');
    expect(read(text).forwarded).toBe(text);
  });
});

describe('any chunking of a stream', () => {
  const piece = fc.constantFrom(
    delta({ content: 'é漢😀' }),
    usageChunk(3, 4),
    ': note\n\n',
    ': note\r\n',
    DONE,
    '\r',
    '\n',
    delta({ content: 'a' }).replaceAll('\n', '\r\n'),
    usageChunk(5, 6).replaceAll('\n', '\r\n'),
    usageChunk(7, 8).replaceAll('\n', '\r'),
    event({ choices: [], error: { code: 3 } }),
  );

  it('gives the same bytes, usage and estimate', () => {
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.boolean(),
        (pieces, offsets, asked) => {
          const bytes = bytesOf(pieces.join(''));
          const outcome = (chunks: readonly Uint8Array[]): unknown => {
            const reader = streamReader(asked);
            const forwarded = textOf(readAll(reader, chunks));
            if (asked) expect(forwarded).toBe(textOf([bytes]));
            return [forwarded, reader.metered(), reader.estimate(), reader.terminal];
          };
          const whole = outcome([bytes]);
          expect(outcome(cutAt(bytes, offsets))).toEqual(whole);
          expect(outcome(oneByOne(bytes))).toEqual(whole);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('the kind of reader', () => {
  it("follows the reply's own content type", () => {
    expect(streamsOf(200, 'text/event-stream; charset=utf-8', true)).toBe(true);
    expect(streamsOf(200, 'text/event-stream', false)).toBe(true);
    expect(streamsOf(200, 'application/json', true)).toBe(false);
  });

  it('follows what was asked where the reply does not say', () => {
    expect(streamsOf(200, undefined, true)).toBe(true);
    expect(streamsOf(200, undefined, false)).toBe(false);
  });

  it('holds every error', () => {
    expect(streamsOf(500, 'text/event-stream', true)).toBe(false);
    expect(streamsOf(302, undefined, true)).toBe(false);
  });
});
