/** Whatever a caller sends, translation answers with a request or with a refusal that names what is wrong: never with a defect. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../providers/provider.ts';
import { Untranslatable } from '../../../providers/translation/conversation.ts';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import type { Members } from '../../../providers/translation/members.ts';
import { CHAT_PLACES } from '../../../providers/translation/chat/members.ts';
import { GEMINI_PLACES } from '../../../providers/translation/gemini/members.ts';
import { MESSAGES_PLACES } from '../../../providers/translation/messages/members.ts';
import { RESPONSES_PLACES } from '../../../providers/translation/responses/members.ts';
import { callOf } from '../../support/conversations.ts';

const ENDPOINTS = {
  'chat.completions': CHAT_PLACES,
  responses: RESPONSES_PLACES,
  messages: MESSAGES_PLACES,
  generateContent: GEMINI_PLACES,
} as const;

/** Words that mean something in some place, so that random JSON comes far. */
const WORDS: readonly string[] =
  `user assistant system tool model function text input_text output_text image_url input_image image document file
input_file base64 url refusal tool_use tool_result thinking redacted_thinking reasoning function_call
function_call_output message auto json_schema json_object enabled low ANY data:image/png;base64,AA
data:text/plain;base64,! text/plain {} {"a":1} a`.split(/\s/);

/** Names of members that a dialect has in any of its places. */
const namesOf = (places: Readonly<Record<string, Members>>): readonly string[] => [
  ...new Set(Object.values(places).flatMap((members) => Object.keys(members))),
];

function anything(names: readonly string[]): fc.Arbitrary<unknown> {
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.constantFrom(...WORDS), fc.integer(), fc.boolean(), fc.constant(null)),
    tree: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('tree'), { maxKeys: 5 }),
    ),
  }));
  return tree;
}

function translateEverywhere(endpoint: Endpoint, body: unknown): void {
  const conversation = ASKING.get(endpoint)!.read(callOf(endpoint, body));
  for (const { write } of ASKED.values()) {
    for (const model of ['claude-sonnet-4-5', 'gemini-3-pro'])
      refused(() => JSON.stringify(write(conversation, model)));
  }
}

function refused(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(Untranslatable);
  }
}

describe.each(Object.entries(ENDPOINTS))('%s', (endpoint, places) => {
  const names = namesOf(places);
  const top = Object.keys(places[''] ?? {});
  const list =
    { messages: 'messages', responses: 'input', generateContent: 'contents' }[endpoint] ?? 'messages';

  it('answers anything with a request or a refusal', () => {
    const bodies = fc.dictionary(fc.constantFrom(...top), anything(names), { maxKeys: 6 });
    fc.assert(
      fc.property(bodies, (body) => refused(() => translateEverywhere(endpoint as Endpoint, body))),
      { numRuns: 1000 },
    );
  });

  it('answers any turns, of the right shape on the outside, with a request or a refusal', () => {
    const part = fc.dictionary(fc.constantFrom(...names), anything(names), { maxKeys: 4 });
    const typed = fc
      .tuple(part, fc.constantFrom(...WORDS))
      .map(([made, type]) => Object.assign({}, made, endpoint === 'generateContent' ? {} : { type }));
    const turn = fc.record({
      role: fc.constantFrom('user', 'assistant', 'model', 'tool', 'system'),
      [endpoint === 'generateContent' ? 'parts' : 'content']: fc.array(typed, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(turn, { maxLength: 3 }), (turns) =>
        refused(() => translateEverywhere(endpoint as Endpoint, { [list]: turns })),
      ),
      { numRuns: 1000 },
    );
  });
});

it('a document that is said to be text and is no base64 is refused by its place', () => {
  const file = { type: 'file', file: { file_data: 'data:text/plain;base64,!!' } };
  const call = callOf('chat.completions', { messages: [{ role: 'user', content: [file] }] });
  const conversation = ASKING.get('chat.completions')!.read(call);
  expect(() => ASKED.get('messages')!.write(conversation, 'claude')).toThrow(
    expect.objectContaining({ param: 'messages[0].content[0].file.file_data', kind: 'malformed' }),
  );
});
