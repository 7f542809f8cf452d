/** Recorded pictures and transcripts: tokens exactly where the vendor reported them, else the vendor's own unit. */
import { beforeAll, describe, expect, it } from 'vitest';
import { anthropic } from '../../providers/anthropic.ts';
import { openaiCompatible } from '../../providers/openai-compatible.ts';
import type { Endpoint, Provider, ResponseReader } from '../../providers/provider.ts';
import { addUsage, inputTokens, outputTokens, type Usage, ZERO_TOKENS } from '../../src/usage/usage.ts';
import { chatCall, readAll, upstream } from '../support/chat.ts';
import { oneByOne, randomChunks, seeded, textOf } from '../support/chunks.ts';
import { recordedCases, recordingsDirectory, type RecordedCase } from '../support/recordings.ts';

const SEED = 20261121;

if (recordingsDirectory === undefined) {
  console.warn('Recorded pictures and transcripts are skipped: FAREGATE_RECORDINGS names no directory.');
}

const readerOf = (recorded: RecordedCase, endpoint: Endpoint, provider: Provider): ResponseReader =>
  provider
    .prepare({ ...chatCall({ model: 'm', stream: recorded.stream }), endpoint }, upstream)
    .read({ status: recorded.status, headers: recorded.headers });

const usageOf = (reader: ResponseReader): Usage =>
  reader.metered().lines.reduce<Usage>((sum, line) => addUsage(sum, line), ZERO_TOKENS);

const MEDIA: readonly (readonly [api: string, endpoint: Endpoint, atLeast: number])[] = [
  ['openai.images', 'images.generations', 18],
  ['openai.audio.transcriptions', 'audio.transcriptions', 14],
];

describe.skipIf(recordingsDirectory === undefined).each(MEDIA)(
  'recorded %s replies',
  (api, endpoint, atLeast) => {
    const cases: RecordedCase[] = [];

    beforeAll(async () => {
      for await (const recorded of recordedCases((expected) => expected.api === api)) cases.push(recorded);
    });

    it('are metered as the vendors mean them and passed on byte for byte, at every chunking', () => {
      const random = seeded(SEED);
      expect(cases.length).toBeGreaterThanOrEqual(atLeast);
      for (const recorded of cases) {
        for (const chunks of [
          [recorded.body],
          oneByOne(recorded.body),
          randomChunks(recorded.body, random, 300),
        ]) {
          const reader = readerOf(recorded, endpoint, openaiCompatible);
          expect(textOf(readAll(reader, chunks)), recorded.id).toBe(textOf([recorded.body]));
          check(recorded, reader);
        }
      }
    });

    it('never count more than was billed when they are cut, at any byte', () => {
      for (const recorded of cases) {
        const { input_tokens: input, output_tokens: output } = recorded.expected;
        for (let cut = 0; cut < recorded.body.length; cut += recorded.body.length > 4_000 ? 97 : 1) {
          const reader = readerOf(recorded, endpoint, openaiCompatible);
          reader.write(recorded.body.subarray(0, cut));
          const usage = usageOf(reader);
          expect(inputTokens(usage), recorded.id).toBeLessThanOrEqual(input ?? 0);
          expect(outputTokens(usage), recorded.id).toBeLessThanOrEqual(output ?? 0);
        }
      }
    });
  },
);

function check({ id, api, expected, body }: RecordedCase, reader: ResponseReader): void {
  const metered = reader.metered();
  const usage = usageOf(reader);
  const pair = { input: inputTokens(usage), output: outputTokens(usage) };
  expect(pair, id).toEqual({ input: expected.input_tokens ?? 0, output: expected.output_tokens ?? 0 });
  if (expected.status >= 400) {
    expect(metered, id).toMatchObject({ kind: 'none', lines: [], failed: true });
    return;
  }
  if (expected.input_tokens !== null) {
    expect({ kind: metered.kind, units: usage.units }, id).toEqual({ kind: 'final', units: undefined });
    return;
  }
  if (api === 'openai.images') {
    const { data } = JSON.parse(textOf([body])) as { data: readonly unknown[] };
    expect({ kind: metered.kind, units: usage.units }, id).toEqual({
      kind: 'final',
      units: { images: data.length },
    });
    return;
  }
  const seconds = expected.raw_usage?.['seconds'];
  if (typeof seconds === 'number') expect(usage.units, id).toEqual({ seconds });
  else
    expect({ kind: metered.kind, some: (usage.units?.seconds ?? 0) > 0 }, id).toEqual({
      kind: 'cut',
      some: true,
    });
}

describe.skipIf(recordingsDirectory === undefined)("recorded uses of Anthropic's own tools", () => {
  it('are kept beside the tokens', async () => {
    let uses = 0;
    for await (const recorded of recordedCases(
      ({ api, metered, server_tool_use: used }) =>
        api === 'anthropic.messages' && metered && Object.values(used ?? {}).some((count) => count > 0),
    )) {
      const reader = readerOf(recorded, 'messages', anthropic);
      readAll(reader, [recorded.body]);
      const { web_search_requests: searches = 0, web_fetch_requests: fetches = 0 } =
        recorded.expected.server_tool_use ?? {};
      const { units = {} } = usageOf(reader);
      expect([units.web_searches ?? 0, units.web_fetches ?? 0], recorded.id).toEqual([searches, fetches]);
      uses += 1;
    }
    expect(uses).toBeGreaterThan(3);
  });
});
