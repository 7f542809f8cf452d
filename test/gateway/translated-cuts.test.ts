/** Streams of every dialect, cut behind each of their events and told in every other: an error once, a break, no overcount. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough, type Wanted } from '../support/call.ts';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const named = (type: string, more: object = {}): string => `event: ${type}\n${event({ type, ...more })}`;
const INPUT = 50;
const OUTPUT = 9;
const usage = { input_tokens: INPUT, output_tokens: OUTPUT };
const says = (text: string): string =>
  named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } });
const item = { id: 'msg_1', type: 'message', role: 'assistant' };
const at = { item_id: 'msg_1', output_index: 0, content_index: 0 };
const part = (text: string, count: number, more: object = {}): string =>
  event({
    candidates: [{ index: 0, content: { role: 'model', parts: [{ text }] }, ...more }],
    usageMetadata: {
      promptTokenCount: INPUT,
      candidatesTokenCount: count,
      totalTokenCount: INPUT + count,
    },
  });

/** By provider. A chat stream is whole from its reason to stop on, so that, its usage and its end are one piece here. */
const STREAMS: Readonly<Record<string, readonly string[]>> = {
  claude: [
    named('message_start', {
      message: { id: 'msg_1', model: 'claude', usage: { ...usage, output_tokens: 1 } },
    }),
    named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    says('Paid at'),
    says(' the gate.'),
    named('content_block_stop', { index: 0 }),
    named('message_delta', { delta: { stop_reason: 'end_turn' }, usage }),
    named('message_stop'),
  ],
  chatting: [
    delta({ role: 'assistant', content: '' }),
    delta({ content: 'Paid at' }),
    delta({ content: ' the gate.' }),
    event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }) +
      usageChunk(INPUT, OUTPUT) +
      DONE,
  ],
  openai: [
    named('response.created', { response: { id: 'r1', status: 'in_progress', model: 'm', output: [] } }),
    named('response.output_item.added', { output_index: 0, item: { ...item, content: [] } }),
    named('response.content_part.added', { ...at, part: { type: 'output_text', text: '', annotations: [] } }),
    named('response.output_text.delta', { ...at, delta: 'Paid at the gate.' }),
    named('response.completed', {
      response: { id: 'r1', status: 'completed', model: 'm', output: [], usage },
    }),
  ],
  gemini: [part('Paid', 2), part(' at', 4), part(' the gate.', OUTPUT, { finishReason: 'STOP' })],
};

/** Sends the first events; then the connection dies, or merely ends. */
const cut = (events: readonly string[], count: number, dies: boolean): Script => {
  return async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const one of events.slice(0, count)) await new Promise((resolve) => response.write(one, resolve));
    if (dies) response.destroy();
    else response.end();
  };
};
const modelOf = (provider: string, count: number, dies: boolean): string =>
  `${provider}-${count}-${dies ? 'dies' : 'ends'}`;

const CALLERS: Readonly<Record<string, (model: string) => Wanted>> = {
  chat: (model) => ({ path: '/v1/chat/completions', model, stream: true }),
  responses: (model) => ({
    path: '/v1/responses',
    model,
    stream: true,
    more: { input: 'Where?', messages: undefined },
  }),
  messages: (model) => ({ path: '/v1/messages', model, stream: true, more: { max_tokens: 50 } }),
  gemini: (model) => ({
    path: `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
    model,
    more: {
      contents: [{ role: 'user', parts: [{ text: 'Where?' }] }],
      messages: undefined,
      model: undefined,
    },
  }),
};
const OWN: Readonly<Record<string, readonly string[]>> = {
  claude: ['messages'],
  chatting: ['chat'],
  openai: ['chat', 'responses'],
  gemini: ['gemini'],
};
const PAIRS = Object.keys(STREAMS).flatMap((provider) =>
  Object.keys(CALLERS)
    .filter((caller) => !OWN[provider]!.includes(caller))
    .map((caller) => [provider, caller] as const),
);
const END = /\[DONE\]|response\.completed|message_stop|finishReason/;

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  const scripts: Record<string, Script> = {};
  for (const [provider, events] of Object.entries(STREAMS)) {
    for (const count of events.keys()) {
      for (const dies of [true, false]) scripts[modelOf(provider, count, dies)] = cut(events, count, dies);
    }
    scripts[modelOf(provider, events.length, false)] = cut(events, events.length, false);
  }
  upstream = await startScripted(scripts);
  const chat = { base_url: `${upstream.url}/v1`, api_key: 'x' };
  gateway = await startTestGateway({
    providers: {
      openai: chat,
      chatting: { ...chat, type: 'openai-compatible', endpoints: ['chat.completions'] },
      claude: { type: 'anthropic', base_url: upstream.url, api_key: 'x' },
      gemini: { type: 'google', base_url: upstream.url, api_key: 'x' },
    },
    config: { retries: { max: 0 }, breaker: { failures: 1000 } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

it.each(['?alt=sse', ''])('tells a caller of gemini%s all that was said before a break', async (query) => {
  const wanted = CALLERS['gemini']!(`claude/${modelOf('claude', 4, true)}`);
  const { text, broken } = await callThrough(gateway, {
    ...wanted,
    path: wanted.path?.replace('?alt=sse', query) ?? '',
  });
  const said = [...text.matchAll(/"parts":\[\{"text":"([^"]*)"/g)].map(([, words]) => words);
  expect([said.join(''), broken]).toEqual(['Paid at the gate.', true]);
  if (query === '')
    expect(JSON.parse(text)).toMatchObject([{}, {}, {}, { error: { status: 'UNAVAILABLE' } }]);
});

describe.each(PAIRS)('a stream of %s, told to a caller of %s', (provider, caller) => {
  const events = STREAMS[provider]!;
  const ask = (count: number, dies: boolean) =>
    callThrough(gateway, CALLERS[caller]!(`${provider}/${modelOf(provider, count, dies)}`));

  it('is billed as it reports when it is whole', async () => {
    const { text, broken, call } = await ask(events.length, false);
    expect(text).toMatch(END);
    expect(broken).toBe(false);
    expect(call).toMatchObject({ outcome: 'finished', usage_source: 'reported' });
    expect(call.usage).toMatchObject(usage);
  });

  it.each([true, false])(
    'is told as broken behind every event, and never billed more (dies: %s)',
    async (dies) => {
      for (const count of events.keys()) {
        const { status, text, broken, call } = await ask(count, dies);
        const told = text.split(/\n\n+/).filter((one) => /"error":\{|^event: error/.test(one));
        expect([status, broken], `cut behind ${count}`).toEqual(status === 200 ? [200, true] : [502, false]);
        expect(told, `cut behind ${count}`).toHaveLength(1);
        expect(text).not.toMatch(END);
        expect(call.outcome).toBe('upstream_broke');
        expect(call.usage?.['input_tokens'] ?? 0).toBeLessThanOrEqual(INPUT);
        expect(call.usage?.['output_tokens'] ?? 0).toBeLessThanOrEqual(OUTPUT);
      }
    },
  );
});
