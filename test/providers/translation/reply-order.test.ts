import { describe, expect, it } from 'vitest';
import type { ReplyEvent } from '../../../providers/translation/reply.ts';
import { ZERO_TOKENS } from '../../../src/usage/usage.ts';
import { textOf } from '../../support/chunks.ts';
import { FIXTURES } from '../../support/reply-fixtures.ts';
import { ACCUMULATE, COMPARABLE, eventsOf, written, writtenWhole, type Json } from '../../support/replies.ts';

const at = (url: string, start?: number, end?: number): ReplyEvent => ({
  kind: 'citation',
  choice: 0,
  citation: { url, title: undefined, start, end },
});
const usage = { ...ZERO_TOKENS, servedModel: 'm', uncachedInput: 3, textOutput: 2 };

/** A reply with something of everything. */
const REPLY: readonly ReplyEvent[] = [
  { kind: 'start', id: 'i', model: 'm', createdS: 1, usage: [usage] },
  { kind: 'part', choice: 0, part: { kind: 'reasoning', vendor: 'google' } },
  { kind: 'delta', choice: 0, text: 'Hm' },
  { kind: 'signature', choice: 0, signature: 'c2ln' },
  { kind: 'part', choice: 0, part: { kind: 'text' } },
  { kind: 'delta', choice: 0, text: 'Grüße ' },
  { kind: 'part', choice: 0, part: { kind: 'text' } },
  { kind: 'delta', choice: 0, text: 'aus Köln' },
  at('https://example.com/1', 4, 8),
  at('https://example.com/2', 0, 3),
  { kind: 'part', choice: 0, part: { kind: 'tool_call', id: 't', name: 'f' } },
  { kind: 'delta', choice: 0, text: '{}' },
  { kind: 'stop', choice: 0, reason: 'tool_calls' },
  { kind: 'usage', lines: [usage] },
  { kind: 'end' },
];

/** The data of each event of a stream. */
const dataOf = (stream: Uint8Array): Json[] =>
  textOf([stream])
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as Json);
const typesOf = (stream: Uint8Array): string[] =>
  dataOf(stream).map(({ type, index, output_index: place, content_block: block, item, delta }) => {
    const kind = ((block ?? item) as Json | undefined)?.['type'] ?? (delta as Json | undefined)?.['type'];
    return [type, place ?? index, kind].filter((part) => part !== undefined).join(' ');
  });

describe('the events of a message', () => {
  it('come in the order of the vendor', () => {
    expect(typesOf(written('messages', REPLY, { stream: true }))).toEqual([
      'message_start',
      'content_block_start 0 thinking',
      'content_block_delta 0 thinking_delta',
      'content_block_delta 0 signature_delta',
      'content_block_stop 0',
      'content_block_start 1 text',
      'content_block_delta 1 text_delta',
      'content_block_stop 1',
      'content_block_start 2 text',
      'content_block_delta 2 text_delta',
      'content_block_delta 2 citations_delta',
      'content_block_delta 2 citations_delta',
      'content_block_stop 2',
      'content_block_start 3 tool_use',
      'content_block_delta 3 input_json_delta',
      'content_block_stop 3',
      'message_delta',
      'message_stop',
    ]);
  });

  it('tell at their beginning what was read, where the provider has told it', () => {
    const [start] = dataOf(written('messages', REPLY, { stream: true }));
    expect(start).toMatchObject({ message: { usage: { input_tokens: 3 } } });
  });

  it('have names that are their types', () => {
    const lines = textOf([written('messages', REPLY, { stream: true })]).split('\n');
    const names = lines.filter((line) => line.startsWith('event: ')).map((line) => line.slice(7));
    expect(names).toEqual(dataOf(written('messages', REPLY, { stream: true })).map(({ type }) => type));
  });
});

describe('the events of a response', () => {
  const stream = written('responses', REPLY, { stream: true });

  it('come in the order of the vendor', () => {
    expect(typesOf(stream).map((type) => type.replace('response.', ''))).toEqual([
      'created',
      'in_progress',
      'output_item.added 0 reasoning',
      'reasoning_summary_part.added 0',
      'reasoning_summary_text.delta 0',
      'reasoning_summary_text.done 0',
      'reasoning_summary_part.done 0',
      'output_item.done 0 reasoning',
      'output_item.added 1 message',
      'content_part.added 1',
      'output_text.delta 1',
      'output_text.done 1',
      'content_part.done 1',
      'content_part.added 1',
      'output_text.delta 1',
      'output_text.annotation.added 1',
      'output_text.annotation.added 1',
      'output_text.done 1',
      'content_part.done 1',
      'output_item.done 1 message',
      'output_item.added 2 function_call',
      'function_call_arguments.delta 2',
      'function_call_arguments.done 2',
      'output_item.done 2 function_call',
      'completed',
    ]);
  });

  it('are numbered without a gap', () => {
    expect(dataOf(stream).map((event) => event['sequence_number'])).toEqual(
      dataOf(stream).map((_, index) => index),
    );
  });

  it('number the sources and the parts of a message', () => {
    const events = dataOf(stream);
    const sources = events.filter(({ annotation_index: index }) => index !== undefined);
    expect(sources.map(({ annotation_index: index }) => index)).toEqual([0, 1]);
    expect(sources.map(({ content_index: index }) => index)).toEqual([1, 1]);
  });

  it.each(FIXTURES)('of "$title" have said the whole output before the last', async (fixture) => {
    const events = eventsOf(fixture.dialect, [fixture.body], { stream: fixture.stream });
    const open = written(
      'responses',
      events.filter(({ kind }) => kind !== 'end'),
      { stream: true },
    );
    const said = COMPARABLE.responses(await ACCUMULATE.responses(open));
    expect(said['output']).toEqual(COMPARABLE.responses(writtenWhole('responses', events))['output']);
    expect(said['status']).toBe('in_progress');
  });

  it('end with what makes the response incomplete', () => {
    const cut = REPLY.map((event): ReplyEvent =>
      event.kind === 'stop' ? { ...event, reason: 'max_tokens' } : event,
    );
    const [call, last] = dataOf(written('responses', cut, { stream: true })).slice(-2);
    expect(call).toMatchObject({ type: 'response.output_item.done', item: { status: 'incomplete' } });
    expect(last).toMatchObject({
      type: 'response.incomplete',
      response: { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
    });
  });

  it('repeat what was asked', () => {
    const echo = { instructions: 'Be brief.', tools: [{ type: 'function', name: 'f' }], input: 'never this' };
    const context = { callId: 'c', model: 'm', createdS: 1, includeUsage: false, echo };
    const [created] = dataOf(written('responses', REPLY, { stream: true, context }));
    const response = created?.['response'] as Json;
    expect(response).toMatchObject({
      id: 'resp_c',
      instructions: 'Be brief.',
      tools: echo.tools,
      store: false,
    });
    expect(response).not.toHaveProperty('input');
  });
});

describe('the chunks of a chat completion', () => {
  const chunks = dataOf(written('chat', REPLY, { stream: true }));
  const deltas = chunks.flatMap(({ choices }) => (choices as Json[]).map(({ delta }) => delta as Json));

  it('begin with the role, end with the reason and then the usage', () => {
    expect(deltas[0]).toEqual({ role: 'assistant', content: null, refusal: null });
    const reasons = chunks.flatMap(({ choices }) =>
      (choices as Json[]).map((choice) => choice['finish_reason']),
    );
    expect(reasons.filter((reason) => reason !== null)).toEqual(['tool_calls']);
    expect(reasons.at(-1)).toBe('tool_calls');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 3 } });
  });

  it('say everything in its order', () => {
    expect(deltas.slice(1).map((delta) => Object.keys(delta).join())).toEqual([
      'reasoning_content',
      'content',
      'content',
      'tool_calls',
      'tool_calls',
      'reasoning_details,annotations',
      '',
    ]);
  });
});

describe('the places of sources', () => {
  it('count from the beginning of all text in a chat completion', () => {
    const [choice] = writtenWhole('chat', REPLY)['choices'] as Json[];
    const message = choice?.['message'] as Json;
    const places = (message['annotations'] as Json[]).map(({ url_citation: cited }) => {
      const { start_index: start, end_index: end } = cited as { start_index: number; end_index: number };
      return (message['content'] as string).slice(start, end);
    });
    expect(places).toEqual(['Köln', 'aus']);
  });

  it('count in bytes for Gemini', () => {
    const candidates = writtenWhole('gemini', REPLY)['candidates'] as Json[];
    expect(candidates[0]?.['groundingMetadata']).toMatchObject({
      groundingSupports: [
        { segment: { startIndex: 4, endIndex: 9, text: 'Köln' } },
        { segment: { endIndex: 3 } },
      ],
    });
  });
});
