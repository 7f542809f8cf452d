import { beforeAll, describe, expect, it } from 'vitest';
import type { Metered } from '../../src/usage/usage.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import type { ResponseReader } from '../../providers/provider.ts';
import { prepare, readAll } from '../support/chat.ts';
import { oneByOne, randomChunks, seeded, textOf } from '../support/chunks.ts';
import { recordedCases, recordingsDirectory, type RecordedCase } from '../support/recordings.ts';

const SEED = 20261121;
/** How many places a stream is cut at, when it has more. */
const CUTS_MAX = 12;

if (recordingsDirectory === undefined) {
  console.warn('Recorded chat replies are skipped: FAREGATE_RECORDINGS names no directory.');
}

describe.skipIf(recordingsDirectory === undefined)('recorded chat replies', () => {
  const cases: RecordedCase[] = [];

  beforeAll(async () => {
    for await (const recorded of recordedCases((expected) => expected.api === 'openai.chat'))
      cases.push(recorded);
  });

  it('are there', () => {
    expect(cases.length).toBeGreaterThan(500);
  });

  it('are metered exactly as the vendors mean them', () => {
    for (const recorded of cases) check(recorded, (bytes) => [bytes]);
  });

  it('are metered the same at random chunk boundaries', () => {
    const random = seeded(SEED);
    for (const lengthMax of [7, 200, 5000]) {
      for (const recorded of cases) check(recorded, (bytes) => randomChunks(bytes, random, lengthMax));
    }
  });

  it('are metered the same one byte at a time', () => {
    for (const recorded of cases) check(recorded, oneByOne);
  });

  it('never count more than was billed when they are cut, wherever that is', () => {
    const random = seeded(SEED);
    for (const recorded of cases) {
      for (const cut of cutsOf(recorded.body.length, random)) checkCut(recorded, cut);
    }
  });

  it('never count more than was billed at any moment', () => {
    for (const recorded of cases.filter(({ stream }) => stream)) {
      const reader = readerOf(recorded, true);
      for (const byte of oneByOne(recorded.body)) {
        reader.write(byte);
        checkNoMore(recorded, reader.metered());
      }
    }
  });
});

function readerOf(recorded: RecordedCase, asked: boolean): ResponseReader {
  const options = asked ? { include_usage: true } : null;
  const exchange = prepare({ model: 'm', stream: recorded.stream, stream_options: options });
  return exchange.read({ status: recorded.status, headers: recorded.headers });
}

/** The whole reply, both when the caller asked for usage and when the gateway did. */
function check(recorded: RecordedCase, chunksOf: (bytes: Uint8Array) => readonly Uint8Array[]): void {
  for (const asked of [true, false]) {
    const reader = readerOf(recorded, asked);
    const forwarded = textOf(readAll(reader, chunksOf(recorded.body)));
    const expectedText = asked ? textOf([recorded.body]) : withoutUsageChunk(recorded);
    if (forwarded !== expectedText) expect(forwarded, recorded.id).toBe(expectedText);
    checkMetered(recorded, reader.metered());
    checkEstimate(recorded, reader);
  }
}

function checkMetered({ id, expected }: RecordedCase, metered: Metered): void {
  if (!expected.metered) {
    expect({ kind: metered.kind, lines: metered.lines, failed: metered.failed }, id).toEqual({
      kind: 'none',
      lines: [],
      failed: expected.error || expected.status >= 400 || expected.flags.includes('sse_unknown_field'),
    });
    return;
  }
  const [line] = metered.lines;
  if (line === undefined) throw new Error(`${id} has no usage: ${metered.reason}`);
  const pair = { input_tokens: inputTokens(line), output_tokens: outputTokens(line) };
  const accepted = expected.accept.map(({ input_tokens, output_tokens }) => ({
    input_tokens,
    output_tokens,
  }));
  expect(metered.kind, id).toBe('final');
  expect(metered.responseId, id).toBe(expected.response_id);
  expect(line.servedModel, id).toBe(expected.model);
  if (expected.ambiguous) {
    expect(accepted, id).toContainEqual(pair);
    return;
  }
  expect(pair, id).toEqual({ input_tokens: expected.input_tokens, output_tokens: expected.output_tokens });
  // The expectations know no modality: audio and images are input read fresh, or generated and shown.
  const fresh = line.uncachedInput + line.audioInput + line.imageInput;
  if (expected.uncached_input_tokens !== null) expect(fresh, id).toBe(expected.uncached_input_tokens);
  expect(line.cacheRead, id).toBe(expected.cached_input_tokens ?? 0);
  expect(line.cacheWrite, id).toBe(expected.cache_write_tokens ?? 0);
  expect(line.reasoning, id).toBe(expected.reasoning_tokens ?? 0);
}

function checkEstimate({ id, expected }: RecordedCase, reader: ResponseReader): void {
  // A successful stream without usage said something: that must not be free.
  if (expected.stream && !expected.metered && expected.status === 200) {
    expect(reader.estimate().outputTokens, id).toBeGreaterThan(0);
  }
}

/** The body less each event whose data has no choices and a usage: found here in the simplest way there is. */
function withoutUsageChunk(recorded: RecordedCase): string {
  const text = textOf([recorded.body]);
  if (!recorded.stream) return text;
  const events = text.split(/(?<=\n\n|\r\n\r\n)/u);
  return events
    .filter((event) => !/^data: ?\{.*"choices": ?\[\].*"usage": ?\{/u.test(reordered(event)))
    .join('');
}

/** The event with its choices before its usage. */
function reordered(event: string): string {
  const match = /^data: ?(\{.*\})\s*$/su.exec(event);
  if (match === null) return event;
  const { choices, usage } = JSON.parse(match[1] ?? '') as { choices: unknown; usage: unknown };
  return `data: ${JSON.stringify({ choices, usage })}`;
}

function cutsOf(length: number, random: () => number): number[] {
  if (length <= CUTS_MAX) return Array.from({ length }, (_, index) => index);
  const tail = [1, 2, 3, 14, 15, 16].map((back) => length - back);
  const anywhere = Array.from({ length: CUTS_MAX - tail.length }, () => Math.floor(random() * length));
  return [...tail, ...anywhere];
}

/** A reply that broke off at `cut`, and one whose end came there. */
function checkCut(recorded: RecordedCase, cut: number): void {
  const body = recorded.body.subarray(0, cut);
  for (const ended of [false, true]) {
    const reader = readerOf(recorded, true);
    const forwarded = [...reader.write(body), ...(ended ? reader.end() : [])];
    const text = textOf(forwarded);
    if (!textOf([body]).startsWith(text)) expect(text, recorded.id).toBe(textOf([body]));
    checkNoMore(recorded, reader.metered());
    reader.estimate();
  }
}

function checkNoMore({ id, expected }: RecordedCase, metered: Metered): void {
  for (const line of metered.lines) {
    const input = Math.max(...expected.accept.map((pair) => pair.input_tokens ?? 0));
    if (inputTokens(line) > input) expect(inputTokens(line), id).toBeLessThanOrEqual(input);
    const output = expected.output_tokens ?? 0;
    if (outputTokens(line) > output) expect(outputTokens(line), id).toBeLessThanOrEqual(output);
  }
}
