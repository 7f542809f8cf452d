/** A translated stream that fails on its way, though its provider goes on to its end marker: an error once, and a break. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough, type Wanted } from '../support/call.ts';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { KEY_GIVEN } from '../support/upstream.ts';
import { type Exchange, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const named = (type: string, more: object = {}): string => `event: ${type}\n${event({ type, ...more })}`;
const USAGE = { input_tokens: 9, output_tokens: 2 };
const STARTED = named('message_start', { message: { id: 'msg_1', model: 'claude', usage: USAGE } });
const OPENED = named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
const SPOKEN = named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Paid.' } });
const ENDED =
  named('content_block_stop', { index: 0 }) +
  named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: USAGE }) +
  named('message_stop');
const NO_JSON = 'data: not json\n\n';
const OVERLOADED = named('error', { error: { type: 'overloaded_error', message: 'Busy' } });
const gemini = (text: string, more: object = {}): string =>
  event({
    candidates: [{ index: 0, content: { role: 'model', parts: [{ text }] }, ...more }],
    usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 2, totalTokenCount: 11 },
  });
const call = (args: string): string =>
  delta({
    tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: args } }],
  });
const STOP = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const CHAT_END = STOP + usageChunk(9, 2) + DONE;
const STOPPED = { index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' };
const COUNTED = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };
const PICTURE = delta({ images: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }] });

const SCRIPTS = {
  'claude-garbled': sse(STARTED + OPENED + NO_JSON + SPOKEN + ENDED),
  'claude-fails-and-stops': sse(STARTED + OPENED + SPOKEN + OVERLOADED + named('message_stop')),
  'gemini-garbled': sse(gemini('Paid') + NO_JSON + gemini('.', { finishReason: 'STOP' })),
  'gpt-garbled': sse(delta({ content: 'Paid.' }) + NO_JSON + CHAT_END),
  'gpt-errs-and-is-done': sse(delta({ content: 'Paid.' }) + event({ error: { message: 'Oh' } }) + CHAT_END),
  'gpt-contradicts': sse(call('{}') + delta({ content: 'So.' }) + call('{"more":1}') + CHAT_END),
  'gpt-whole': ({ response }: Exchange): void => {
    const image_url = { url: 'data:image/png;base64,AAAA' };
    const message = { role: 'assistant', content: 'So.', images: [{ type: 'image_url', image_url }] };
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    const usage = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ id: 'c1', model: 'gpt', choices, usage }));
  },
  'gpt-poor': ({ response }: Exchange): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { message: `Broke: ${KEY_GIVEN}`, code: 402 } }));
  },
  'gpt-sound': ({ response }: Exchange): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ id: 'c1', model: 'gpt', choices: [STOPPED], usage: COUNTED }));
  },
  'gpt-draws': sse(delta({ content: 'Paid.' }) + PICTURE + CHAT_END),
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  const chat = { type: 'openai-compatible', endpoints: ['chat.completions'] };
  gateway = await startTestGateway({
    providers: {
      claude: { type: 'anthropic', base_url: upstream.url, api_key: 'x' },
      gemini: { type: 'google', base_url: upstream.url, api_key: 'x' },
      gpt: { ...chat, base_url: `${upstream.url}/v1`, api_key: '${UPSTREAM_KEY}' },
    },
    config: { models: { either: ['gpt/gpt-poor', 'gpt/gpt-sound'] }, retries: { max: 0 } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

const PARTS = [{ role: 'user', parts: [{ text: 'What of the fare?' }] }];
const CALLERS: Readonly<Record<string, (model: string) => Wanted>> = {
  chat: (model) => ({ path: '/v1/chat/completions', model }),
  responses: (model) => ({
    path: '/v1/responses',
    model,
    more: { input: 'What of the fare?', messages: undefined },
  }),
  messages: (model) => ({ path: '/v1/messages', model, more: { max_tokens: 50 } }),
  gemini: (model) => ({
    path: `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
    model,
    more: { contents: PARTS, messages: undefined, model: undefined, stream: undefined },
  }),
};
const OWN: Readonly<Record<string, string>> = { gpt: 'chat', claude: 'messages', gemini: 'gemini' };
const CASES = Object.keys(SCRIPTS)
  .filter((script) => !['gpt-whole', 'gpt-poor', 'gpt-sound'].includes(script))
  .flatMap((script) =>
    Object.keys(CALLERS)
      .filter((caller) => OWN[script.split('-')[0]!] !== caller)
      // A picture is told to the others.
      .filter((caller) => script !== 'gpt-draws' || caller === 'messages')
      .map((caller) => [script, caller] as const),
  );

describe('a translated stream that fails before its end marker', () => {
  it.each(CASES)(
    '%s: tells a caller of %s so once, never ends cleanly, and is billed',
    async (script, caller) => {
      const model = `${script.split('-')[0]}/${script}`;
      const got = await callThrough(gateway, { stream: true, ...CALLERS[caller]!(model) });
      const told = got.text.split(/\n\n+/).filter((one) => /"error":\{"|^event: error/.test(one));
      // Responses tell an error and the response that failed by it.
      expect(told).toHaveLength(caller === 'responses' ? 2 : 1);
      expect(got.text).not.toMatch(/\[DONE\]|response\.completed|message_stop|finishReason/);
      expect(got.broken).toBe(true);
      expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage: { input_tokens: 9 } });
    },
  );
});

describe('a whole reply that the dialect has no word for', () => {
  // A provider that streams unasked is heard to its end, too.
  it.each(['gpt-whole', 'gpt-draws'])(
    'is an error with the status of one, and billed: %s',
    async (script) => {
      const got = await callThrough(gateway, CALLERS['messages']!(`gpt/${script}`));
      expect(got.status).toBe(502);
      const error = { type: 'api_error', message: expect.stringContaining('picture') };
      expect(JSON.parse(got.text)).toMatchObject({ type: 'error', error });
      expect(got.headers.get('x-faregate-error')).toBe('upstream_error');
      expect(got.call).toMatchObject({
        outcome: 'upstream_broke',
        usage: { input_tokens: 9, output_tokens: 2 },
      });
    },
  );
});

describe('a success that is an error and nothing else', () => {
  it.each(Object.keys(CALLERS))('is made up for by the next target, for a caller of %s', async (caller) => {
    const asked = CALLERS[caller]!('either');
    const path = asked.path?.replace('streamGenerateContent?alt=sse', 'generateContent');
    const got = await callThrough(gateway, { ...asked, ...(path === undefined ? {} : { path }) });
    expect(got.status).toBe(200);
    expect(got.call).toMatchObject({ model: 'gpt/gpt-sound', usage: { input_tokens: 9, output_tokens: 2 } });
  });

  it.each(['responses', 'messages', 'gemini'])(
    'is one JSON value with the status of an error, though a caller of %s asked for a stream',
    async (caller) => {
      const got = await callThrough(gateway, { stream: true, ...CALLERS[caller]!('gpt/gpt-poor') });
      expect(got.status).toBe(402);
      expect(got.headers.get('content-type')).toContain('application/json');
      expect(JSON.parse(got.text)).toMatchObject({ error: { message: 'Broke: [redacted]' } });
      expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
    },
  );

  it("passes unchanged where it is the caller's own dialect and the last word, and costs nothing", async () => {
    const got = await callThrough(gateway, CALLERS['chat']!('gpt/gpt-poor'));
    expect(got.status).toBe(200);
    expect(JSON.parse(got.text)).toMatchObject({ error: { message: 'Broke: [redacted]' } });
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
  });
});
