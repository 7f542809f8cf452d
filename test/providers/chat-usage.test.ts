import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readChatUsage } from '../../providers/openai-chat/usage.ts';
import { TOKENS_MAX } from '../../providers/passage/counts.ts';
import { inputTokens, outputTokens, ZERO_TOKENS, type TokenCounts } from '../../src/usage/usage.ts';

function counted(usage: object): TokenCounts {
  const read = readChatUsage(usage);
  if (read.kind !== 'counts') throw new Error(read.reason);
  return read.counts;
}

const reasonOf = (usage: unknown): string | undefined => readChatUsage(usage).reason;

/** A report of ten in and five out, with more. */
const ten = (more: object): object => ({
  prompt_tokens: 10,
  completion_tokens: 5,
  total_tokens: 15,
  ...more,
});

describe('chat usage', () => {
  it('counts what was read and what was generated', () => {
    expect(counted(ten({}))).toEqual({ ...ZERO_TOKENS, uncachedInput: 10, textOutput: 5 });
    expect(reasonOf(ten({}))).toBeUndefined();
  });

  it('takes zero for zero', () => {
    expect(counted({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 })).toEqual(ZERO_TOKENS);
  });

  it('needs no total', () => {
    expect(outputTokens(counted({ prompt_tokens: 10, completion_tokens: 5 }))).toBe(5);
  });

  it('makes up for one missing count by the total', () => {
    const counts = counted({ prompt_tokens: 10, completion_tokens: null, total_tokens: 15 });
    expect([inputTokens(counts), outputTokens(counts)]).toEqual([10, 5]);
  });

  it('is read by the names of the Responses API where it has no others', () => {
    const counts = counted({
      input_tokens: 10,
      output_tokens: 5,
      total_tokens: 15,
      input_tokens_details: { cached_tokens: 4 },
      output_tokens_details: { reasoning_tokens: 2 },
    });
    expect(counts).toEqual({ ...ZERO_TOKENS, uncachedInput: 6, cacheRead: 4, textOutput: 3, reasoning: 2 });
    expect(inputTokens(counted(ten({ input_tokens: 99, output_tokens: 99 })))).toBe(10);
  });

  it('tolerates whatever else vendors add', () => {
    expect(reasonOf(ten({ cost: { total: 1 }, is_byok: false, queue_time: 0.1, x: null }))).toBeUndefined();
  });
});

describe('cached input is part of the prompt', () => {
  it.each([
    ['OpenAI', { prompt_tokens_details: { cached_tokens: 4 } }],
    ['Writer', { prompt_token_details: { cached_tokens: 4 } }],
    ['DeepSeek', { prompt_cache_hit_tokens: 4, prompt_cache_miss_tokens: 6 }],
    ['DeepSeek, said twice', { prompt_cache_hit_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } }],
    ['Moonshot and Together', { cached_tokens: 4 }],
    ['an older Mistral', { num_cached_tokens: 4, prompt_tokens_details: null }],
  ])('as %s spells it', (_, more) => {
    expect(counted(ten(more))).toMatchObject({ uncachedInput: 6, cacheRead: 4 });
  });

  it('once: 2,006 with 1,920 cached are 2,006', () => {
    const usage = { prompt_tokens: 2006, completion_tokens: 300, total_tokens: 2306 };
    const counts = counted({ ...usage, prompt_tokens_details: { cached_tokens: 1920 } });
    expect(counts).toMatchObject({ uncachedInput: 86, cacheRead: 1920 });
    expect(inputTokens(counts)).toBe(2006);
  });

  it.each([
    ['in the details', { prompt_tokens_details: { cached_tokens: 2, cache_write_tokens: 3 } }],
    ['at the top', { cached_tokens: 2, cache_creation_input_tokens: 3 }],
  ])('with writes %s', (_, more) => {
    expect(counted(ten(more))).toMatchObject({ uncachedInput: 5, cacheRead: 2, cacheWrite: 3 });
  });

  it('and a null spelling does not hide the one that has the count', () => {
    expect(counted(ten({ prompt_tokens_details: { cached_tokens: null }, cached_tokens: 4 })).cacheRead).toBe(
      4,
    );
  });

  it('and a zero one does', () => {
    expect(counted(ten({ prompt_tokens_details: { cached_tokens: 0 }, cached_tokens: 4 })).cacheRead).toBe(0);
  });
});

describe('a cache count that does not fit the prompt', () => {
  it('leaves the prompt as the total has it', () => {
    const usage = { prompt_tokens: 7, completion_tokens: 213, total_tokens: 220 };
    const read = readChatUsage({ ...usage, prompt_tokens_details: { cached_tokens: 163 } });
    expect(read).toMatchObject({ counts: { uncachedInput: 7, cacheRead: 0 } });
    expect(read.reason).toContain('163 cached tokens of 7');
  });

  it('lies beside the prompt when the total says so', () => {
    const usage = { prompt_tokens: 7, completion_tokens: 213, total_tokens: 383 };
    const counts = counted({ ...usage, prompt_tokens_details: { cached_tokens: 163 } });
    expect(counts).toMatchObject({ uncachedInput: 7, cacheRead: 163 });
  });

  it('lies beside the prompt when no total says otherwise', () => {
    const read = readChatUsage({ prompt_tokens: 7, completion_tokens: 2, cached_tokens: 163 });
    expect(read).toMatchObject({ counts: { uncachedInput: 7, cacheRead: 163 } });
    expect(read.reason).toContain('beside the prompt');
  });

  it('lies beside the prompt as well where more was written than the prompt has', () => {
    const counts = counted({ prompt_tokens: 5, completion_tokens: 2, cache_creation_input_tokens: 200 });
    expect(counts).toMatchObject({ uncachedInput: 5, cacheWrite: 200 });
  });

  it("lies beside an input that has Anthropic's names, and no total", () => {
    const usage = { input_tokens: 500, output_tokens: 2, cache_read_input_tokens: 100 };
    expect(counted(usage)).toMatchObject({ uncachedInput: 500, cacheRead: 100 });
    expect(counted({ ...usage, prompt_tokens: 500 })).toMatchObject({ uncachedInput: 400, cacheRead: 100 });
    // Details are parts of their whole: such a report is one of the Responses API, whatever stands beside them.
    const details = { input_tokens_details: { cached_tokens: 100 } };
    expect(counted({ ...usage, ...details })).toMatchObject({ uncachedInput: 400, cacheRead: 100 });
  });

  it('is not subtracted twice when the same tokens are named read and written', () => {
    const usage = { prompt_tokens: 2168, completion_tokens: 10, total_tokens: 2178 };
    const details = { cached_tokens: 2161, cache_write_tokens: 2161 };
    const counts = counted({ ...usage, prompt_tokens_details: details });
    expect(counts).toMatchObject({ uncachedInput: 7, cacheRead: 2161, cacheWrite: 0 });
  });
});

describe('output details', () => {
  it('put reasoning inside the completion', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 300, total_tokens: 310 };
    const counts = counted({ ...usage, completion_tokens_details: { reasoning_tokens: 256 } });
    expect(counts).toMatchObject({ textOutput: 44, reasoning: 256 });
  });

  it('put reasoning beside the completion when the total says so, even where it would fit inside', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 26, total_tokens: 55 };
    const counts = counted({ ...usage, completion_tokens_details: { reasoning_tokens: 19 } });
    expect(counts).toMatchObject({ textOutput: 26, reasoning: 19 });
  });

  it.each([
    ['no total', undefined],
    ['a total that leaves it out', 11],
  ])('put reasoning beside a completion it exceeds, with %s', (_, total) => {
    const usage = { prompt_tokens: 10, completion_tokens: 1, total_tokens: total };
    expect(outputTokens(counted({ ...usage, completion_tokens_details: { reasoning_tokens: 290 } }))).toBe(
      291,
    );
  });

  it("take for Gemini's thoughts what the total has beside the other two, and for nobody else's", () => {
    const usage = { prompt_tokens: 9, completion_tokens: 1, total_tokens: 103 };
    for (const model of ['gemini-3-flash-preview', 'models/gemini-2.5-pro', 'google/gemini-2.5-flash'])
      expect(readChatUsage(usage, model)).toMatchObject({
        kind: 'counts',
        counts: { uncachedInput: 9, textOutput: 1, reasoning: 93 },
        reason: undefined,
      });
    expect(readChatUsage(usage, 'other-gemini')).toMatchObject({ counts: { textOutput: 1, reasoning: 0 } });
    const told = { ...usage, completion_tokens: 94, completion_tokens_details: { reasoning_tokens: 93 } };
    expect(readChatUsage(told, 'gemini-3-flash-preview')).toMatchObject({
      counts: { uncachedInput: 9, textOutput: 1, reasoning: 93 },
    });
  });

  it('set audio and images apart', () => {
    const details = { audio_tokens: 2, image_tokens: 1, reasoning_tokens: 1 };
    expect(counted(ten({ completion_tokens_details: details }))).toMatchObject({
      textOutput: 1,
      reasoning: 1,
      audioOutput: 2,
      imageOutput: 1,
    });
  });

  it('never make the output larger than it is', () => {
    const read = readChatUsage(ten({ completion_tokens_details: { reasoning_tokens: 4, audio_tokens: 4 } }));
    expect(read).toMatchObject({ counts: { textOutput: 0, reasoning: 4, audioOutput: 1 } });
    expect(read.reason).toContain('8 tokens in the details of 5');
  });
});

describe('input details', () => {
  it("add Mistral's audio, which its prompt leaves out", () => {
    const usage = { prompt_tokens: 9, completion_tokens: 248, total_tokens: 632 };
    const counts = counted({ ...usage, prompt_tokens_details: { audio_tokens: 375 } });
    expect(counts).toMatchObject({ uncachedInput: 9, audioInput: 375 });
  });

  it("add Mistral's audio by the total where it is told in seconds alone", () => {
    const usage = { prompt_tokens: 4, completion_tokens: 635, total_tokens: 3264 };
    const counts = counted({ ...usage, prompt_audio_seconds: 203 });
    expect(counts).toMatchObject({ uncachedInput: 4, audioInput: 2625, textOutput: 635 });
    expect(inputTokens(counted({ ...usage, prompt_audio_seconds: 0 }))).toBe(4);
    expect(counted(ten({ prompt_audio_seconds: 3 }))).toMatchObject({ uncachedInput: 10, audioInput: 0 });
  });

  it("set OpenAI's audio apart inside the prompt", () => {
    const usage = { prompt_tokens: 53, completion_tokens: 123, total_tokens: 176 };
    const counts = counted({ ...usage, prompt_tokens_details: { audio_tokens: 37, text_tokens: 16 } });
    expect(counts).toMatchObject({ uncachedInput: 16, audioInput: 37 });
  });

  it('take images for fresh as far as the cache leaves room', () => {
    const usage = { prompt_tokens: 504, completion_tokens: 91, total_tokens: 595 };
    const counts = counted({ ...usage, prompt_tokens_details: { cached_tokens: 370, image_tokens: 256 } });
    expect(counts).toMatchObject({ uncachedInput: 0, cacheRead: 370, imageInput: 134 });
  });
});

describe('a report that cannot be believed', () => {
  it.each([
    ['a text', '10'],
    ['a negative count', -1],
    ['a fraction', 1.5],
    ['a huge count', TOKENS_MAX + 1],
    ['an unsafe count', 2 ** 60],
    ['true', true],
    ['a list', [10]],
  ])('is refused for %s', (_, prompt) => {
    expect(readChatUsage(ten({ prompt_tokens: prompt }))).toEqual({
      kind: 'refused',
      reason: 'prompt_tokens is not a token count',
    });
  });

  it.each([
    ['an empty object', {}],
    ['only a total', { total_tokens: 15 }],
    ['nulls', { prompt_tokens: null, completion_tokens: null, total_tokens: null }],
    ['a list', []],
    ['a number', 15],
  ])('is refused for %s', (_, usage) => {
    expect(readChatUsage(usage).kind).toBe('refused');
  });

  it('keeps its totals when only a detail is wrong, and says so', () => {
    const read = readChatUsage(ten({ prompt_tokens_details: { cached_tokens: -4 } }));
    expect(read).toMatchObject({ kind: 'counts', counts: { uncachedInput: 10, cacheRead: 0 } });
    expect(read.reason).toBe('cached_tokens is not a token count');
  });

  it('is billed by its parts when its total is something else, and says so', () => {
    const read = readChatUsage(ten({ total_tokens: 99 }));
    expect(read).toMatchObject({ counts: { uncachedInput: 10, textOutput: 5 } });
    expect(read.reason).toBe('total_tokens 99 is not the sum of its parts');
  });
});

describe('whatever is reported', () => {
  const count = fc.oneof(fc.nat(50), fc.constantFrom(null, undefined, -1, 1.5, '3', 2 ** 53, {}));
  const details = fc.oneof(
    fc.constantFrom(null, undefined, 3, []),
    fc.record({
      cached_tokens: count,
      cache_write_tokens: count,
      audio_tokens: count,
      image_tokens: count,
      reasoning_tokens: count,
    }),
  );

  it('gives classes of whole tokens, none negative', () => {
    const report = fc.record({
      prompt_tokens: count,
      completion_tokens: count,
      total_tokens: count,
      cached_tokens: count,
      prompt_tokens_details: details,
      completion_tokens_details: details,
    });
    fc.assert(
      fc.property(report, (usage) => {
        const read = readChatUsage(usage);
        if (read.kind === 'refused') return;
        for (const tokens of Object.values(read.counts)) {
          expect(Number.isSafeInteger(tokens) && tokens >= 0, JSON.stringify(usage)).toBe(true);
        }
        if (typeof usage.prompt_tokens === 'number') {
          expect(inputTokens(read.counts)).toBeGreaterThanOrEqual(usage.prompt_tokens);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
