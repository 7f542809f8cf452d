/**
 * Every recorded chat reply once more, through the whole gateway on real sockets: the caller gets the provider's bytes,
 * and the ledger the usage that the recording is known to mean, however the network cuts it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seeded, textOf } from '../support/chunks.ts';
import { type AdminCall, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { recordedCases, recordingsDirectory, type RecordedCase } from '../support/recordings.ts';
import { eventsOf, isUsageOnly, type Quirks, type ReplayServer, startReplay } from '../support/replay.ts';

const SEED = 20261121;
/** Calls that run at the same time. */
const LANES = 8;
/**
 * One byte at a time goes every reply under 20 kB, which is 936 of 1,004, and some of the rest: a chunk costs some
 * microseconds in each of three HTTP parsers, and the larger ones would make 5 million of them.
 */
const BYTES_MAX = 20_000;
const LARGE_SAMPLE = 4;

const WAYS: Readonly<Record<string, Quirks>> = {
  whole: { chunks: 'whole' },
  random: { chunks: { seed: SEED, lengthMax: 300 } },
  bytes: { chunks: 'bytes' },
};

if (recordingsDirectory === undefined) {
  console.warn('The replay of recorded chat replies is skipped: FAREGATE_RECORDINGS names no directory.');
}

describe.skipIf(recordingsDirectory === undefined)('recorded chat replies on real sockets', () => {
  const cases: RecordedCase[] = [];
  let replay: ReplayServer;
  let gateway: TestGateway;

  beforeAll(async () => {
    replay = await startReplay();
    for await (const recorded of recordedCases((expected) => expected.api === 'openai.chat')) {
      cases.push(recorded);
      replay.add(recorded.id, recorded);
    }
    // Nothing is delivered: this is about the ledger, and each case is a model of its own, so an event pair of its own.
    gateway = await startTestGateway({ providers: providersOf(replay), start: { delivers: false } });
    for (const way of Object.keys(WAYS)) gateway.stripe.addCustomer(`cus_${way}`);
  });
  afterAll(async () => {
    await gateway.close();
    await replay.close();
  });

  it.each(Object.keys(WAYS))(
    'reach the caller as they were, and the ledger as they count: %s',
    async (way) => {
      const chosen = way === 'bytes' ? forBytes(cases) : cases;
      expect(chosen.length).toBeGreaterThan(900);
      const byCall = new Map<string, RecordedCase>();
      const left = chosen.values();
      const lane = async (): Promise<void> => {
        for (const recorded of left) byCall.set(await exchange(gateway, recorded, way), recorded);
      };
      await Promise.all(Array.from({ length: LANES }, lane));
      const calls = await gateway.calls(`cus_${way}`);
      expect(calls).toHaveLength(chosen.length);
      for (const call of calls) {
        const recorded = byCall.get(call.id);
        if (recorded === undefined) throw new Error(`${call.id} is nobody's call`);
        checkCall(call, recorded);
      }
    },
  );
});

/** Two providers for each way: OpenAI's own type, and everyone else's. */
function providersOf(replay: ReplayServer): Record<string, unknown> {
  const providers: Record<string, unknown> = {};
  for (const [way, quirks] of Object.entries(WAYS)) {
    for (const type of ['openai', 'openai-compatible']) {
      providers[`${type}-${way}`] = { type, base_url: replay.baseUrl(quirks) };
    }
  }
  return providers;
}

function forBytes(cases: readonly RecordedCase[]): readonly RecordedCase[] {
  const random = seeded(SEED);
  const large = cases.filter(({ body }) => body.length >= BYTES_MAX);
  const sample = new Set(
    Array.from(
      { length: Math.min(LARGE_SAMPLE, large.length) },
      () => large[Math.floor(random() * large.length)],
    ),
  );
  return cases.filter((recorded) => recorded.body.length < BYTES_MAX || sample.has(recorded));
}

/** Makes the recorded call and checks what comes back; answers the call's id. */
async function exchange(gateway: TestGateway, recorded: RecordedCase, way: string): Promise<string> {
  const type = recorded.provider === 'openai' ? 'openai' : 'openai-compatible';
  const request = requestOf(recorded, `${type}-${way}/${recorded.id}`);
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': `cus_${way}` },
    body: JSON.stringify(request),
  });
  const { body, broken } = await bodyOf(reply);
  expect(reply.status, recorded.id).toBe(recorded.status);
  expect(reply.headers.get('content-type'), recorded.id).toBe(recorded.headers['content-type']);
  const due = dueBody(recorded, request.stream_options?.include_usage === true);
  if (body !== due) expect(body, recorded.id).toBe(due);
  // A stream whose last word is an error, without an end marker, is never ended cleanly.
  if (broken) expect(due, recorded.id).toMatch(/"error":(?!null).*\n\n$/);
  return reply.headers.get('x-request-id') ?? '';
}

async function bodyOf(reply: Response): Promise<{ readonly body: string; readonly broken: boolean }> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of reply.body ?? []) pieces.push(piece);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { body: textOf(pieces), broken: true };
  }
  return { body: textOf(pieces), broken: false };
}

interface ChatBody {
  readonly model: string;
  readonly messages?: readonly unknown[];
  readonly stream_options?: { readonly include_usage?: boolean } | null;
}

function requestOf(recorded: RecordedCase, model: string): ChatBody {
  const given = typeof recorded.request === 'object' ? recorded.request : null;
  const messages = [{ role: 'user', content: 'A request that was not recorded.' }];
  return { messages, ...given, model, ...(recorded.stream ? { stream: true } : {}) };
}

/** The recorded body, less the usage chunk where the gateway asked for it and the caller did not. */
function dueBody(recorded: RecordedCase, asked: boolean): string {
  const text = textOf([recorded.body]);
  if (!recorded.stream || asked || recorded.status !== 200) return text;
  return eventsOf(text)
    .filter((event) => !isUsageOnly(event))
    .join('');
}

function checkCall(call: AdminCall, { id, expected }: RecordedCase): void {
  const told = { state: call.state, status: call.status };
  if (JSON.stringify(told) !== JSON.stringify({ state: 'settled', status: expected.status })) {
    expect(told, id).toEqual({ state: 'settled', status: expected.status });
  }
  const pair = { input: call.usage?.['input_tokens'] ?? 0, output: call.usage?.['output_tokens'] ?? 0 };
  if (!expected.metered) {
    // What failed costs nothing; what was served without a count is estimated, and that is not zero.
    const failed = expected.status >= 400 || expected.error;
    expect(call.usage_source, id).toBe(failed ? 'none' : 'estimated');
    if (failed) expect(pair, id).toEqual({ input: 0, output: 0 });
    else expect(pair.output, id).toBeGreaterThan(0);
    return;
  }
  expect(call.usage_source, id).toBe('reported');
  expect(call.response_id, id).toBe(expected.response_id);
  const accepted = expected.accept.map(({ input_tokens: input, output_tokens: output }) => ({
    input,
    output,
  }));
  const main = [{ input: expected.input_tokens, output: expected.output_tokens }];
  expect(expected.ambiguous ? accepted : main, id).toContainEqual(pair);
}
