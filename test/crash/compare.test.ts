import { expect, it } from 'vitest';
import type { Books, LedgerEntry } from './books.ts';
import { compare } from './compare.ts';

const row = (more: Partial<LedgerEntry> & { id: string }): LedgerEntry => ({
  customer: 'cus_1',
  model: `openai/m-${more.id}`,
  state: 'settled',
  outcome: 'finished',
  usage: { input_tokens: 5, output_tokens: 7 },
  usage_source: 'reported',
  response_id: `chatcmpl-${more.id}`,
  opened_at: '2026-01-01T00:00:00.000Z',
  events: [{ identifier: `fg_${more.id}`, state: 'accepted', token_type: 'input', value: '5' }],
  ...more,
});

const seenAtMs = Date.parse('2026-01-01T00:00:00.010Z');
const asked = (tag: string) => ({ tag, customer: 'cus_1', model: `m-${tag}`, status: 200, requestId: tag });
const served = (tag: string) => ({
  tag,
  model: `m-${tag}`,
  responseId: `chatcmpl-${tag}`,
  seenAtMs,
  inputTokens: 5,
  outputTokens: 7,
  finished: true,
});

const sums = (tag: string, inputTokens: number, outputTokens: number) => [
  { customer: 'cus_1', model: `openai/m-${tag}`, tokenType: 'input', tokens: inputTokens },
  { customer: 'cus_1', model: `openai/m-${tag}`, tokenType: 'output', tokens: outputTokens },
];

/** A finished call `a` and a call `b` that a kill cut after three of its tokens. */
function sound(): { -readonly [name in keyof Books]: Books[name][number][] } {
  return {
    callers: [
      { ...asked('a'), complete: true },
      { ...asked('b'), complete: false },
    ],
    upstream: [served('a'), { ...served('b'), outputTokens: 3, finished: false }],
    ledger: [
      row({ id: 'a' }),
      row({
        id: 'b',
        outcome: 'recovered',
        usage_source: 'estimated',
        response_id: null,
        usage: { input_tokens: 2, output_tokens: 3 },
      }),
    ],
    stripe: [...sums('a', 5, 7), ...sums('b', 2, 3)],
  };
}

type Sound = ReturnType<typeof sound>;

it('finds nothing in books that agree', () => {
  expect(compare(sound())).toEqual([]);
});

it.each<[string, string, (books: Sound) => void]>([
  ['a call without a row', 'unopened', (books) => void books.ledger.shift()],
  [
    'a row opened after the upstream was asked',
    'unopened',
    (books) => (books.ledger[0] = row({ id: 'a', opened_at: '2026-01-01T00:00:00.011Z' })),
  ],
  ['a complete reply without a row', 'lost', (books) => void books.ledger.shift()],
  [
    'a complete reply that was only recovered',
    'lost',
    (books) => (books.ledger[0] = row({ id: 'a', outcome: 'recovered', usage_source: 'none', usage: null })),
  ],
  [
    'a complete reply on the bill of another customer',
    'lost',
    (books) => (books.ledger[0] = row({ id: 'a', customer: 'cus_2' })),
  ],
  [
    'a reply with two rows',
    'doubled',
    (books) => books.ledger.push(row({ id: 'c', model: 'openai/m-a', response_id: 'chatcmpl-a' })),
  ],
  [
    'an event that Stripe counted twice',
    'doubled',
    (books) => (books.stripe[1] = { ...books.stripe[1]!, tokens: 14 }),
  ],
  [
    'an event that nobody owed',
    'doubled',
    (books) => books.stripe.push({ customer: 'cus_9', model: 'openai/m-a', tokenType: 'input', tokens: 1 }),
  ],
  ['an event that Stripe never had', 'undelivered', (books) => void books.stripe.pop()],
  [
    'an event that Stripe has in part',
    'undelivered',
    (books) => (books.stripe[0] = { ...books.stripe[0]!, tokens: 4 }),
  ],
  [
    'an event that still waits',
    'undelivered',
    (books) =>
      (books.ledger[0] = row({
        id: 'a',
        events: [{ identifier: 'fg', state: 'sending', token_type: 'input', value: '5' }],
      })),
  ],
  [
    'a token too many on a finished call',
    'miscounted',
    (books) => (books.ledger[0] = row({ id: 'a', usage: { input_tokens: 5, output_tokens: 8 } })),
  ],
  [
    'a token too few on a finished call',
    'miscounted',
    (books) => (books.ledger[0] = row({ id: 'a', usage: { input_tokens: 4, output_tokens: 7 } })),
  ],
  [
    'a cut call billed for more output than was generated',
    'overbilled',
    (books) => (books.ledger[1] = { ...books.ledger[1]!, usage: { input_tokens: 2, output_tokens: 4 } }),
  ],
  [
    'a cut call billed for more input than was sent',
    'overbilled',
    (books) => (books.ledger[1] = { ...books.ledger[1]!, usage: { input_tokens: 6, output_tokens: 3 } }),
  ],
  [
    'a cut call billed although the upstream was never asked',
    'overbilled',
    (books) => void books.upstream.pop(),
  ],
  [
    'a call that stayed open',
    'unsettled',
    (books) => (books.ledger[1] = row({ id: 'b', state: 'open', usage: null, events: [] })),
  ],
  ['a refusal without a reason', 'refused', (books) => (books.callers[1]!.status = 503)],
])('reports %s as %s', (_mistake, kind, plant) => {
  const books = sound();
  plant(books);
  expect(compare(books).map((problem) => problem.kind)).toContain(kind);
});
