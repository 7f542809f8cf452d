/** A conversation that is written in a dialect and read again is the same conversation. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../providers/provider.ts';
import type { Conversation } from '../../../providers/translation/conversation.ts';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import { joinedTurns } from '../../../providers/translation/turns.ts';
import { bare, callOf, conversations } from '../../support/conversations.ts';

const DIALECTS: readonly Endpoint[] = ['chat.completions', 'responses', 'messages', 'generateContent'];

const through = (conversation: Conversation, endpoint: Endpoint): Conversation => {
  const written = ASKED.get(endpoint)!.write(conversation, 'gemini-2.5-flash');
  // Gemini says in the path whether to stream.
  return ASKING.get(endpoint)!.read({ ...callOf(endpoint, written), stream: conversation.stream });
};

/**
 * What the dialects agree on: neighbours of one role said together, nothing stored; how strictly a schema is held to, and
 * the type of what lies at an address, is left to those that
 * have a word for it, and to leave a choice is to say nothing.
 */
const agreed = (conversation: Conversation): unknown =>
  JSON.parse(
    JSON.stringify(
      bare({ ...conversation, turns: joinedTurns(conversation.turns), store: undefined }),
      (key, value: unknown) => {
        if (key === 'strict' || (key === 'toolChoice' && isAuto(value))) return undefined;
        return isAddress(value) ? { kind: value.kind, url: value.url } : value;
      },
    ),
  );

const isAuto = (value: unknown): boolean => JSON.stringify(value) === '{"kind":"auto"}';
const isAddress = (value: unknown): value is { readonly kind: 'url'; readonly url: string } =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'url';

describe.each(DIALECTS)('%s', (endpoint) => {
  it('gives back the conversation that it was given', () => {
    fc.assert(
      fc.property(conversations, (conversation) => {
        expect(agreed(through(conversation, endpoint))).toEqual(agreed(conversation));
      }),
      { numRuns: 200 },
    );
  });

  it.each(DIALECTS)('loses nothing on the way through %s', (other) => {
    fc.assert(
      fc.property(conversations, (conversation) => {
        expect(agreed(through(through(conversation, other), endpoint))).toEqual(agreed(conversation));
      }),
      { numRuns: 100 },
    );
  });
});
