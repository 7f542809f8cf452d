import { describe, expect, it } from 'vitest';
import { readMessagesUsage } from '../../providers/anthropic-messages/usage.ts';
import { MessagesReport } from '../../providers/anthropic-messages/report.ts';
import { anthropic } from '../../providers/anthropic.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import { chatCall, readAll, upstream } from '../support/chat.ts';
import { bytesOf, textOf } from '../support/chunks.ts';

const lineOf = (usage: Record<string, unknown>) => {
  const read = readMessagesUsage(usage, 'claude-served');
  if (read.kind !== 'lines') throw new Error(read.reason);
  return read;
};

describe('the usage of a message', () => {
  it('has its cache reads and writes beside the input', () => {
    const [line] = lineOf({
      input_tokens: 12,
      output_tokens: 9,
      cache_read_input_tokens: 30,
      cache_creation_input_tokens: 8,
      cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 5 },
      output_tokens_details: { thinking_tokens: 4 },
    }).lines;
    expect(line).toMatchObject({
      servedModel: 'claude-served',
      uncachedInput: 12,
      cacheRead: 30,
      cacheWrite: 3,
      cacheWrite1h: 5,
      textOutput: 5,
      reasoning: 4,
    });
  });

  it('keeps the written sum where its parts are older than it', () => {
    const [line] = lineOf({
      input_tokens: 1,
      output_tokens: 1,
      cache_creation_input_tokens: 3,
      cache_creation: { ephemeral_1h_input_tokens: 5 },
    }).lines;
    expect(line).toMatchObject({ cacheWrite: 0, cacheWrite1h: 3 });
  });

  it.each([-1, 1.5, '12', 2 ** 60, [], true])('is refused when its input is %j', (count) => {
    expect(readMessagesUsage({ input_tokens: count, output_tokens: 1 }, null).kind).toBe('refused');
    expect(readMessagesUsage({ input_tokens: 1, output_tokens: count }, null).kind).toBe('refused');
  });

  it('is refused without an input or an output', () => {
    expect(readMessagesUsage({ output_tokens: 1 }, null).kind).toBe('refused');
    expect(readMessagesUsage({ input_tokens: 1 }, null).kind).toBe('refused');
  });

  it('is that of its passes, each under the model that ran it', () => {
    const { lines } = lineOf({
      input_tokens: 10,
      output_tokens: 5,
      iterations: [
        { type: 'message', input_tokens: 10, output_tokens: 5 },
        { type: 'advisor_message', model: 'claude-other', input_tokens: 100, output_tokens: 50 },
      ],
    });
    expect(lines.map((line) => [line.servedModel, inputTokens(line), outputTokens(line)])).toEqual([
      ['claude-served', 10, 5],
      ['claude-other', 100, 50],
    ]);
  });

  it.each([
    ['come to less', [{ input_tokens: 1, output_tokens: 1 }]],
    ['cannot be read', [{ input_tokens: -1, output_tokens: 1 }]],
    ['are no list', { input_tokens: 99, output_tokens: 99 }],
  ])('is its own where its passes %s', (_why, iterations) => {
    const { lines } = lineOf({ input_tokens: 10, output_tokens: 5, iterations });
    expect(lines.map((line) => [inputTokens(line), outputTokens(line)])).toEqual([[10, 5]]);
  });

  it('is overridden field by field and never added', () => {
    const report = new MessagesReport();
    report.takeMessage({
      id: 'msg_1',
      model: 'm',
      usage: {
        input_tokens: 9,
        cache_read_input_tokens: 1,
        cache_creation_input_tokens: 0,
        output_tokens: 1,
      },
    });
    report.takeUsage({ input_tokens: 10, cache_read_input_tokens: null, output_tokens: 16 });
    const [line] = report.metered(true, '').lines;
    expect(line).toMatchObject({ uncachedInput: 10, cacheRead: 1, textOutput: 16 });
  });
});

const event = (data: Record<string, unknown>): string =>
  `event: ${String(data['type'])}\ndata: ${JSON.stringify(data)}\n\n`;
const START = event({
  type: 'message_start',
  message: { id: 'msg_1', model: 'm', usage: { input_tokens: 9, output_tokens: 1 } },
});
const delta = (text: string): string =>
  event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
const STOP_REASON = event({
  type: 'message_delta',
  delta: { stop_reason: 'end_turn' },
  usage: { output_tokens: 16 },
});
const STOP = event({ type: 'message_stop' });

/** What is metered of a stream whose last report is this. */
function toldLast(usage: object) {
  const last = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage });
  const stream = reader();
  readAll(stream, [bytesOf(START + delta('a text of some length') + last + STOP)]);
  return stream.metered();
}

const exchangeOf = (headers: Record<string, string> = {}, query = '') =>
  anthropic.prepare(
    {
      ...chatCall({ model: 'm', stream: true }),
      endpoint: 'messages',
      path: '/v1/messages',
      headers,
      query,
    },
    { ...upstream, type: 'anthropic', baseUrl: 'https://a.example' },
  );
const reader = () => exchangeOf().read({ status: 200, headers: { 'content-type': 'text/event-stream' } });

describe('a stream of messages', () => {
  it('holds its end back until it is settled', () => {
    const stream = reader();
    const forwarded = textOf([...stream.write(bytesOf(START + delta('Hi') + STOP_REASON + STOP))]);
    expect(forwarded).toBe(START + delta('Hi') + STOP_REASON);
    expect(stream.terminal).toBe(true);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ uncachedInput: 9, textOutput: 16 }] });
    expect(textOf([...stream.end()])).toBe(STOP);
  });

  it('has its last sum, whether told with a reason to stop, behind it or without one', () => {
    const sum = (count: number) =>
      event({ type: 'message_delta', delta: {}, usage: { output_tokens: count } });
    const stopped = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' } });
    for (const told of [STOP_REASON + sum(17), stopped + sum(17), sum(2) + sum(17)]) {
      const stream = reader();
      readAll(stream, [bytesOf(START + delta('a text of some length') + told + STOP)]);
      expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ textOutput: 17 }] });
    }
  });

  it('whose error has no type is failed, as is a message', () => {
    const stream = reader();
    readAll(stream, [bytesOf(`data: ${JSON.stringify({ error: { message: 'Busy' } })}\n\n`)]);
    expect(stream.metered()).toMatchObject({ kind: 'none', failed: true });
    const whole = exchangeOf().read({ status: 200, headers: { 'content-type': 'application/json' } });
    readAll(whole, [bytesOf(JSON.stringify({ error: { message: 'Busy' } }))]);
    expect(whole.metered()).toMatchObject({ kind: 'none', failed: true });
  });

  it('keeps a count that was told when a later one cannot be believed, and is not final', () => {
    expect(toldLast({ output_tokens: '16' })).toMatchObject({
      kind: 'cut',
      outputOpen: true,
      reason: 'output_tokens is not a token count',
      lines: [{ uncachedInput: 9, textOutput: 1 }],
    });
    expect(toldLast({ input_tokens: -9, output_tokens: 16 })).toMatchObject({
      kind: 'cut',
      outputOpen: false,
      lines: [{ uncachedInput: 9, textOutput: 16 }],
    });
  });

  it('has its output open where only the count before it was told', () => {
    const stopped = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' } });
    const stream = reader();
    readAll(stream, [bytesOf(START + delta('a text of some length') + stopped + STOP)]);
    expect(stream.metered()).toMatchObject({ kind: 'cut', outputOpen: true, lines: [{ uncachedInput: 9 }] });
  });

  it('has its input reported where that is all that was told', () => {
    const start = event({ type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 9 } } });
    const stream = reader();
    stream.write(bytesOf(start + delta('a text of some length')));
    expect(stream.metered()).toMatchObject({
      kind: 'cut',
      outputOpen: true,
      lines: [{ uncachedInput: 9, textOutput: 0 }],
    });
  });

  it('is read by the names of its events where their data has no type', () => {
    const typeless = (START + delta('Hi') + STOP_REASON + STOP).replaceAll(/"type":"message_\w+",?/gu, '');
    const stream = reader();
    readAll(stream, [bytesOf(typeless)]);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ uncachedInput: 9, textOutput: 16 }] });
  });

  it('that broke off has its input reported and its output open', () => {
    const stream = reader();
    stream.write(bytesOf(START + delta('a text of some length')));
    expect(stream.metered()).toMatchObject({ kind: 'cut', outputOpen: true, lines: [{ uncachedInput: 9 }] });
    expect(stream.estimate().outputTokens).toBe(6);
  });

  it('takes no text for an event of its own', () => {
    const text = `\n\n${STOP_REASON}${STOP}{"usage":{"input_tokens":1}}`;
    const stream = reader();
    readAll(stream, [bytesOf(START + delta(text) + STOP_REASON + STOP)]);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ uncachedInput: 9, textOutput: 16 }] });
  });

  it('is read by its data where its events have no names', () => {
    const nameless = (START + delta('Hi') + STOP_REASON + STOP).replaceAll(/^event: .*\n/gmu, '');
    const stream = reader();
    readAll(stream, [bytesOf(nameless)]);
    expect(stream.terminal).toBe(true);
    expect(stream.metered()).toMatchObject({ kind: 'final', lines: [{ textOutput: 16 }] });
  });

  it('that failed before its end is not final', () => {
    const failure = event({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });
    const stream = reader();
    readAll(stream, [bytesOf(START + failure)]);
    expect(stream.metered()).toMatchObject({ kind: 'cut', failed: true });
  });
});

describe("the request to Anthropic's API", () => {
  it('names a version when the caller does not, and the beta query when he does', () => {
    expect(exchangeOf().request).toMatchObject({
      url: 'https://a.example/v1/messages',
      headers: { 'anthropic-version': '2023-06-01', 'x-api-key': 'sk-upstream' },
    });
    const { request } = exchangeOf({ 'anthropic-version': '2026-10-21' }, 'beta=true&key=1');
    expect(request.url).toBe('https://a.example/v1/messages?beta=true');
    expect(request.headers['anthropic-version']).toBe('2026-10-21');
  });
});
