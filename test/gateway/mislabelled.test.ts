/** Replies whose content type is not what their body is: the body's first bytes say how they are read. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough, type Wanted } from '../support/call.ts';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const CHAT = JSON.stringify({
  id: 'c1',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2 },
});
const CHAT_EVENTS = delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE;
const USAGE = { input_tokens: 9, output_tokens: 2 };
const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: [{ type: 'text', text: 'Paid.' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: USAGE,
};
const events = (list: readonly { readonly type: string }[]): string =>
  list.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
const MESSAGE_EVENTS = events([
  { type: 'message_start', message: { ...MESSAGE, content: [], stop_reason: null } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Paid.' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: USAGE },
  { type: 'message_stop' },
] as never);
const RESPONSE = {
  id: 'resp_1',
  object: 'response',
  status: 'completed',
  model: 'm',
  output: [],
  usage: { ...USAGE, total_tokens: 11 },
};
const RESPONSE_EVENTS = events([{ type: 'response.completed', response: RESPONSE }] as never);
const GEMINI = JSON.stringify({
  candidates: [{ content: { role: 'model', parts: [{ text: 'Paid.' }] }, finishReason: 'STOP', index: 0 }],
  usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 2, totalTokenCount: 11 },
});

const IMAGE_EVENTS = events([
  { type: 'image_generation.completed', b64_json: 'aGk=', usage: { ...USAGE, total_tokens: 11 } },
] as never);

const BODIES: Readonly<Record<string, string>> = {
  chat: CHAT,
  spaced: `\n  ${CHAT}`,
  'chat-events': CHAT_EVENTS,
  commented: `: hello\n\n${CHAT_EVENTS}`,
  marked: `\uFEFF${CHAT_EVENTS}`,
  message: JSON.stringify(MESSAGE),
  'message-events': MESSAGE_EVENTS,
  response: JSON.stringify(RESPONSE),
  'response-events': RESPONSE_EVENTS,
  gemini: GEMINI,
  'gemini-events': `data: ${GEMINI}\r\n\r\n`,
  'image-events': IMAGE_EVENTS,
  'gemini-array': `[${GEMINI}\n]`,
};
const LABELS = ['application/json', 'text/event-stream', 'text/plain', 'application/octet-stream', undefined];
const slug = (label: string | undefined): string => (label ?? 'nothing').replace('/', '-');

/** `piecewise`: the first byte comes alone. */
const script =
  (body: string, label: string | undefined, piecewise: boolean): Script =>
  async ({ response }) => {
    response.writeHead(200, label === undefined ? {} : { 'content-type': label });
    if (piecewise) {
      response.write(Buffer.from(body).subarray(0, 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    response.end(Buffer.from(body).subarray(piecewise ? 1 : 0));
  };

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  const scripts = Object.entries(BODIES).flatMap(([name, body]) =>
    LABELS.flatMap((label) => [
      [`${name}.as.${slug(label)}`, script(body, label, false)] as const,
      [`${name}.as.${slug(label)}.piecewise`, script(body, label, true)] as const,
    ]),
  );
  upstream = await startScripted(Object.fromEntries(scripts));
  gateway = await startTestGateway({
    providers: {
      chat: { type: 'openai-compatible', base_url: `${upstream.url}/v1` },
      openai: { type: 'openai', base_url: `${upstream.url}/v1`, api_key: 'k' },
      anthropic: { type: 'anthropic', base_url: upstream.url, api_key: 'k' },
      google: { type: 'google', base_url: upstream.url, api_key: 'k' },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

const WHOLE = {
  status: 200,
  broken: false,
  call: { outcome: 'finished', usage_source: 'reported', usage: USAGE },
};
const asked = (name: string): [string][] =>
  LABELS.flatMap((label) => [[`${name}.as.${slug(label)}`], [`${name}.as.${slug(label)}.piecewise`]]);
const messages = (model: string): Wanted => ({
  model: `anthropic/${model}`,
  stream: true,
  path: '/v1/messages',
});
const responses = (model: string): Wanted => ({
  model: `openai/${model}`,
  stream: true,
  path: '/v1/responses',
  more: { input: 'What of the fare?', messages: undefined },
});
const gemini = (model: string, method: string): Wanted => ({
  model,
  path: `/v1beta/models/google%2F${model}:${method}`,
  more: { contents: [{ role: 'user', parts: [{ text: 'What of the fare?' }] }], messages: undefined },
});

describe('a stream is billed by what it tells, whatever its label', () => {
  it.each([...asked('chat-events'), ...asked('commented')])('chat: %s', async (model) => {
    for (const stream of [true, false]) {
      const got = await callThrough(gateway, { model: `chat/${model}`, stream });
      expect(got).toMatchObject(WHOLE);
      const own = model.startsWith('commented') ? BODIES['commented'] : CHAT_EVENTS;
      // What the gateway asked for and the caller did not is withheld.
      expect(got.text).toBe(stream ? own?.replace(usageChunk(9, 2), '') : own);
    }
  });
  it.each(asked('message-events'))('messages: %s', async (model) => {
    const got = await callThrough(gateway, messages(model));
    expect(got).toMatchObject({ ...WHOLE, text: MESSAGE_EVENTS });
  });
  it.each(asked('response-events'))('responses: %s', async (model) => {
    const got = await callThrough(gateway, responses(model));
    expect(got).toMatchObject({ ...WHOLE, text: RESPONSE_EVENTS });
  });
  it.each([...asked('gemini-events'), ...asked('gemini-array')])('Gemini: %s', async (model) => {
    const got = await callThrough(gateway, gemini(model, 'streamGenerateContent'));
    expect(got).toMatchObject({ ...WHOLE, text: BODIES[model.split('.')[0] ?? ''] });
  });
  it.each(asked('image-events'))('images: %s', async (model) => {
    const more = { prompt: 'A fare gate.', messages: undefined };
    const path = '/v1/images/generations';
    const got = await callThrough(gateway, { model: `openai/${model}`, stream: true, path, more });
    expect(got).toMatchObject({ ...WHOLE, text: IMAGE_EVENTS });
  });
  it.each(asked('message-events'))('translated: %s', async (model) => {
    for (const stream of [true, false]) {
      const got = await callThrough(gateway, { model: `anthropic/${model}`, stream });
      expect(got).toMatchObject(WHOLE);
      expect(got.text).toContain('Paid.');
    }
  });
});

describe('a whole reply is billed by what it tells, whatever its label', () => {
  it.each([...asked('chat'), ['spaced.as.text-event-stream'], ['spaced.as.nothing']])(
    'chat: %s',
    async (model) => {
      for (const stream of [true, false]) {
        const got = await callThrough(gateway, { model: `chat/${model}`, stream });
        expect(got).toMatchObject({ ...WHOLE, text: BODIES[model.split('.')[0] ?? ''] });
      }
    },
  );
  it.each(asked('message'))('messages: %s', async (model) => {
    const got = await callThrough(gateway, messages(model));
    expect(got).toMatchObject({ ...WHOLE, text: BODIES['message'] });
  });
  it.each(asked('response'))('responses: %s', async (model) => {
    const got = await callThrough(gateway, responses(model));
    expect(got).toMatchObject({ ...WHOLE, text: BODIES['response'] });
  });
  it.each(asked('gemini'))('Gemini: %s', async (model) => {
    for (const method of ['generateContent', 'streamGenerateContent']) {
      const got = await callThrough(gateway, gemini(model, method));
      expect(got).toMatchObject({ ...WHOLE, text: GEMINI });
    }
  });
  it.each(asked('message'))('translated: %s', async (model) => {
    for (const stream of [true, false]) {
      const got = await callThrough(gateway, { model: `anthropic/${model}`, stream });
      expect(got).toMatchObject(WHOLE);
      expect(got.text).toContain('Paid.');
    }
  });
});

it('a stream behind a byte order mark is read as one', async () => {
  const got = await callThrough(gateway, { model: 'chat/marked.as.application-json', stream: true });
  expect(got).toMatchObject(WHOLE);
});
