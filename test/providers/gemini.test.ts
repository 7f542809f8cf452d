import { describe, expect, it } from 'vitest';
import { readGeminiUsage } from '../../providers/gemini/usage.ts';
import { google } from '../../providers/google.ts';
import type { Endpoint } from '../../providers/provider.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import { chatCall, readAll, upstream } from '../support/chat.ts';
import { bytesOf, oneByOne, textOf } from '../support/chunks.ts';

const countsOf = (usage: Record<string, unknown>) => {
  const read = readGeminiUsage(usage);
  if (read.kind !== 'counts') throw new Error(read.reason);
  return read.counts;
};

describe('the usage of a Gemini reply', () => {
  it('has thoughts beside the candidates and cached content inside the prompt', () => {
    const counts = countsOf({
      promptTokenCount: 262_960,
      cachedContentTokenCount: 257_955,
      candidatesTokenCount: 151,
      thoughtsTokenCount: 382,
      totalTokenCount: 263_493,
    });
    expect(counts).toMatchObject({
      uncachedInput: 5_005,
      cacheRead: 257_955,
      textOutput: 151,
      reasoning: 382,
    });
  });

  it('has thoughts inside the candidates where the total says so', () => {
    const counts = countsOf({
      promptTokenCount: 10,
      candidatesTokenCount: 50,
      thoughtsTokenCount: 20,
      totalTokenCount: 60,
    });
    expect([inputTokens(counts), outputTokens(counts)]).toEqual([10, 50]);
  });

  it.each([
    [{ promptTokenCount: 9, totalTokenCount: 11 }, [9, 2]],
    [{ candidatesTokenCount: 2, totalTokenCount: 11 }, [9, 2]],
    [{ promptTokenCount: 9, thoughtsTokenCount: 4, totalTokenCount: 15 }, [9, 6]],
    [{ promptTokenCount: 9, totalTokenCount: 9 }, [9, 0]],
    [{ promptTokenCount: 9, totalTokenCount: 5 }, [9, 0]],
  ])('has by its total what is left out: %j', (usage, tokens) => {
    const counts = countsOf(usage);
    expect([inputTokens(counts), outputTokens(counts)]).toEqual(tokens);
  });

  it('counts what tools read as input', () => {
    const counts = countsOf({
      promptTokenCount: 10,
      toolUsePromptTokenCount: 30,
      candidatesTokenCount: 5,
      totalTokenCount: 45,
    });
    expect(inputTokens(counts)).toBe(40);
  });

  it('keeps audio and images apart, by name or number', () => {
    const counts = countsOf({
      promptTokenCount: 100,
      candidatesTokenCount: 20,
      promptTokensDetails: [
        { modality: 'AUDIO', tokenCount: 30 },
        { modality: 2, tokenCount: 50 },
      ],
      candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 20 }],
    });
    expect(counts).toMatchObject({
      uncachedInput: 20,
      audioInput: 30,
      imageInput: 50,
      textOutput: 0,
      imageOutput: 20,
    });
  });

  it.each([{ trafficType: 'ON_DEMAND' }, { promptTokenCount: -1 }, { promptTokenCount: '7' }, {}])(
    'is refused when it is %j',
    (usage) => {
      expect(readGeminiUsage(usage).kind).toBe('refused');
    },
  );
});

const exchangeOf = (endpoint: Endpoint, more: { body?: object; path?: string; query?: string } = {}) =>
  google.prepare(
    {
      ...chatCall(more.body ?? {}, 'gemini-x'),
      endpoint,
      stream: endpoint === 'streamGenerateContent',
      path: more.path ?? `/v1beta/models/gemini-x:${endpoint}`,
      query: more.query ?? '',
    },
    { ...upstream, type: 'google', baseUrl: 'https://g.example' },
  );

const sent = (endpoint: Endpoint, body: object): unknown =>
  JSON.parse(textOf([...(exchangeOf(endpoint, { body }).request.body ?? [])]));

const part = (text: string, more: object = {}): object => ({
  candidates: [{ content: { parts: [{ text }] }, ...more }],
  usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 2 },
});
const reader = (contentType: string) =>
  exchangeOf('streamGenerateContent').read({ status: 200, headers: { 'content-type': contentType } });

describe('a Gemini stream', () => {
  const first = `data: ${JSON.stringify(part('a'))}\r\n\r\n`;
  const last = `data: ${JSON.stringify(part('b', { finishReason: 'STOP' }))}\r\n\r\n`;
  const trailer = `data: ${JSON.stringify({ usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 3 } })}\r\n\r\n`;

  it('holds what may be its last event until the next one or the settlement', () => {
    const stream = reader('text/event-stream');
    expect(textOf([...stream.write(bytesOf(first + last))])).toBe(first);
    expect(textOf([...stream.write(bytesOf(trailer))])).toBe(last);
    expect(textOf([...stream.end()])).toBe(trailer);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ textOutput: 3 }] });
  });

  it('as an array does the same, its bytes unchanged', () => {
    const text = `[${JSON.stringify(part('a [{" \\" }]'))}\n,\r\n${JSON.stringify(part('b', { finishReason: 'STOP' }))}\n]\n`;
    for (const chunks of [[bytesOf(text)], oneByOne(bytesOf(text))]) {
      const stream = reader('application/json');
      expect(textOf(readAll(stream, chunks))).toBe(text);
      expect(stream.metered()).toMatchObject({
        kind: 'final',
        lines: [{ uncachedInput: 4, textOutput: 2 }],
      });
    }
    const stream = reader('application/json');
    const forwarded = textOf([...stream.write(bytesOf(text))]);
    expect(forwarded).toBe(`[${JSON.stringify(part('a [{" \\" }]'))}`);
    expect(stream.errorFrame?.('{"error":{}}')).toBe(',\n{"error":{}}\n]');
  });

  it('whose element has no end is broken off', () => {
    const stream = reader('application/json');
    const endless = bytesOf(`[{"text":"${'a'.repeat(1024 * 1024)}`);
    expect(() => {
      for (let times = 0; times < 66; times += 1) stream.write(endless);
    }).toThrow(/larger than/);
  });

  it('keeps its counts when a later usage has none', () => {
    const stream = reader('text/event-stream');
    const bare = `data: ${JSON.stringify({ usageMetadata: { trafficType: 'ON_DEMAND' } })}\r\n\r\n`;
    readAll(stream, [bytesOf(last + bare)]);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ textOutput: 2 }] });
  });

  it('is not final where its last usage was told before most of it: fewer tokens than deltas', () => {
    const silent = { candidates: [{ content: { parts: [{ text: 'and c' }] }, finishReason: 'STOP' }] };
    for (const more of [[silent], [{ candidates: [{ content: { parts: [{ text: 'b' }] } }] }, silent]]) {
      const stream = reader('text/event-stream');
      const parts = [part('a'), ...more].map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`);
      readAll(stream, [bytesOf(parts.join(''))]);
      // The first has two tokens, which two deltas may be, and three are not.
      const isOpen = more.length > 1;
      expect(stream.metered()).toMatchObject({
        kind: isOpen ? 'cut' : 'final',
        outputOpen: isOpen,
        lines: [{ uncachedInput: 4, textOutput: 2 }],
      });
    }
  });

  it.each([{ promptTokenCount: 4, candidatesTokenCount: '3' }, { totalTokenCount: 7 }])(
    'keeps what was told before a usage that cannot be believed, and is not final: %j',
    (usageMetadata) => {
      const stream = reader('text/event-stream');
      readAll(stream, [bytesOf(last + `data: ${JSON.stringify({ usageMetadata })}\r\n\r\n`)]);
      const counts = { uncachedInput: 4, textOutput: 2 };
      expect(stream.metered()).toMatchObject({ kind: 'cut', outputOpen: true, lines: [counts] });
    },
  );

  it('that is an error in words is failed', () => {
    const stream = reader('text/event-stream');
    readAll(stream, [bytesOf(`data: ${JSON.stringify({ error: 'bad' })}\r\n\r\n`)]);
    expect(stream.metered()).toMatchObject({ kind: 'none', failed: true });
  });

  it('of a blocked prompt without counts is none, and failed', () => {
    const stream = reader('text/event-stream');
    const blocked = {
      promptFeedback: { blockReason: 'SAFETY' },
      usageMetadata: { trafficType: 'ON_DEMAND' },
    };
    readAll(stream, [bytesOf(`data: ${JSON.stringify(blocked)}\r\n\r\n`)]);
    expect(stream.metered()).toMatchObject({ kind: 'none', failed: true });
  });
});

describe("the request to Gemini's API", () => {
  it('keeps the version and alt=sse, and nothing else of the query', () => {
    const { request } = exchangeOf('streamGenerateContent', {
      path: '/v1/models/gemini-x:streamGenerateContent',
      query: 'alt=sse&key=secret&fields=candidates',
    });
    expect(request.url).toBe('https://g.example/v1/models/gemini-x:streamGenerateContent?alt=sse');
    expect(request.headers['x-goog-api-key']).toBe('sk-upstream');
  });

  it('replaces the model where the body repeats it, and only there', () => {
    expect(sent('generateContent', { contents: [] })).toEqual({ contents: [] });
    expect(sent('embedContent', { model: 'models/alias', content: {} })).toEqual({
      model: 'models/gemini-x',
      content: {},
    });
    expect(sent('batchEmbedContents', { requests: [{ model: 'models/alias', content: {} }] })).toEqual({
      requests: [{ model: 'models/gemini-x', content: {} }],
    });
  });
});
