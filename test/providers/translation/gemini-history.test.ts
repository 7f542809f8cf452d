/** What a client of Gemini's gives back of a reply, as Google's clients do: every piece as it came, or the whole. */
import { describe, expect, it } from 'vitest';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import type { ReplyEvent } from '../../../providers/translation/reply.ts';
import { callOf } from '../../support/conversations.ts';
import { sseData, type Json, written, writtenWhole } from '../../support/replies.ts';

const start: ReplyEvent = { kind: 'start', id: 'i', model: 'claude-sonnet-4-5', createdS: undefined };
const delta = (text: string): ReplyEvent => ({ kind: 'delta', choice: 0, text });
const open = (part: Extract<ReplyEvent, { kind: 'part' }>['part']): ReplyEvent => ({
  kind: 'part',
  choice: 0,
  part,
});
const THOUGHT = [
  open({ kind: 'reasoning', vendor: 'anthropic' }),
  delta('let'),
  delta(' me see'),
  { kind: 'signature', choice: 0, signature: 'SIG' } as const,
];
const SAID = [open({ kind: 'text' }), delta('Paid 👋'), delta(' at'), delta(' the gate. 👋')];
const CALLED = [
  open({ kind: 'tool_call', id: 'toolu_1', name: 'look', signature: undefined }),
  delta('{"x":'),
  delta('1}'),
];
const ENDED: readonly ReplyEvent[] = [{ kind: 'stop', choice: 0, reason: 'end' }, { kind: 'end' }];

type Content = { readonly role: string; readonly parts: readonly Json[] };
const contentsOf = (reply: Json): Content[] => {
  const [candidate] = reply['candidates'] as { content: Content }[];
  return candidate === undefined ? [] : [candidate.content];
};

/** The contents of a reply, streamed and whole. */
const forms = (events: readonly ReplyEvent[]): readonly (readonly Content[])[] => [
  sseData(written('gemini', events, { stream: true })).flatMap(contentsOf),
  contentsOf(writtenWhole('gemini', events)),
];

/** What Anthropic is told of a model's turn. */
function returned(contents: readonly Content[]): unknown {
  const asked = { role: 'user', parts: [{ text: 'Where?' }] };
  const body = { contents: [asked, ...contents, { role: 'user', parts: [{ text: 'And then?' }] }] };
  const conversation = ASKING.get('generateContent')!.read(callOf('generateContent', body));
  const { messages } = ASKED.get('messages')!.write(conversation, 'claude-sonnet-4-5') as {
    messages: readonly Json[];
  };
  expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
  return messages[1]?.['content'];
}

const thinking = { type: 'thinking', thinking: 'let me see', signature: 'SIG' };
const text = { type: 'text', text: 'Paid 👋 at the gate. 👋' };
const call = { type: 'tool_use', id: 'toolu_1', name: 'look', input: { x: 1 } };

describe('a reply that a Gemini client returns', () => {
  it.each([
    ['a text', SAID, [text]],
    ['a thought and a text', [...THOUGHT, ...SAID], [thinking, text]],
    ['a thought and a call', [...THOUGHT, ...CALLED], [thinking, call]],
    ['a text and a call', [...SAID, ...CALLED], [text, call]],
    ['two thoughts', [...THOUGHT, ...THOUGHT, ...SAID], [thinking, thinking, text]],
  ])('is what the model said: %s', (_what, said, content) => {
    for (const contents of forms([start, ...said, ...ENDED])) expect(returned(contents)).toEqual(content);
  });

  it.each([
    ['a text', SAID],
    ['a thought and a text', [...THOUGHT, ...SAID]],
    ['a thought and a call', [...THOUGHT, ...CALLED]],
  ])(
    'has no piece without words, which a chat of the older client would be forgotten for: %s',
    (_w, said) => {
      for (const contents of forms([start, ...said, ...ENDED])) {
        for (const { parts } of contents) expect(parts).not.toEqual([]);
        expect(contents.flatMap(({ parts }) => parts.filter((part) => part['text'] === ''))).toEqual([]);
      }
    },
  );

  it('is told to its last letter where it fails', () => {
    const error: ReplyEvent = {
      kind: 'error',
      error: { status: 500, message: 'Out.', type: undefined, code: undefined, param: undefined },
    };
    const told = sseData(written('gemini', [start, ...SAID, error], { stream: true }));
    const texts = told.filter((chunk) => 'candidates' in chunk).flatMap(contentsOf);
    expect(texts.map(({ parts }) => parts[0]?.['text']).join('')).toBe(text.text);
    expect(told.at(-1)).toMatchObject({ error: { message: 'Out.' } });
  });
});
