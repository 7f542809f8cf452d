import { describe, expect, it } from 'vitest';
import type { OpenedPart, ReplyEvent, StopReason } from '../../../providers/translation/reply.ts';
import { ZERO_TOKENS } from '../../../src/usage/usage.ts';
import { bytesOf, randomChunks, seeded } from '../../support/chunks.ts';
import {
  eventsOf,
  PARSERS,
  sse,
  WRITERS,
  written,
  type Json,
  type WriterName,
} from '../../support/replies.ts';

const SEED = 20261121;
const REPLIES = 150;
const DIALECTS = Object.keys(WRITERS) as WriterName[];
const PIECES = [
  'a',
  'Grüße ',
  '世界',
  '🌍',
  '\n\n',
  '"',
  '\\',
  'data: x',
  '\u2028',
  '{"usage":1}',
  '\r',
  ' ',
];
const REASONS: readonly StopReason[] = ['end', 'max_tokens', 'content_filter'];

type Random = () => number;
const pick = <T>(random: Random, list: readonly [T, ...T[]] | readonly T[]): T =>
  list[Math.floor(random() * list.length)] as T;
const wordsOf = (random: Random): string[] =>
  Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, PIECES));

/** Any reply that every dialect can tell. */
function randomReply(random: Random): ReplyEvent[] {
  const events: ReplyEvent[] = [{ kind: 'start', id: 'i', model: 'served', createdS: 5 }];
  const parts = Math.floor(random() * 5);
  for (let number = 0; number < parts; number += 1) {
    const part = randomPart(random, number);
    events.push({ kind: 'part', choice: 0, part });
    const pieces =
      part.kind === 'tool_call' ? [`{"q":`, JSON.stringify(wordsOf(random).join('')), '}'] : wordsOf(random);
    events.push(...pieces.map((text) => ({ kind: 'delta' as const, choice: 0, text })));
    if (part.kind !== 'reasoning') continue;
    const proof = pick(random, ['signature', 'sealed', 'none'] as const);
    if (proof === 'signature') events.push({ kind: proof, choice: 0, signature: `c2ln${number}` });
    else if (proof === 'sealed') events.push({ kind: proof, choice: 0, sealed: `c2Vh${number}` });
  }
  const usage = {
    ...ZERO_TOKENS,
    servedModel: null,
    uncachedInput: Math.floor(random() * 99),
    textOutput: 7,
  };
  const stop = { kind: 'stop', choice: 0, reason: pick(random, REASONS) } as const;
  return [...events, stop, { kind: 'usage', lines: [usage] }, { kind: 'end' }];
}

function randomPart(random: Random, number: number): OpenedPart {
  const kind = pick(random, ['text', 'reasoning', 'tool_call'] as const);
  if (kind === 'reasoning') return { kind, vendor: 'anthropic' };
  return kind === 'text' ? { kind } : { kind, id: `call_${number}`, name: `tool_${number}` };
}

/** What a reply says, without the order that dialects with one place for each kind cannot tell. */
function gist(events: readonly ReplyEvent[]): Json {
  const said: Json & { text: string; reasoning: string; calls: string[] } = {
    text: '',
    reasoning: '',
    calls: [],
  };
  let open: OpenedPart | undefined;
  for (const event of events) {
    if (event.kind === 'part') {
      open = event.part;
      if (open.kind === 'tool_call') said.calls.push(`${open.id} ${open.name} `);
    } else if (event.kind === 'delta') {
      if (open?.kind === 'text') said.text += event.text;
      else if (open?.kind === 'reasoning') said.reasoning += event.text;
      else said.calls[said.calls.length - 1] += event.text;
    } else if (event.kind === 'stop') said['stop'] = event.reason;
    else if (event.kind === 'usage') said['usage'] = event.lines.map(({ uncachedInput }) => uncachedInput);
    else if (event.kind === 'end') said['ended'] = true;
  }
  return said;
}

/** A reply that calls tools and simply ends is told as one that ends by its calls. */
function expected(events: readonly ReplyEvent[]): Json {
  const said = gist(events);
  return said['stop'] === 'end' && (said['calls'] as string[]).length > 0
    ? { ...said, stop: 'tool_calls' }
    : said;
}

/** Anthropic has one word for what was refused and what was withheld. */
const inWordsOf = (to: WriterName, said: Json): Json =>
  to === 'messages' && said['stop'] === 'content_filter' ? { ...said, stop: 'refusal' } : said;

describe.each(DIALECTS)('any reply, written as %s', (to) => {
  it('is read back as what it said, streamed and whole', () => {
    const random = seeded(SEED);
    for (let number = 0; number < REPLIES; number += 1) {
      const events = randomReply(random);
      for (const stream of [true, false]) {
        const bytes = written(to, events, { stream });
        const read = eventsOf(to, randomChunks(bytes, random, 40), { stream });
        expect(gist(read), `reply ${number}`).toEqual(inWordsOf(to, expected(events)));
      }
    }
  });
});

describe('any order of tool calls', () => {
  it('is told one call after the other, with nothing lost', () => {
    const random = seeded(SEED);
    for (let round = 0; round < REPLIES; round += 1) {
      const calls = Array.from({ length: 1 + Math.floor(random() * 4) }, (_, index) => ({
        index,
        pieces: ['', '{"a', '":"', pick(random, ['}', '{', 'x']), '"', '}'],
      }));
      const deltas: Json[] = calls.map(({ index }) => ({
        index,
        id: `id${index}`,
        function: { name: `f${index}`, arguments: '' },
      }));
      const waiting = calls.map(({ index, pieces }) => ({ index, pieces: [...pieces] }));
      while (waiting.some(({ pieces }) => pieces.length > 0)) {
        const { index, pieces } = pick(
          random,
          waiting.filter((one) => one.pieces.length > 0),
        );
        deltas.push({ index, function: { arguments: pieces.shift() } });
      }
      const body = sse(
        [
          ...deltas.map((delta) => ({ id: 'c', choices: [{ index: 0, delta: { tool_calls: [delta] } }] })),
          { id: 'c', choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] },
        ],
        'data: [DONE]\n\n',
      );
      const told = gist(eventsOf('chat', [body], { stream: true }))['calls'];
      expect(told).toEqual(calls.map(({ index, pieces }) => `id${index} f${index} ${pieces.join('')}`));
    }
  });
});

describe('bytes without sense', () => {
  it('never make a parser throw, hang or tell an end', () => {
    const random = seeded(SEED);
    for (const [name, create] of Object.entries(PARSERS)) {
      for (let round = 0; round < REPLIES; round += 1) {
        const text = Array.from({ length: 30 }, () =>
          pick(random, [
            'data: ',
            'event: ',
            '\n',
            '\n\n',
            '{',
            '}',
            '"type":',
            '"message_start"',
            '[',
            ']',
            'null',
            ':',
            ',',
            '\r',
            '"choices":',
          ]),
        ).join('');
        for (const stream of [true, false]) {
          const parser = create({ stream, status: 200, callId: 'c' });
          const events = [...parser.write(bytesOf(text)), ...parser.end()];
          expect(
            events.map(({ kind }) => kind),
            `${name}: ${text}`,
          ).not.toContain('end');
        }
      }
    }
  });
});
