import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ReplyEvent, StopReason } from '../../../providers/translation/reply.ts';
import { bytesOf } from '../../support/chunks.ts';
import { eventsOf, writtenWhole, type Json, type ParserName } from '../../support/replies.ts';

const reply = (dialect: ParserName, body: Json): string => {
  const events = eventsOf(dialect, [bytesOf(JSON.stringify(body))], { stream: false });
  const stop = events.find((event) => event.kind === 'stop');
  return stop?.reason ?? events.at(-1)?.kind ?? '';
};
const chat = (finish: string, message: Json = { content: 'x' }): string =>
  reply('chat', { choices: [{ message, finish_reason: finish }] });
const messages = (stop: string): string =>
  reply('messages', { content: [{ type: 'text', text: 'x' }], stop_reason: stop });
const gemini = (finish: string | number): string =>
  reply('gemini', { candidates: [{ content: { parts: [{ text: 'x' }] }, finishReason: finish }] });
const responses = (body: Json): string => reply('responses', { output: [], ...body });

const written = (reason: StopReason, more: readonly ReplyEvent[] = []) => {
  const events: ReplyEvent[] = [
    { kind: 'start', id: 'i', model: 'm', createdS: 1 },
    ...more,
    { kind: 'stop', choice: 0, reason },
    { kind: 'end' },
  ];
  const choices = writtenWhole('chat', events)['choices'] as Json[];
  const { status, incomplete_details: details } = writtenWhole('responses', events);
  const why = (details as Json | null)?.['reason'];
  return [
    choices[0]?.['finish_reason'],
    why === undefined ? status : `${String(status)} ${String(why)}`,
    writtenWhole('messages', events)['stop_reason'],
  ];
};

const chunk = (content: string, finish: string | null) => ({
  id: 'c',
  model: 'm',
  choices: [{ index: 0, delta: { content }, finish_reason: finish }],
  citations: ['https://example.com/1'],
  search_results: [{ title: 'One', url: 'https://example.com/1' }],
});

describe('why a reply stopped', () => {
  it('is told in each dialect as docs/translation.md has it', () => {
    const text = readFileSync(new URL('../../../docs/translation.md', import.meta.url), 'utf8');
    const table = text.split('Why a reply stopped:')[1]?.split('\n\n')[1] ?? '';
    const rows = table
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));
    expect(rows).toHaveLength(7);
    for (const [, reason, ...cells] of rows)
      expect(written(reason as StopReason), reason).toEqual(cells.slice(0, 3));
  });

  it.each([
    ['stop', 'end'],
    ['length', 'max_tokens'],
    ['model_length', 'max_tokens'],
    ['tool_calls', 'tool_calls'],
    ['function_call', 'tool_calls'],
    ['content_filter', 'content_filter'],
    ['something new', 'end'],
    ['constructor', 'end'],
    ['error', 'error'],
    ['insufficient_system_resource', 'error'],
  ])('is read from the finish reason %s as %s', (word, reason) => {
    expect(chat(word)).toBe(reason);
  });

  it('is a tool call where a vendor says that a reply with one simply ended', () => {
    const call = { id: 'a', function: { name: 'a', arguments: '{}' } };
    expect(chat('stop', { tool_calls: [call] })).toBe('tool_calls');
    expect(gemini('STOP')).toBe('end');
    expect(
      responses({ status: 'completed', output: [{ type: 'function_call', call_id: 'a', name: 'a' }] }),
    ).toBe('tool_calls');
  });

  it('is a refusal where the message is one, and to OpenAI callers an ordinary end', () => {
    expect(chat('stop', { refusal: 'No.' })).toBe('refusal');
    const refused: ReplyEvent[] = [{ kind: 'part', choice: 0, part: { kind: 'refusal' } }];
    expect(written('refusal', refused)).toEqual(['stop', 'completed', 'refusal']);
  });

  it.each([
    ['end_turn', 'end'],
    ['max_tokens', 'max_tokens'],
    ['model_context_window_exceeded', 'max_tokens'],
    ['stop_sequence', 'stop_sequence'],
    ['tool_use', 'tool_calls'],
    ['pause_turn', 'pause'],
    ['refusal', 'refusal'],
  ])("is read from Anthropic's %s as %s", (word, reason) => {
    expect(messages(word)).toBe(reason);
  });

  it.each([
    ['STOP', 'end'],
    [1, 'end'],
    ['MAX_TOKENS', 'max_tokens'],
    ['SAFETY', 'content_filter'],
    ['RECITATION', 'content_filter'],
    ['MALFORMED_FUNCTION_CALL', 'error'],
  ])("is read from Gemini's %s as %s", (word, reason) => {
    expect(gemini(word)).toBe(reason);
  });

  it.each([
    [{ status: 'completed' }, 'end'],
    [{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }, 'max_tokens'],
    [{ status: 'incomplete', incomplete_details: { reason: 'content_filter' } }, 'content_filter'],
    [{ status: 'failed', error: { code: 'server_error', message: 'x' } }, 'error'],
    [{ status: 'queued' }, 'error'],
  ])('is read from a response that is %j as %s', (body, reason) => {
    expect(responses(body)).toBe(reason);
  });
});

describe('sources', () => {
  it('that stand beside the message, as Perplexity has them, are told once', () => {
    const body = [chunk('a', null), chunk('b', 'stop')]
      .map((event) => `data: ${JSON.stringify(event)}\n\n`)
      .join('');
    const events = eventsOf('chat', [bytesOf(body)], { stream: true });
    const citations = events.filter((event) => event.kind === 'citation').map(({ citation }) => citation);
    expect(citations).toEqual([
      { url: 'https://example.com/1', title: 'One', start: undefined, end: undefined },
    ]);
  });
});
