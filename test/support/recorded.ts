/** What every recorded reply of an API must show, whichever the dialect: the same checks for all. */
import { expect } from 'vitest';
import type { Endpoint, Provider, ResponseReader, Upstream } from '../../providers/provider.ts';
import { scanJsonObject } from '../../src/usage/json-scanner.ts';
import { addCounts, inputTokens, outputTokens, ZERO_TOKENS, type Metered } from '../../src/usage/usage.ts';
import { readAll, upstream } from './chat.ts';
import { bytesOf, oneByOne, randomChunks, seeded, textOf } from './chunks.ts';
import type { RecordedCase } from './recordings.ts';

export interface RecordedApi {
  readonly api: string;
  readonly provider: Provider;
  readonly endpoint: (recorded: RecordedCase) => Endpoint;
}

const SEED = 20261121;
/** How many places a reply is cut at, when it has more. */
const CUTS_MAX = 12;
/** Replies of up to this length are cut at each byte; each cut is a reading of its own. */
const CUT_EVERYWHERE_BYTES_MAX = 1_000;

export interface Checks {
  whole(recorded: RecordedCase): void;
  atRandomChunks(recorded: RecordedCase): void;
  oneByOne(recorded: RecordedCase): void;
  cut(recorded: RecordedCase): void;
  /** The same behind each byte in turn, where nothing tells the reader that it was the last. */
  everywhere(recorded: RecordedCase): void;
  /** What the whole reply is metered as. */
  metered(recorded: RecordedCase): Metered;
}

export function checksOf(api: RecordedApi): Checks {
  const random = seeded(SEED);
  const whole = (recorded: RecordedCase, chunks: readonly Uint8Array[]): void => {
    const reader = readerOf(api, recorded);
    const forwarded = textOf(readAll(reader, chunks));
    const expected = textOf([recorded.body]);
    if (forwarded !== expected) expect(forwarded, recorded.id).toBe(expected);
    checkMetered(recorded, reader.metered());
    checkEstimate(recorded, reader);
  };
  return {
    metered(recorded) {
      const reader = readerOf(api, recorded);
      readAll(reader, [recorded.body]);
      return reader.metered();
    },
    whole: (recorded) => whole(recorded, [recorded.body]),
    atRandomChunks(recorded) {
      for (const lengthMax of [7, 200, 5000]) whole(recorded, randomChunks(recorded.body, random, lengthMax));
    },
    oneByOne: (recorded) => whole(recorded, oneByOne(recorded.body)),
    cut(recorded) {
      const every = recorded.body.length <= CUT_EVERYWHERE_BYTES_MAX;
      const cuts = every ? placesOf(recorded.body.length) : cutsOf(recorded.body.length, random);
      for (const cut of cuts) checkCut(api, recorded, cut);
    },
    everywhere(recorded) {
      const reader = readerOf(api, recorded);
      for (const [at, byte] of oneByOne(recorded.body).entries()) {
        reader.write(byte);
        checkNoMore(recorded, reader.metered(), at + 1);
      }
    },
  };
}

/** Stands for every model of the recordings. */
const UPSTREAM: Upstream = { ...upstream, baseUrl: 'https://vendor.example' };

function readerOf({ provider, endpoint }: RecordedApi, recorded: RecordedCase): ResponseReader {
  const body = bytesOf(
    JSON.stringify({ model: 'm', stream: recorded.stream, stream_options: { include_usage: true } }),
  );
  const scan = scanJsonObject(body);
  if (scan.kind !== 'object') throw new Error(scan.message);
  const call = {
    endpoint: endpoint(recorded),
    model: 'm',
    stream: recorded.stream,
    body,
    scan,
    path: '/',
    query: '',
    headers: {},
  };
  return provider.prepare(call, UPSTREAM).read({ status: recorded.status, headers: recorded.headers });
}

const sumOf = (metered: Metered) => metered.lines.reduce((sum, line) => addCounts(sum, line), ZERO_TOKENS);

function checkMetered({ id, expected }: RecordedCase, metered: Metered): void {
  if (!expected.metered) {
    expect({ kind: metered.kind, lines: metered.lines }, id).toEqual({ kind: 'none', lines: [] });
    if (expected.status >= 400) expect(metered.failed, id).toBe(true);
    return;
  }
  const sum = sumOf(metered);
  const pair = { input_tokens: inputTokens(sum), output_tokens: outputTokens(sum) };
  const accepted = expected.accept.map(({ input_tokens, output_tokens }) => ({
    input_tokens: input_tokens ?? 0,
    output_tokens: output_tokens ?? 0,
  }));
  expect(metered.kind, `${id}: ${metered.reason}`).toBe('final');
  expect(accepted, `${id}: ${metered.reason}`).toContainEqual(pair);
  if (expected.response_id !== null) expect(metered.responseId, id).toBe(expected.response_id);
  if (metered.lines.length !== 1) return;
  expect(metered.lines[0]?.servedModel, id).toBe(expected.model);
  if (expected.ambiguous) return;
  // The expectations know no modality: audio and images are input read fresh, or generated and shown.
  const fresh = sum.uncachedInput + sum.audioInput + sum.imageInput;
  if (expected.uncached_input_tokens !== null) expect(fresh, id).toBe(expected.uncached_input_tokens);
  expect(sum.cacheRead, id).toBe(expected.cached_input_tokens ?? 0);
  expect(sum.cacheWrite + sum.cacheWrite1h, id).toBe(expected.cache_write_tokens ?? 0);
  expect(sum.reasoning, id).toBe(expected.reasoning_tokens ?? 0);
}

function checkEstimate({ id, expected }: RecordedCase, reader: ResponseReader): void {
  // A successful stream without usage said something: that must not be free.
  if (expected.stream && !expected.metered && expected.status === 200 && reader.metered().failed !== true) {
    expect(reader.estimate().outputTokens, id).toBeGreaterThan(0);
  }
}

function cutsOf(length: number, random: () => number): number[] {
  if (length <= CUTS_MAX) return Array.from({ length }, (_, index) => index);
  const tail = [1, 2, 3, 14, 15, 16].map((back) => length - back);
  const anywhere = Array.from({ length: CUTS_MAX - tail.length }, () => Math.floor(random() * length));
  return [...tail, ...anywhere].filter((cut) => cut >= 0);
}

const placesOf = (length: number): readonly number[] => Array.from({ length }, (_, index) => index);

/** A reply that broke off at `cut`, and one whose end came there. */
function checkCut(api: RecordedApi, recorded: RecordedCase, cut: number): void {
  const body = recorded.body.subarray(0, cut);
  for (const ended of [false, true]) {
    const reader = readerOf(api, recorded);
    const forwarded = textOf([...reader.write(body), ...(ended ? reader.end() : [])]);
    if (!textOf([body]).startsWith(forwarded)) expect(forwarded, recorded.id).toBe(textOf([body]));
    checkNoMore(recorded, reader.metered(), cut);
    reader.estimate();
  }
}

function checkNoMore(recorded: RecordedCase, metered: Metered, cut: number): void {
  const { accept, output_tokens: outputMax, flags } = recorded.expected;
  // Some recordings hold several replies one after the other, and expect the last one's usage.
  if (flags.some((flag) => flag.startsWith('message_start_x')) || isSeveral(recorded)) return;
  const sum = sumOf(metered);
  const inputMax = Math.max(...accept.map((pair) => pair.input_tokens ?? 0));
  // Some vendors revise a prompt's count downwards while they stream: what they said first is no overcount of ours.
  const revised = flags.some((flag) => flag.startsWith('gemini_nonmonotonic'));
  const tooMuch = (!revised && inputTokens(sum) > inputMax) || outputTokens(sum) > (outputMax ?? 0);
  if (tooMuch) expect.fail(`${recorded.id} cut at ${cut}: ${JSON.stringify(sum)}`);
}

const several = new WeakMap<RecordedCase, boolean>();
function isSeveral(recorded: RecordedCase): boolean {
  const known = several.get(recorded);
  if (known !== undefined) return known;
  const found = textOf([recorded.body]).split('"type":"response.created"').length > 2;
  several.set(recorded, found);
  return found;
}
