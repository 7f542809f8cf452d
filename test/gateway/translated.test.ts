/** What translation owes beside the words: proofs of thought come home, what breaks breaks, and who cannot say a thing is passed over. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Got, callThrough } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

type Body = Readonly<Record<string, unknown>>;

const events = (list: readonly ({ readonly type: string } & Body)[]): string =>
  list.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
const json = (body: unknown): Script => {
  return ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
};

const USAGE = { input_tokens: 10, output_tokens: 5 };
const message = (model: string, content: readonly Body[], stop = 'end_turn'): Body => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model,
  content,
  stop_reason: stop,
  stop_sequence: null,
  usage: USAGE,
});
const THOUGHT = { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' };
const CALL = { type: 'tool_use', id: 'toolu_1', name: 'look', input: { x: 1 } };
const started = {
  type: 'message_start',
  message: { ...message('claude', []), stop_reason: null, usage: USAGE },
};
const text = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } };
const delta = {
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: 'Paid at the gate.' },
};
const ended = [
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: USAGE },
  { type: 'message_stop' },
];
const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded.' } };
const SIGNED = { functionCall: { name: 'look', args: { x: 1 } }, thoughtSignature: 'Z2Vt+/=' };

const SCRIPTS: Readonly<Record<string, Script>> = {
  'claude-thinks': json(message('claude-thinks', [THOUGHT, CALL], 'tool_use')),
  'claude-fails': sse(events([started, text, delta, overloaded])),
  'claude-breaks': sse(events([started, text, delta])),
  'claude-streams': sse(events([started, text, delta, ...ended])),
  'claude-babbles': ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('<html>oops</html>');
  },
  'gemini-3-signs': json({
    candidates: [{ content: { role: 'model', parts: [SIGNED] }, finishReason: 'STOP', index: 0 }],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 },
  }),
  plain: json({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'plain',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Here.' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
  }),
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;

beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  const key = { api_key: '${UPSTREAM_KEY}' };
  gateway = await startTestGateway({
    providers: {
      openai: { ...key, base_url: `${upstream.url}/v1` },
      anthropic: { ...key, base_url: upstream.url },
      google: { ...key, base_url: upstream.url },
      chatting: {
        ...key,
        type: 'openai-compatible',
        base_url: `${upstream.url}/v1`,
        endpoints: ['chat.completions'],
      },
    },
    config: { models: { either: ['anthropic/claude-streams', 'chatting/plain'] } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

const TOOL = { type: 'object', properties: {} };
const USER = { role: 'user', content: 'Look.' };
const parsed = (got: Got): Body => JSON.parse(got.text) as Body;
const sent = (): Body => JSON.parse(upstream.seen.at(-1)?.body ?? '') as Body;

/** One turn that calls and one that answers, in each caller's own dialect; what the first reply gave is given back. */
const LOOPS: Readonly<Record<string, (model: string) => Promise<void>>> = {
  'chat completions': async (model) => {
    const more = { tools: [{ type: 'function', function: { name: 'look', parameters: TOOL } }] };
    const first = parsed(await callThrough(gateway, { model, more: { ...more, messages: [USER] } }));
    const { message: said } = (first['choices'] as { message: { tool_calls: { id: string }[] } }[])[0]!;
    const answer = { role: 'tool', tool_call_id: said.tool_calls[0]!.id, content: 'red' };
    await callThrough(gateway, { model, more: { ...more, messages: [USER, said, answer] } });
  },
  responses: async (model) => {
    const path = '/v1/responses';
    const more = { tools: [{ type: 'function', name: 'look', parameters: TOOL }], messages: undefined };
    const first = parsed(await callThrough(gateway, { model, path, more: { ...more, input: [USER] } }));
    const output = first['output'] as { type: string; call_id: string }[];
    const id = output.find(({ type }) => type === 'function_call')!.call_id;
    const answer = { type: 'function_call_output', call_id: id, output: 'red' };
    await callThrough(gateway, { model, path, more: { ...more, input: [USER, ...output, answer] } });
  },
  messages: async (model) => {
    const path = '/v1/messages';
    const more = { max_tokens: 2000, tools: [{ name: 'look', input_schema: TOOL }] };
    const first = parsed(await callThrough(gateway, { model, path, more: { ...more, messages: [USER] } }));
    const content = first['content'] as { type: string; id: string }[];
    const id = content.find(({ type }) => type === 'tool_use')!.id;
    const answer = { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'red' }] };
    const messages = [USER, { role: 'assistant', content }, answer];
    await callThrough(gateway, { model, path, more: { ...more, messages } });
  },
};

describe.each(Object.keys(LOOPS))('a caller of %s who returns what he was given', (caller) => {
  it("gives Anthropic's thought and its signature back before the call", async () => {
    await LOOPS[caller]!('anthropic/claude-thinks');
    expect(sent()['messages']).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: [THOUGHT, CALL] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1' }] },
    ]);
  });

  it("gives Google's signature back with the call", async () => {
    await LOOPS[caller]!('google/gemini-3-signs');
    expect(sent()['contents']).toMatchObject([
      { role: 'user' },
      { role: 'model', parts: [SIGNED] },
      { role: 'user', parts: [{ functionResponse: { name: 'look', response: { output: 'red' } } }] },
    ]);
  });
});

describe('a translated stream', () => {
  it("ends in the provider's error, in the caller's dialect, and a break", async () => {
    const got = await callThrough(gateway, { model: 'anthropic/claude-fails', stream: true });
    expect(got.text).toContain('Paid at the gate.');
    expect(got.text).toContain('"message":"Overloaded."');
    expect(got.text).not.toContain('[DONE]');
    expect(got.broken).toBe(true);
    expect(got.call).toMatchObject({ usage_source: 'estimated', outcome: 'upstream_broke' });
  });

  it('that lacks its end is broken after an error, and billed what was seen', async () => {
    const path = '/v1/responses';
    const more = { input: 'Where?', messages: undefined };
    const got = await callThrough(gateway, { model: 'anthropic/claude-breaks', stream: true, path, more });
    expect(got.text).toContain('event: error');
    expect(got.text).not.toContain('response.completed');
    expect(got.broken).toBe(true);
    expect(got.call).toMatchObject({ usage_source: 'estimated', outcome: 'upstream_broke' });
  });

  it('is one JSON array for a caller of Gemini who does not ask for events', async () => {
    const more = { contents: [{ role: 'user', parts: [{ text: 'Where?' }] }], messages: undefined };
    const path = '/v1beta/models/anthropic/claude-streams:streamGenerateContent';
    const got = await callThrough(gateway, {
      model: 'claude-streams',
      path,
      more: { ...more, model: undefined },
    });
    expect(got.headers.get('content-type')).toContain('application/json');
    const elements = JSON.parse(got.text) as { candidates: { finishReason?: string }[] }[];
    expect(elements.at(-1)).toMatchObject({
      candidates: [{ finishReason: 'STOP' }],
      usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5 },
    });
    const failing = path.replace('streams', 'fails');
    const broken = await callThrough(gateway, {
      model: 'x',
      path: failing,
      more: { ...more, model: undefined },
    });
    expect((JSON.parse(broken.text) as Body[]).at(-1)).toMatchObject({ error: { message: 'Overloaded.' } });
    expect(broken.broken).toBe(true);
  });
});

describe('a translated reply', () => {
  it('that cannot be read is a 502 in the dialect of the caller', async () => {
    const got = await callThrough(gateway, { model: 'anthropic/claude-babbles' });
    expect(got.status).toBe(502);
    expect(parsed(got)).toMatchObject({ error: { type: expect.any(String), message: expect.any(String) } });
  });
});

describe('who cannot say what is asked', () => {
  it('is passed over for a later target of the alias', async () => {
    const got = await callThrough(gateway, { model: 'either', more: { seed: 7 } });
    expect(got.status).toBe(200);
    expect(got.call.model).toBe('chatting/plain');
    expect(sent()).toMatchObject({ model: 'plain', seed: 7 });
  });

  it('is refused by name where he is the only one, and nobody is asked', async () => {
    const asked = upstream.seen.length;
    const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await gateway.boundKey()}` },
      body: JSON.stringify({ model: 'anthropic/claude-streams', messages: [USER], seed: 7 }),
    });
    expect(reply.status).toBe(400);
    expect(await reply.json()).toMatchObject({ error: { code: 'unsupported_parameter', param: 'seed' } });
    expect(upstream.seen.length).toBe(asked);
  });

  it('is asked in the other of his dialects where that can say it', async () => {
    const more = { max_tokens: 50, stop_sequences: ['.'] };
    const got = await callThrough(gateway, { model: 'openai/plain', path: '/v1/messages', more });
    expect(got.status).toBe(200);
    expect(upstream.seen.at(-1)?.path).toBe('/v1/chat/completions');
    expect(sent()).toMatchObject({ stop: ['.'], max_tokens: 50 });
  });
});
