/**
 * Every recorded reply of the other dialects through the whole gateway on real sockets, as recordings-replay.test.ts has
 * it for chat completions: the caller gets the provider's bytes, the ledger the usage that they are known to mean.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AdminCall, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { recordedCases, type RecordedCase, recordingsDirectory } from '../support/recordings.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

/** Calls that run at the same time. */
const LANES = 6;
/** Each piece is a chunk of the HTTP body, and ends where it happens to. Bytes. */
const PIECE_BYTES = 777;

interface Way {
  readonly provider: string;
  readonly path: string;
  readonly atLeast: number;
}
/** `MODEL` stands for the model where the path has it. */
const WAYS: Readonly<Record<string, Way>> = {
  'anthropic.messages': { provider: 'anthropic', path: '/v1/messages', atLeast: 200 },
  'openai.responses': { provider: 'openai', path: '/v1/responses', atLeast: 350 },
  'openai.completions': { provider: 'openai', path: '/v1/completions', atLeast: 70 },
  'openai.embeddings': { provider: 'openai', path: '/v1/embeddings', atLeast: 100 },
  'gemini.generateContent': {
    provider: 'google',
    path: '/v1beta/models/google/MODEL:generateContent',
    atLeast: 200,
  },
  'gemini.streamGenerateContent': {
    provider: 'google',
    path: '/v1beta/models/google/MODEL:streamGenerateContent',
    atLeast: 60,
  },
  'gemini.embedContent': {
    provider: 'google',
    path: '/v1beta/models/google/MODEL:embedContent',
    atLeast: 10,
  },
  'gemini.interactions': { provider: 'google', path: '/v1beta/interactions', atLeast: 15 },
};

if (recordingsDirectory === undefined) {
  console.warn('The replay of recorded replies is skipped: FAREGATE_RECORDINGS names no directory.');
}

describe.skipIf(recordingsDirectory === undefined)(
  'recorded replies of every dialect on real sockets',
  () => {
    const cases = new Map<string, RecordedCase>();
    let upstream: ScriptedUpstream;
    let gateway: TestGateway;

    beforeAll(async () => {
      const scripts: Record<string, Script> = {};
      for await (const recorded of recordedCases(({ api }) => api in WAYS)) {
        const model = `m${cases.size}`;
        cases.set(model, recorded);
        scripts[model] = replaying(recorded);
      }
      upstream = await startScripted(scripts);
      const key = { api_key: '${UPSTREAM_KEY}' };
      gateway = await startTestGateway({
        providers: {
          openai: { ...key, base_url: `${upstream.url}/v1` },
          anthropic: { ...key, base_url: upstream.url },
          google: { ...key, base_url: upstream.url },
        },
        config: { retries: { max: 0 }, breaker: { failures: 1000 } },
        start: { delivers: false },
      });
      for (const api of Object.keys(WAYS)) gateway.stripe.addCustomer(customerOf(api));
    });
    afterAll(async () => {
      await gateway.close();
      await upstream.close();
    });

    it.each(Object.keys(WAYS))(
      'reach the caller as they were, and the ledger as they count: %s',
      async (api) => {
        const chosen = [...cases].filter(([, { expected }]) => expected.api === api);
        expect(chosen.length).toBeGreaterThanOrEqual(WAYS[api]!.atLeast);
        const byCall = new Map<string, RecordedCase>();
        const left = chosen.values();
        const lane = async (): Promise<void> => {
          for (const [model, recorded] of left)
            byCall.set(await exchange(gateway, model, recorded), recorded);
        };
        await Promise.all(Array.from({ length: LANES }, lane));
        const calls = await gateway.calls(customerOf(api));
        expect(calls).toHaveLength(chosen.length);
        for (const call of calls) checkCall(call, byCall.get(call.id)!);
      },
    );
  },
);

const customerOf = (api: string): string => `cus_${api.replace('.', '_')}`;

const replaying =
  ({ status, headers, body }: RecordedCase): Script =>
  ({ response }) => {
    response.writeHead(status, { 'content-type': headers['content-type'] ?? 'application/json' });
    for (let at = 0; at < body.length; at += PIECE_BYTES) response.write(body.subarray(at, at + PIECE_BYTES));
    response.end();
  };

/** Makes the call and checks what comes back; answers the call's id. */
async function exchange(gateway: TestGateway, model: string, recorded: RecordedCase): Promise<string> {
  const { provider, path } = WAYS[recorded.expected.api]!;
  const inPath = path.includes('MODEL');
  const alt = inPath && /event-stream/.test(recorded.headers['content-type'] ?? '') ? '?alt=sse' : '';
  // Asked for here, so that nothing is withheld.
  const stream = recorded.stream ? { stream: true, stream_options: { include_usage: true } } : {};
  const reply = await fetch(`${gateway.url}${path.replace('MODEL', model)}${alt}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'x-stripe-customer-id': customerOf(recorded.expected.api),
    },
    body: JSON.stringify(inPath ? {} : { model: `${provider}/${model}`, input: 'Where?', ...stream }),
  });
  const pieces: Uint8Array[] = [];
  let broken = false;
  try {
    for await (const piece of reply.body ?? []) pieces.push(piece);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    broken = true;
  }
  const text = Buffer.concat(pieces).toString();
  const due = Buffer.from(recorded.body).toString();
  expect(reply.status, recorded.id).toBe(recorded.status);
  // A stream that lacks its end is told as broken, behind all that came.
  if (broken ? !text.startsWith(due) : text !== due) expect(text, recorded.id).toBe(due);
  return reply.headers.get('x-request-id') ?? '';
}

function checkCall(call: AdminCall, { id, expected }: RecordedCase): void {
  expect({ state: call.state, status: call.status }, id).toEqual({
    state: 'settled',
    status: expected.status,
  });
  const input_tokens = call.usage?.['input_tokens'] ?? 0;
  const output_tokens = call.usage?.['output_tokens'] ?? 0;
  if (expected.metered) {
    const accepted = expected.accept.map((pair) => ({
      input_tokens: pair.input_tokens ?? 0,
      output_tokens: pair.output_tokens ?? 0,
    }));
    expect(call.usage_source, id).toBe('reported');
    expect(accepted, id).toContainEqual({ input_tokens, output_tokens });
  } else if (expected.status >= 400 || expected.error) {
    expect(call.usage_source, id).toBe('none');
  }
}
