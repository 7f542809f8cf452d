/** A conversation that is written in a dialect and read again is the same conversation. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../providers/provider.ts';
import type { Conversation } from '../../../providers/translation/conversation.ts';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import { joinedTurns } from '../../../providers/translation/turns.ts';
import { bare, callOf, conversations } from '../../support/conversations.ts';

const DIALECTS: readonly Endpoint[] = ['chat.completions', 'responses', 'messages'];

const through = (conversation: Conversation, endpoint: Endpoint): Conversation => {
  const written = ASKED.get(endpoint)!.write(conversation, 'a-model');
  return ASKING.get(endpoint)!.read(callOf(endpoint, written));
};

/** Neighbours of one role said together, as the dialects differ in that alone; what is not stored is not stored. */
const agreed = (conversation: Conversation): unknown =>
  bare({ ...conversation, turns: joinedTurns(conversation.turns), store: undefined });

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
