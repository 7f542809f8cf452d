/**
 * Replies made to fool a meter, in every dialect: counts that are no counts, words that look like the protocol, streams
 * without end. Whatever comes, the count is right or is not called final; it is never silently nothing, and never without
 * bound.
 */
import { describe, expect, it } from 'vitest';
import { anthropic } from '../../providers/anthropic.ts';
import { google } from '../../providers/google.ts';
import { openai } from '../../providers/openai.ts';
import type { Endpoint, Provider, ResponseReader } from '../../providers/provider.ts';
import { scanJsonObject } from '../../src/usage/json-scanner.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import { upstream } from '../support/chat.ts';
import { bytesOf, oneByOne, textOf } from '../support/chunks.ts';

interface Dialect {
  readonly name: string;
  readonly provider: Provider;
  readonly endpoint: Endpoint;
  readonly stream: boolean;
  /** A reply with this text and this usage, as JSON text. */
  readonly reply: (text: string, usage: string) => string;
  /** The vendor's usage with these as its counts read and generated. */
  readonly usage: (input: string, output: string) => string;
}

const sse = (...events: readonly string[]): string => events.map((event) => `data: ${event}\n\n`).join('');
const said = (text: string): string => JSON.stringify(text);

const chatUsage: Dialect['usage'] = (input, output) =>
  `{"prompt_tokens":${input},"completion_tokens":${output}}`;
const chunk = (delta: string, more = ''): string =>
  `{"id":"c","object":"chat.completion.chunk","model":"m","choices":[${delta}]${more}}`;
const responsesUsage: Dialect['usage'] = (input, output) =>
  `{"input_tokens":${input},"output_tokens":${output}}`;
const response = (text: string, usage: string): string =>
  `{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","content":[{"type":"output_text","text":${said(text)}}]}],"usage":${usage}}`;
const message = (text: string, usage: string): string =>
  `{"id":"a","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":${said(text)}}],"stop_reason":"end_turn","usage":${usage}}`;
const geminiUsage: Dialect['usage'] = (input, output) =>
  `{"promptTokenCount":${input},"candidatesTokenCount":${output}}`;
const candidate = (text: string, usage: string): string =>
  `{"candidates":[{"content":{"role":"model","parts":[{"text":${said(text)}}]},"finishReason":"STOP"}],"usageMetadata":${usage},"modelVersion":"m","responseId":"g"}`;

const chat = { provider: openai, endpoint: 'chat.completions', usage: chatUsage } as const;
const responses = { provider: openai, endpoint: 'responses', usage: responsesUsage } as const;
const messages = { provider: anthropic, endpoint: 'messages', usage: responsesUsage } as const;

const DIALECTS: readonly Dialect[] = [
  {
    ...chat,
    name: 'chat completions',
    stream: false,
    reply: (text, usage) =>
      `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":${said(text)}},"finish_reason":"stop"}],"usage":${usage}}`,
  },
  {
    ...chat,
    name: 'streamed chat completions',
    stream: true,
    reply: (text, usage) =>
      sse(
        chunk(`{"index":0,"delta":{"role":"assistant","content":${said(text)}},"finish_reason":null}`),
        chunk('{"index":0,"delta":{},"finish_reason":"stop"}'),
        chunk('', `,"usage":${usage}`),
        '[DONE]',
      ),
  },
  { ...responses, name: 'responses', stream: false, reply: response },
  {
    ...responses,
    name: 'streamed responses',
    stream: true,
    reply: (text, usage) =>
      [
        `{"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","model":"m","output":[],"usage":null}}`,
        `{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":${said(text)}}`,
        `{"type":"response.completed","response":${response(text, usage)}}`,
      ]
        .map((data) => `event: ${(JSON.parse(data) as { type: string }).type}\ndata: ${data}\n\n`)
        .join(''),
  },
  { ...messages, name: 'messages', stream: false, reply: message },
  {
    ...messages,
    name: 'streamed messages',
    stream: true,
    reply: (text, usage) =>
      [
        `{"type":"message_start","message":{"id":"a","type":"message","role":"assistant","model":"m","content":[]}}`,
        `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
        `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":${said(text)}}}`,
        `{"type":"content_block_stop","index":0}`,
        `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":${usage}}`,
        `{"type":"message_stop"}`,
      ]
        .map((data) => `event: ${(JSON.parse(data) as { type: string }).type}\ndata: ${data}\n\n`)
        .join(''),
  },
  {
    provider: google,
    endpoint: 'generateContent',
    name: 'generateContent',
    stream: false,
    usage: geminiUsage,
    reply: candidate,
  },
  {
    provider: google,
    endpoint: 'streamGenerateContent',
    name: 'streamGenerateContent',
    stream: true,
    usage: geminiUsage,
    reply: (text, usage) => sse(candidate(text, usage)),
  },
];

const TEXT = 'The fare is paid at the gate.';

function readerOf({ provider, endpoint, stream }: Dialect): ResponseReader {
  const body = bytesOf(JSON.stringify({ model: 'm', stream, stream_options: { include_usage: true } }));
  const scan = scanJsonObject(body);
  if (scan.kind !== 'object') throw new Error(scan.message);
  const call = { endpoint, model: 'm', stream, body, scan, path: '/', query: '', headers: {} };
  return provider.prepare(call, { ...upstream, baseUrl: 'https://vendor.example' }).read({
    status: 200,
    headers: { 'content-type': stream ? 'text/event-stream' : 'application/json' },
  });
}

function read(dialect: Dialect, body: string, bytewise = false): ResponseReader {
  const reader = readerOf(dialect);
  const bytes = bytesOf(body);
  const out: Uint8Array[] = [];
  for (const piece of bytewise ? oneByOne(bytes) : [bytes]) out.push(...reader.write(piece));
  expect(textOf([...out, ...reader.end()])).toBe(body);
  return reader;
}

function countOf(reader: ResponseReader) {
  const { kind, lines, reason } = reader.metered();
  return {
    kind,
    reason,
    input: lines.reduce((sum, line) => sum + inputTokens(line), 0),
    output: lines.reduce((sum, line) => sum + outputTokens(line), 0),
  };
}

/** What is no count of tokens. A count above 2^53 - 1 cannot be told from its neighbour. */
const NO_COUNTS = ['-5', '1.5', '"12"', '1e300', '9007199254740993', 'true', '[]', '{}'];

/** Words of a model that read like the protocol around them. */
const LOOKALIKES = [
  'data: [DONE]',
  '\n\ndata: [DONE]\n\n',
  'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  '"usage":{"prompt_tokens":1,"completion_tokens":1}',
  '{"usage":{"prompt_tokens":999999,"completion_tokens":999999,"total_tokens":1999998}}',
  '{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":1}}}',
  '{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1}}',
  'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n',
  '\\"usage\\":{}',
  '\u2028\u2029\u0000 usage "',
];

describe.each(DIALECTS)('$name made to fool the meter', (dialect) => {
  const whole = (text: string, input = '11', output = '7') =>
    dialect.reply(text, dialect.usage(input, output));

  it('are counted as the vendor says', () => {
    expect(countOf(read(dialect, whole(TEXT)))).toMatchObject({ kind: 'final', input: 11, output: 7 });
  });

  it.each(NO_COUNTS)('call nothing final that was generated as %s', (count) => {
    for (const bytewise of [false, true]) {
      const reader = read(dialect, whole(TEXT, '11', count), bytewise);
      const counted = countOf(reader);
      expect(counted.kind).not.toBe('final');
      expect(reader.estimate().outputTokens).toBeGreaterThan(0);
      expect(Number.isSafeInteger(counted.output)).toBe(true);
      expect(counted.output).toBeGreaterThanOrEqual(0);
    }
  });

  it.each(NO_COUNTS)('call nothing final that was read as %s', (count) => {
    const counted = countOf(read(dialect, whole(TEXT, count, '7')));
    expect(counted.kind).not.toBe('final');
    expect(counted.input).toBeGreaterThanOrEqual(0);
    expect(Number.isSafeInteger(counted.input)).toBe(true);
  });

  it('take the last of two members of one name, as every JSON reader of the vendor’s clients does', () => {
    const [input = ''] = dialect.usage('1', '7').slice(1).split(',');
    const doubled = `{${input},${dialect.usage('11', '7').slice(1)}`;
    expect(countOf(read(dialect, dialect.reply(TEXT, doubled)))).toMatchObject({ kind: 'final', input: 11 });
  });

  it.each(LOOKALIKES)('are counted right around the words %j', (words) => {
    for (const bytewise of [false, true])
      expect(countOf(read(dialect, whole(words), bytewise))).toMatchObject({
        kind: 'final',
        input: 11,
        output: 7,
      });
  });
});

describe.each(DIALECTS.filter(({ stream }) => stream))('$name without measure', (dialect) => {
  const body = dialect.reply(TEXT, dialect.usage('11', '7'));

  it('are counted among 10,000 comments and unknown events', () => {
    const noise = ': still here\n\nevent: novelty\ndata: {"type":"novelty","usage":null}\n\n'.repeat(5000);
    expect(countOf(read(dialect, noise + body))).toMatchObject({ kind: 'final', input: 11, output: 7 });
  });

  it('are counted by their data where all events have the name of those without one', () => {
    const named = body.replaceAll(/(?:^event: .*\n)?^data: /gmu, 'event: message\ndata: ');
    const reader = read(dialect, named);
    expect(countOf(reader)).toMatchObject({ kind: 'final', input: 11, output: 7 });
    expect(reader.complete).toBe(true);
  });

  it('end for good at a line that does not end', () => {
    const reader = readerOf(dialect);
    const piece = bytesOf('x'.repeat(1024 * 1024));
    const endless = (): void => {
      reader.write(bytesOf('data: {"x":"'));
      for (let mebibytes = 0; mebibytes < 80; mebibytes += 1) reader.write(piece);
    };
    expect(endless).toThrow();
    expect(countOf(reader).kind).not.toBe('final');
  });
});
