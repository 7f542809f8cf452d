import { beforeAll, describe, expect, it } from 'vitest';
import type { ReplyEvent } from '../../../providers/translation/reply.ts';
import { addCounts, inputTokens, outputTokens, ZERO_TOKENS } from '../../../src/usage/usage.ts';
import { oneByOne, randomChunks, seeded, textOf } from '../../support/chunks.ts';
import { recordedCases, recordingsDirectory, type RecordedCase } from '../../support/recordings.ts';
import {
  ACCUMULATE,
  COMPARABLE,
  eventsOf,
  joined,
  WRITERS,
  written,
  writtenWhole,
  type Json,
  type ParserName,
  type WriterName,
} from '../../support/replies.ts';

const APIS: readonly { readonly api: string; readonly dialect: ParserName; readonly atLeast: number }[] = [
  { api: 'openai.chat', dialect: 'chat', atLeast: 900 },
  { api: 'openai.responses', dialect: 'responses', atLeast: 350 },
  { api: 'anthropic.messages', dialect: 'messages', atLeast: 200 },
  { api: 'gemini.generateContent', dialect: 'gemini', atLeast: 200 },
  { api: 'gemini.streamGenerateContent', dialect: 'gemini', atLeast: 60 },
];
const SEED = 20261121;
/** One in so many recordings is read one byte at a time, which for the largest takes a second. */
const BYTES_EVERY = 10;
/** Hand-written recordings that are broken, or answer in another dialect than they were asked in. */
const BROKEN_MAX = 4;

describe.skipIf(recordingsDirectory === undefined).each(APIS)(
  'recorded $api replies',
  ({ api, dialect, atLeast }) => {
    const cases: { readonly recorded: RecordedCase; readonly events: readonly ReplyEvent[] }[] = [];
    const ended: typeof cases = [];

    beforeAll(async () => {
      for await (const recorded of recordedCases((expected) => expected.api === api)) {
        const events = read(dialect, recorded, [recorded.body]);
        cases.push({ recorded, events });
        if (events.at(-1)?.kind === 'end' && !isSeveral(recorded)) ended.push({ recorded, events });
      }
    });

    it('come to their end, or to the error that they are', () => {
      expect(cases.length).toBeGreaterThanOrEqual(atLeast);
      const open = cases.filter(({ events }) => !['end', 'error'].includes(events.at(-1)?.kind ?? ''));
      const failed = cases.filter(
        ({ recorded, events }) => events.at(-1)?.kind === 'error' && !recorded.expected.error,
      );
      const ids = [...open, ...failed].map(({ recorded }) => recorded.id);
      expect(ids.length, ids.join(' ')).toBeLessThanOrEqual(BROKEN_MAX);
    });

    it('say the same wherever they are cut', () => {
      const random = seeded(SEED);
      for (const [index, { recorded, events }] of cases.entries()) {
        const same = joined(events);
        const chunks = randomChunks(recorded.body, random, 300);
        expect(joined(read(dialect, recorded, chunks)), recorded.id).toEqual(same);
        if (index % BYTES_EVERY !== 0 || recorded.body.length > 100_000) continue;
        expect(joined(read(dialect, recorded, oneByOne(recorded.body))), recorded.id).toEqual(same);
      }
    });

    it('say all of their text', () => {
      for (const { recorded, events } of ended) {
        expect(saidText(events), recorded.id).toBe(recordedText(dialect, recorded));
      }
    });

    it('tell the usage that was expected', () => {
      for (const { recorded, events } of ended) checkUsage(recorded, events);
    });

    it("are taken by the vendors' SDKs in every other dialect, and add up there to the whole reply", async () => {
      const random = seeded(SEED);
      const others = (Object.keys(WRITERS) as WriterName[]).filter((name) => name !== dialect);
      for (const { recorded, events } of ended) {
        const to = others[Math.floor(random() * others.length)] ?? 'chat';
        if (to !== 'chat' && events.some((event) => event.kind === 'part' && event.part.kind === 'media'))
          continue;
        const accumulated = COMPARABLE[to](await ACCUMULATE[to](written(to, events, { stream: true })));
        expect(accumulated, `${recorded.id} as ${to}`).toMatchObject(
          COMPARABLE[to](writtenWhole(to, events)),
        );
      }
    });
  },
);

/** Gemini's stream is an array of JSON where it was not asked for as events. */
const isSse = ({ stream, status, body }: RecordedCase): boolean =>
  stream && status < 400 && !/^\s*[[{]/u.test(textOf([body.subarray(0, 20)]));

const read = (dialect: ParserName, recorded: RecordedCase, chunks: readonly Uint8Array[]): ReplyEvent[] =>
  eventsOf(dialect, chunks, { stream: isSse(recorded), status: recorded.status });

/** Some recordings hold several replies one after the other, and expect the last one's usage. */
const isSeveral = ({ body }: RecordedCase): boolean =>
  textOf([body]).split(/"type": ?"(?:response\.created|message_start)"/u).length > 2;

/** The text of the first choice. */
function saidText(events: readonly ReplyEvent[]): string {
  let kind = '';
  let text = '';
  for (const event of events) {
    if (!('choice' in event) || event.choice !== 0) continue;
    if (event.kind === 'part') kind = event.part.kind;
    if (event.kind === 'delta' && kind === 'text') text += event.text;
  }
  return text;
}

function checkUsage({ id, expected }: RecordedCase, events: readonly ReplyEvent[]): void {
  const usage = events.findLast((event) => event.kind === 'usage');
  if (!expected.metered) {
    expect(usage, id).toBeUndefined();
    return;
  }
  const sum = (usage?.lines ?? []).reduce((counts, line) => addCounts(counts, line), ZERO_TOKENS);
  const accepted = expected.accept.map(({ input_tokens, output_tokens }) => [
    input_tokens ?? 0,
    output_tokens ?? 0,
  ]);
  expect(accepted, id).toContainEqual([inputTokens(sum), outputTokens(sum)]);
}

/** The same text, found by a reading of its own. */
function recordedText(dialect: ParserName, recorded: RecordedCase): string {
  const body = textOf([recorded.body]);
  const values = isSse(recorded)
    ? body
        .split(/\r?\n/u)
        .filter((line) => /^data: *\{/u.test(line))
        .map((line) => JSON.parse(line.slice(5)) as Json)
    : [JSON.parse(body) as Json].flat();
  return values.map((value) => TEXTS[dialect](value, isSse(recorded))).join('');
}

const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? (value as Json[]) : []);
const words = (value: unknown): string => (typeof value === 'string' ? value : '');
const contentWords = (content: unknown): string =>
  words(content) +
  list(content)
    .filter((part) => part['type'] !== 'thinking')
    .map((part) => words(part['text']))
    .join('');

const TEXTS: Record<ParserName, (value: Json, sse: boolean) => string> = {
  chat(value, sse) {
    const choice = list(value['choices']).find(({ index }) => (index ?? 0) === 0);
    const message = choice?.[sse ? 'delta' : 'message'] as Json | undefined;
    return (
      contentWords(message?.['content']) + words((message?.['audio'] as Json | undefined)?.['transcript'])
    );
  },
  responses(value, sse) {
    if (sse) return value['type'] === 'response.output_text.delta' ? words(value['delta']) : '';
    return list(value['output'])
      .filter((item) => item['type'] === 'message')
      .flatMap((item) => list(item['content']))
      .map((part) => words(part['text']))
      .join('');
  },
  messages(value) {
    const delta = (value['delta'] ?? value['content_block']) as Json | undefined;
    return (
      words(delta?.['text']) + contentWords(list(value['content']).filter(({ type }) => type === 'text'))
    );
  },
  gemini(value) {
    const candidate = list(value['candidates'])[0];
    return list((candidate?.['content'] as Json | undefined)?.['parts'])
      .filter((part) => part['thought'] !== true)
      .map((part) => words(part['text']))
      .join('');
  },
};
