/** Whether a reply is whole: by what it says, not by how its connection ended. And what an error in it may not tell. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough, type Wanted } from '../support/call.ts';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const KEY_GIVEN = 'sk-upstream-3d1f/secret';
const CHAT = JSON.stringify({
  id: 'c1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
});
const PART = JSON.stringify({
  candidates: [{ content: { role: 'model', parts: [{ text: 'Paid.' }] }, finishReason: 'STOP', index: 0 }],
  usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 2, totalTokenCount: 11 },
});
const PAGE = `<!doctype html><html><body>${'<p>502 Bad Gateway</p>\n'.repeat(50)}</body></html>`;
const COMMENT = ': PROCESSING\n\n';
const CHAT_EVENTS = delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE;
const told = { error: { message: `Wrong key ${KEY_GIVEN}.`, code: 401 } };
const ERROR = JSON.stringify(told);

/** The body, and then the connection breaks: a chunked reply without its last chunk. */
const breaking =
  (body: string, type = 'application/json'): Script =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': type });
    response.write(body, () => response.destroy());
  };
const ending =
  (body: string, type = 'application/json'): Script =>
  ({ response }) =>
    void response.writeHead(200, { 'content-type': type }).end(body);

const SCRIPTS: Readonly<Record<string, Script>> = {
  good: (exchange) =>
    exchange.body.includes('"stream":true') ? sse(CHAT_EVENTS)(exchange) : ending(CHAT)(exchange),
  'whole-and-breaks': breaking(CHAT),
  'half-and-breaks': breaking(CHAT.slice(0, -20)),
  'half-and-ends': ending(CHAT.slice(0, -20)),
  page: ending(PAGE, 'text/html'),
  'page-as-events': ending(PAGE, 'text/event-stream'),
  'comments-alone': sse(COMMENT.repeat(3)),
  'comment-then-error': sse(COMMENT + event({ error: { message: 'Overloaded.' } })),
  'comment-then-break': breaking(COMMENT, 'text/event-stream'),
  'no-content': ({ response }) => void response.writeHead(204).end(),
  'gemini-whole': breaking(`[${PART}\n]`),
  'gemini-half': breaking(`[${PART}`),
  'tells-first': sse(event(told)),
  'tells-later': sse(delta({ content: 'Paid.' }) + event(told)),
  'tells-json': ending(ERROR),
  'tells-escaped': ending(ERROR.replaceAll('-', String.raw`\u002D`).replaceAll('/', String.raw`\/`)),
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  const chat = { type: 'openai-compatible', base_url: `${upstream.url}/v1`, api_key: '${UPSTREAM_KEY}' };
  gateway = await startTestGateway({
    providers: {
      chat,
      only: { ...chat, endpoints: ['chat.completions'] },
      short: { ...chat, api_key: 'k' },
      google: { type: 'google', base_url: upstream.url, api_key: '${UPSTREAM_KEY}' },
    },
    env: { UPSTREAM_KEY: KEY_GIVEN },
    config: {
      models: Object.fromEntries(
        Object.keys(SCRIPTS).map((name) => [`or-${name}`, [`chat/${name}`, 'chat/good']]),
      ),
      retries: { max: 0 },
      breaker: { failures: 1_000 },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

const REPORTED = { usage_source: 'reported', usage: { input_tokens: 9, output_tokens: 2 } };
const messages = (model: string, stream = false): Wanted => ({
  model,
  stream,
  path: '/v1/messages',
  more: { max_tokens: 50 },
});
const gemini = (model: string): Wanted => ({
  model,
  path: `/v1beta/models/google%2F${model}:streamGenerateContent`,
  more: { contents: [{ role: 'user', parts: [{ text: 'What of the fare?' }] }], messages: undefined },
});

describe('a whole reply whose connection breaks behind it', () => {
  it('is the caller’s, and is billed as reported', async () => {
    const got = await callThrough(gateway, { model: 'chat/whole-and-breaks' });
    expect(got).toMatchObject({ status: 200, broken: false, text: CHAT });
    expect(got.call).toMatchObject({ outcome: 'finished', ...REPORTED });
  });

  it('is told in another dialect, too', async () => {
    const got = await callThrough(gateway, messages('only/whole-and-breaks'));
    expect(got).toMatchObject({ status: 200, broken: false });
    expect(got.text).toContain('Paid.');
    expect(got.call).toMatchObject({ outcome: 'finished', ...REPORTED });
  });

  it('is one that Gemini writes as an array', async () => {
    const got = await callThrough(gateway, gemini('gemini-whole'));
    expect(got).toMatchObject({ status: 200, broken: false, text: `[${PART}\n]` });
    expect(got.call).toMatchObject({ outcome: 'finished', ...REPORTED });
    const half = await callThrough(gateway, gemini('gemini-half'));
    expect(half).toMatchObject({ status: 502, call: { outcome: 'upstream_broke' } });
  });
});

describe('a success that is not whole', () => {
  const plain = ['half-and-breaks', 'half-and-ends', 'page', 'no-content'];
  const streamed = ['page', 'page-as-events', 'comments-alone', 'comment-then-break', 'no-content'];
  it.each([...plain.map((name) => [name, false]), ...streamed.map((name) => [name, true])] as [
    string,
    boolean,
  ][])('is an error of the provider: %s, streamed: %s', async (name, stream) => {
    const got = await callThrough(gateway, { model: `chat/${name}`, stream });
    expect(got).toMatchObject({ status: 502, broken: false });
    expect(got.headers.get('x-faregate-error')).toBe('upstream_error');
    expect(JSON.parse(got.text)).toHaveProperty('error.code', 'upstream_error');
    expect(got.call.outcome).toBe('upstream_broke');
  });

  it.each([
    ...plain.map((name) => [name, false]),
    ...streamed.map((name) => [name, true]),
    ['comment-then-error', true],
  ] as [string, boolean][])('is made up for by the next target: %s, streamed: %s', async (name, stream) => {
    const got = await callThrough(gateway, { model: `or-${name}`, stream });
    expect(got).toMatchObject({ status: 200, broken: false });
    expect(got.text).toContain('Paid.');
    expect(got.call).toMatchObject({ outcome: 'finished', model: 'chat/good', ...REPORTED });
  });

  it.each(['half-and-ends', 'page'])('is one for a caller of another dialect: %s', async (name) => {
    const got = await callThrough(gateway, messages(`only/${name}`));
    expect(got).toMatchObject({ status: 502, call: { outcome: 'upstream_broke' } });
    expect(got.headers.get('x-faregate-error')).toBe('upstream_error');
  });
});

describe("the operator's credential", () => {
  it.each([
    ['a stream’s first word', { model: 'chat/tells-first', stream: true }],
    ['a stream’s later word', { model: 'chat/tells-later', stream: true }],
    ['a success', { model: 'chat/tells-json' }],
    ['a success, escaped', { model: 'chat/tells-escaped' }],
    ['a stream in another dialect', messages('only/tells-first', true)],
    ['a later word in another dialect', messages('only/tells-later', true)],
    ['a success in another dialect', messages('only/tells-json')],
    ['a stream of Gemini’s', gemini('tells-json')],
  ] as const)('is not in %s', async (_where, wanted) => {
    const got = await callThrough(gateway, wanted);
    expect(got.text).toContain('Wrong key [redacted].');
    expect(got.text).not.toContain('secret');
  });

  it('is not in a reply that costs nothing', async () => {
    const reply = await fetch(`${gateway.url}/v1/moderations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SERVICE_KEY}` },
      body: JSON.stringify({ model: 'chat/tells-json', input: 'The fare?' }),
    });
    expect(await reply.text()).toContain('Wrong key [redacted].');
  });

  it('is no word of a letter, which any other may have', async () => {
    const got = await callThrough(gateway, { model: 'short/tells-json' });
    expect(got.text).toBe(ERROR);
  });
});
