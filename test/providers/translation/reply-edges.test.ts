import { describe, expect, it } from 'vitest';
import type { ReplyEvent } from '../../../providers/translation/reply.ts';
import { readMessagesUsage } from '../../../providers/anthropic-messages/usage.ts';
import { readGeminiUsage } from '../../../providers/gemini/usage.ts';
import { readChatUsage } from '../../../providers/openai-chat/usage.ts';
import { ReplyTooLarge } from '../../../src/usage/reply-too-large.ts';
import { ZERO_TOKENS, type UsageLine } from '../../../src/usage/usage.ts';
import { bytesOf, textOf } from '../../support/chunks.ts';
import {
  ACCUMULATE,
  COMPARABLE,
  CONTEXT,
  eventsOf,
  namedSse,
  PARSERS,
  sse,
  WRITERS,
  written,
  writtenWhole,
  type Json,
  type ParserName,
  type WriterName,
} from '../../support/replies.ts';

const DIALECTS = Object.keys(WRITERS) as WriterName[];
const chunk = (delta: Json, finish: string | null = null): Json => ({
  id: 'c',
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const errorOf = (events: readonly ReplyEvent[]) => {
  const last = events.at(-1);
  return last?.kind === 'error' ? last.error : undefined;
};
const partsOf = (events: readonly ReplyEvent[]): string[] => {
  const told: string[] = [];
  for (const event of events) {
    if (event.kind === 'part')
      told.push(`${event.part.kind === 'tool_call' ? event.part.name : event.part.kind}: `);
    if (event.kind === 'delta') told[told.length - 1] += event.text;
    if (event.kind === 'stop') told.push(`stop: ${event.reason}`);
  }
  return told;
};

const call = (index: number, more: Json): Json => chunk({ tool_calls: [{ index, ...more }] });
/** The usage of a whole reply with these lines. */
const usageIn = (to: WriterName, lines: readonly UsageLine[]): Json => {
  const whole = writtenWhole(to, [
    { kind: 'start', id: 'i', model: 'm', createdS: 1 },
    { kind: 'stop', choice: 0, reason: 'end' },
    { kind: 'usage', lines },
    { kind: 'end' },
  ]);
  return (whole['usage'] ?? whole['usageMetadata']) as Json;
};
const picture = (mediaType: string): ReplyEvent[] => [
  { kind: 'start', id: 'i', model: 'm', createdS: 1 },
  { kind: 'part', choice: 0, part: { kind: 'media', mediaType, base64: 'aGk=' } },
  { kind: 'stop', choice: 0, reason: 'end' },
  { kind: 'end' },
];

/** A call whose block begins with arguments, in a stream that breaks off after it. */
const block = (...deltas: readonly string[]): Uint8Array =>
  namedSse([
    { type: 'message_start', message: { id: 'm', model: 'm' } },
    {
      type: 'content_block_start',
      index: 0,
      content_block: { type: 'tool_use', id: 't', name: 'f', input: { a: 1 } },
    },
    ...deltas.map((text) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'input_json_delta', partial_json: text },
    })),
    { type: 'content_block_stop', index: 0 },
  ]);

describe('error bodies', () => {
  const BODIES: readonly [ParserName, number, unknown, object][] = [
    [
      'chat',
      429,
      { error: { message: 'Slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } },
      { message: 'Slow down', type: 'requests', code: 'rate_limit_exceeded' },
    ],
    ['chat', 422, { detail: [{ msg: 'no' }] }, { message: '[{"msg":"no"}]' }],
    ['chat', 400, { code: 'invalid', error: 'Bad words' }, { message: 'Bad words', code: 'invalid' }],
    [
      'messages',
      529,
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
      { message: 'Overloaded', type: 'overloaded_error' },
    ],
    [
      'gemini',
      400,
      [{ error: { code: 400, message: 'Bad', status: 'INVALID_ARGUMENT' } }],
      { message: 'Bad', type: 'INVALID_ARGUMENT' },
    ],
    ['responses', 500, '', { message: 'The provider answered 500.' }],
    ['chat', 502, '<html>Bad gateway</html>', { message: '<html>Bad gateway</html>' }],
  ];

  it.each(BODIES)(
    'of %s with status %i are read in whatever shape they come',
    (dialect, status, body, error) => {
      const bytes = bytesOf(typeof body === 'string' ? body : JSON.stringify(body));
      const events = eventsOf(dialect, [bytes], { stream: true, status });
      expect(events).toHaveLength(1);
      expect(errorOf(events)).toMatchObject({ status, ...error });
    },
  );

  it.each(['', 'data: [DONE]\n\n'])(
    'are an event that names none, unless what was said came to its end: %j',
    (end) => {
      const told = { message: 'Queued, second in line' };
      const alone = eventsOf('chat', [sse([told], end)], { stream: true });
      expect(errorOf(alone)).toMatchObject(told);
      for (const error of [told, { object: 'error', ...told }]) {
        const broken = eventsOf('chat', [sse([chunk({ content: 'Paid' }), error], end)], { stream: true });
        expect(errorOf(broken)).toMatchObject(told);
      }
      const spoken = sse([told, chunk({ content: 'Paid.' }), told, chunk({}, 'stop')], end);
      expect(partsOf(eventsOf('chat', [spoken], { stream: true }))).toEqual(['text: Paid.', 'stop: end']);
    },
  );

  it('are written in the shape of each dialect', () => {
    const events: ReplyEvent[] = [
      {
        kind: 'error',
        error: { status: 429, message: 'Slow', type: 'RESOURCE_EXHAUSTED', code: '429', param: undefined },
      },
    ];
    expect(writtenWhole('chat', events)).toEqual({
      error: { message: 'Slow', type: 'rate_limit_error', param: null, code: 'RESOURCE_EXHAUSTED' },
    });
    expect(writtenWhole('responses', events)).toEqual(writtenWhole('chat', events));
    expect(writtenWhole('messages', events)).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error', message: 'Slow' },
    });
    expect(writtenWhole('gemini', events)).toEqual({
      error: { code: 429, message: 'Slow', status: 'RESOURCE_EXHAUSTED' },
    });
  });
});

describe('errors in the middle of a stream', () => {
  const STREAMS: readonly [ParserName, Uint8Array, string][] = [
    ['chat', sse([chunk({ content: 'Ha' }), { error: { message: 'Gone', code: 503 } }]), 'Ha'],
    [
      'chat',
      bytesOf(
        `${textOf([sse([chunk({ content: 'Ha' })])])}event: error\ndata: {"error":{"message":"Gone"}}\n\n`,
      ),
      'Ha',
    ],
    ['chat', bytesOf(`${textOf([sse([chunk({ content: 'Ha' })])])}error: {"message":"Gone"}\n\n`), 'Ha'],
    [
      'messages',
      namedSse([
        {
          type: 'message_start',
          message: { id: 'm', model: 'm', usage: { input_tokens: 4, output_tokens: 1 } },
        },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'Ha' } },
        { type: 'error', error: { type: 'overloaded_error', message: 'Gone' } },
      ]),
      'Ha',
    ],
    [
      'responses',
      namedSse([
        { type: 'response.created', response: { id: 'r', model: 'm' } },
        { type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: 'Ha' },
        { type: 'error', code: 'server_error', message: 'Gone', param: null },
        { type: 'response.failed', response: { id: 'r', status: 'failed', error: { message: 'Later' } } },
      ]),
      'Ha',
    ],
    [
      'gemini',
      sse([
        { candidates: [{ content: { parts: [{ text: 'Ha' }] } }] },
        { error: { code: 503, message: 'Gone', status: 'UNAVAILABLE' } },
      ]),
      'Ha',
    ],
  ];

  it.each(STREAMS)('of %s end the reply', (dialect, body, text) => {
    const events = eventsOf(dialect, [body], { stream: true });
    expect(errorOf(events)?.message).toBe('Gone');
    expect(partsOf(events)).toEqual([`text: ${text}`]);
  });

  it.each(['chat', 'messages', 'responses'] as const)('are thrown by the %s SDK', async (to) => {
    const events = eventsOf('chat', [STREAMS[0]![1]], { stream: true });
    await expect(ACCUMULATE[to](written(to, events, { stream: true }))).rejects.toThrow('Gone');
  });
});

describe('a stream that is cut', () => {
  const CUT: readonly [ParserName, Uint8Array][] = [
    ['chat', sse([chunk({ content: 'Ha' })])],
    [
      'messages',
      namedSse([
        {
          type: 'message_start',
          message: { id: 'm', model: 'm', usage: { input_tokens: 4, output_tokens: 1 } },
        },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'Ha' } },
        { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } },
      ]),
    ],
    [
      'responses',
      namedSse([
        { type: 'response.created', response: { id: 'r', model: 'm' } },
        { type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: 'Ha' },
      ]),
    ],
    ['gemini', sse([{ candidates: [{ content: { parts: [{ text: 'Ha' }] } }] }])],
  ];

  it.each(CUT)('of %s has no end', (dialect, body) => {
    for (const cut of [body, body.subarray(0, body.length - 1), body.subarray(0, body.length >> 1)]) {
      const kinds = eventsOf(dialect, [cut], { stream: true }).map((event) => event.kind);
      expect(kinds).not.toContain('end');
      expect(kinds).not.toContain('error');
    }
  });

  it('of a vendor without a marker is whole once it said why it stopped', () => {
    const body = sse([chunk({ content: 'Ha' }), chunk({}, 'stop')]);
    expect(eventsOf('chat', [body], { stream: true }).at(-1)?.kind).toBe('end');
  });
});

describe('usage', () => {
  const line: UsageLine = {
    ...ZERO_TOKENS,
    servedModel: 'm',
    uncachedInput: 1000,
    cacheRead: 200,
    cacheWrite: 30,
    textOutput: 50,
    reasoning: 7,
  };
  it('is read back from a chat completion as it was', () => {
    const media = { ...line, audioInput: 5, imageInput: 6, audioOutput: 3, imageOutput: 2 };
    const { servedModel: _model, ...counts } = media;
    expect(readChatUsage(usageIn('chat', [media]))).toEqual({ kind: 'counts', counts });
  });

  it('is read back from a message as it was', () => {
    const hour = { ...line, cacheWrite1h: 11 };
    expect(readMessagesUsage(usageIn('messages', [hour]), 'm')).toEqual({ kind: 'lines', lines: [hour] });
  });

  it('is read back from a Gemini reply as it was, but for cache writes, which it does not know', () => {
    const { servedModel: _model, ...counts } = { ...line, audioInput: 5, imageOutput: 2 };
    const expected = { ...counts, uncachedInput: counts.uncachedInput + 30, cacheWrite: 0 };
    const read = readGeminiUsage(usageIn('gemini', [{ ...line, audioInput: 5, imageOutput: 2 }]));
    expect(read).toEqual({ kind: 'counts', counts: expected });
  });

  it('tells cache reads and writes beside the input to Anthropic callers, inside the prompt to OpenAI callers', () => {
    expect(usageIn('messages', [line])).toMatchObject({ input_tokens: 1000, cache_read_input_tokens: 200 });
    expect(usageIn('chat', [line])).toMatchObject({
      prompt_tokens: 1230,
      completion_tokens: 57,
      total_tokens: 1287,
    });
    expect(usageIn('responses', [line])).toMatchObject({ input_tokens: 1230, output_tokens: 57 });
    expect(usageIn('gemini', [line])).toMatchObject({ promptTokenCount: 1230, candidatesTokenCount: 50 });
  });

  it('of several models is told as their sum', () => {
    expect(usageIn('chat', [line, line])).toMatchObject({ prompt_tokens: 2460, completion_tokens: 114 });
  });

  it('is told in a chunk of its own only where the caller asked for it', () => {
    const events = eventsOf(
      'chat',
      [
        sse(
          [
            chunk({ content: 'x' }, 'stop'),
            { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } },
          ],
          'data: [DONE]\n\n',
        ),
      ],
      { stream: true },
    );
    const asked = textOf([written('chat', events, { stream: true })]);
    const context = { ...CONTEXT, includeUsage: false };
    const unasked = textOf([written('chat', events, { stream: true, context })]);
    expect(asked).toContain('"choices":[],"usage":{');
    expect(unasked).not.toContain('usage');
  });
});

describe('an adversary', () => {
  it('that writes events, usage and markers as text changes nothing but the text', async () => {
    const text =
      'data: [DONE]\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n{"usage":{"prompt_tokens":999999}}\r\n\r\n"}]}';
    const body = sse(
      [
        chunk({ content: text }),
        chunk({}, 'stop'),
        { choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } },
      ],
      'data: [DONE]\n\n',
    );
    const events = eventsOf('chat', [body], { stream: true });
    expect(partsOf(events)).toEqual([`text: ${text}`, 'stop: end']);
    const seen = await Promise.all(
      DIALECTS.map(async (to) =>
        JSON.stringify(COMPARABLE[to](await ACCUMULATE[to](written(to, events, { stream: true })))),
      ),
    );
    for (const one of seen) expect(one).toContain(JSON.stringify(text).slice(1, -1));
  });

  it('that sends ten thousand events is told in as many', () => {
    const body = sse(
      [...Array.from({ length: 10_000 }, () => chunk({ content: 'ab' })), chunk({}, 'stop')],
      'data: [DONE]\n\n',
    );
    const events = eventsOf('chat', [body], { stream: true });
    expect(partsOf(events)).toEqual([`text: ${'ab'.repeat(10_000)}`, 'stop: end']);
    for (const to of DIALECTS) expect(written(to, events, { stream: true }).length).toBeGreaterThan(20_000);
  });

  it.each([-1, 1.5, '12', 1e15, null])('that tells %j tokens is not believed', (count) => {
    const usage = { prompt_tokens: count, completion_tokens: count, total_tokens: count };
    const body = sse([chunk({ content: 'x' }, 'stop'), { choices: [], usage }], 'data: [DONE]\n\n');
    const kinds = eventsOf('chat', [body], { stream: true }).map((event) => event.kind);
    expect(kinds).not.toContain('usage');
    expect(kinds.at(-1)).toBe('end');
  });

  it('that never ends a line is refused at the bound', () => {
    const parser = PARSERS.chat({ stream: true, status: 200, callId: 'c' });
    const megabyte = new Uint8Array(1024 * 1024).fill(0x61);
    expect(() => {
      for (let sent = 0; sent < 66; sent += 1) parser.write(megabyte);
    }).toThrow(ReplyTooLarge);
  });

  it('that lets other calls wait behind one without an end is refused at the bound', () => {
    const parser = PARSERS.chat({ stream: true, status: 200, callId: 'c' });
    parser.write(sse([call(0, { id: 'a', function: { name: 'a', arguments: '{' } })]));
    parser.write(sse([call(1, { id: 'b', function: { name: 'b', arguments: '{' } })]));
    const megabyte = sse([call(1, { function: { arguments: 'x'.repeat(1024 * 1024) } })]);
    expect(() => {
      for (let sent = 0; sent < 10; sent += 1) parser.write(megabyte);
    }).toThrow(ReplyTooLarge);
  });

  it.each([
    [
      'choices',
      sse(
        Array.from({ length: 200 }, (_, index) => ({
          id: 'c',
          choices: [{ index, delta: { content: 'x' } }],
        })),
      ),
    ],
    [
      'tool calls',
      sse(
        Array.from({ length: 200 }, (_, index) =>
          chunk({ tool_calls: [{ index, id: `c${index}`, function: { name: 'a', arguments: '{}' } }] }),
        ),
      ),
    ],
  ])('that sends no end of %s is refused by name', (what, body) => {
    expect(errorOf(eventsOf('chat', [body], { stream: true }))?.message).toContain(what);
  });

  it('that goes on with a call that was complete is not believed', () => {
    const body = sse([
      call(0, { id: 'a', function: { name: 'a', arguments: '{}' } }),
      call(1, { id: 'b', function: { name: 'b', arguments: '{}' } }),
      call(0, { function: { arguments: '{"more":1}' } }),
    ]);
    expect(errorOf(eventsOf('chat', [body], { stream: true }))?.message).toContain('complete already');
  });

  it.each(Object.keys(PARSERS) as ParserName[])(
    'that sends JSON of any shape does not make the %s parser throw',
    (dialect) => {
      const shapes: readonly unknown[] = [{}, [], null, 0, '', true, { type: 1 }, [[]]];
      const names = [
        'choices',
        'delta',
        'message',
        'content',
        'tool_calls',
        'output',
        'item',
        'candidates',
        'usage',
        'error',
      ];
      const types = [
        'content_block_delta',
        'content_block_start',
        'message_start',
        'response.output_item.done',
        'response.completed',
      ];
      for (const name of names) {
        for (const shape of shapes) {
          for (const type of types) {
            const value = {
              type,
              [name]: shape,
              response: { [name]: shape, output: [{ type: 'message', [name]: shape }] },
            };
            eventsOf(dialect, [sse([value, { choices: [value], candidates: [{ content: value }] }])], {
              stream: true,
            });
            eventsOf(dialect, [bytesOf(JSON.stringify({ ...value, [name]: [value] }))], { stream: false });
          }
        }
      }
    },
  );
});

describe('arguments of a call', () => {
  it('that a block of a stream begins with are told when none follow', () => {
    expect(partsOf(eventsOf('messages', [block('')], { stream: true }))).toEqual(['f: {"a":1}']);
  });

  it('that follow stand instead of those that the block began with', () => {
    expect(partsOf(eventsOf('messages', [block('{"a":', '2}')], { stream: true }))).toEqual(['f: {"a":2}']);
  });
});

describe('arguments that are no JSON object', () => {
  const events: ReplyEvent[] = [
    { kind: 'start', id: 'i', model: 'm', createdS: 1 },
    { kind: 'part', choice: 0, part: { kind: 'tool_call', id: 't', name: 'f' } },
    { kind: 'delta', choice: 0, text: '{"city": ' },
    { kind: 'stop', choice: 0, reason: 'max_tokens' },
    { kind: 'end' },
  ];

  it('stay as they are where they are text', () => {
    expect(JSON.stringify(writtenWhole('chat', events))).toContain(String.raw`"arguments":"{\"city\": "`);
  });

  it('are named for what they are where an object is wanted', () => {
    expect(writtenWhole('messages', events)['content']).toMatchObject([
      { input: { INVALID_JSON: '{"city": ' } },
    ]);
    expect(JSON.stringify(writtenWhole('gemini', events))).toContain('INVALID_JSON');
  });
});

describe('media', () => {
  it('are told where the dialect has a place for them', async () => {
    expect(JSON.stringify(writtenWhole('chat', picture('image/png')))).toContain(
      'data:image/png;base64,aGk=',
    );
    expect(JSON.stringify(writtenWhole('gemini', picture('audio/wav')))).toContain('"mimeType":"audio/wav"');
    const response = await ACCUMULATE.responses(
      written('responses', picture('image/webp'), { stream: true }),
    );
    expect(response['output']).toMatchObject([{ type: 'image_generation_call', result: 'aGk=' }]);
  });

  it('are an error where it has none', () => {
    expect(writtenWhole('messages', picture('image/png'))).toMatchObject({ type: 'error' });
    expect(writtenWhole('responses', picture('audio/wav'))).toHaveProperty('error');
  });
});

describe("Gemini's stream in its other form", () => {
  it('is one JSON array, whose end waits with the last element', () => {
    const events = eventsOf(
      'chat',
      [sse([chunk({ content: 'ab' }), chunk({ content: 'cd' }, 'stop')], 'data: [DONE]\n\n')],
      {
        stream: true,
      },
    );
    const context = { ...CONTEXT, jsonArray: true };
    const array = JSON.parse(textOf([written('gemini', events, { stream: true, context })])) as Json[];
    expect(array.map((element) => JSON.stringify(element['candidates']).includes('finishReason'))).toEqual([
      false,
      false,
      true,
    ]);
  });
});
