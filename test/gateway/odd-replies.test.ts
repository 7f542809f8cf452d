/** Successes that are none: no body, or one that cannot be read. */
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough } from '../support/call.ts';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const BODY = JSON.stringify({
  id: 'c1',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2 },
});
const STREAM = delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE;

/** Both kinds of reply, as they are asked for. */
const encoded =
  (encoding: string, encode: (text: string) => Uint8Array): Script =>
  ({ response, body }) => {
    const streams = body.includes('"stream":true');
    const type = streams ? 'text/event-stream' : 'application/json';
    response.writeHead(200, { 'content-type': type, 'content-encoding': encoding });
    response.end(encode(streams ? STREAM : BODY));
  };
/** Errors that come with a success, under another name than `error`. */
const ERRORS: Readonly<Record<string, object>> = {
  object: { object: 'error', message: 'Bad', type: 'BadRequestError', code: 400 },
  detail: { detail: 'Bad' },
  message: { message: 'Bad' },
  base_resp: { id: 'x', choices: null, base_resp: { status_code: 1008, status_msg: 'Bad' } },
};
const failing =
  (error: object, done = ''): Script =>
  ({ response, body }) => {
    const streams = body.includes('"stream":true');
    response.writeHead(200, { 'content-type': streams ? 'text/event-stream' : 'application/json' });
    const text = JSON.stringify(error);
    response.end(streams ? `data: ${text}\n\n${done}` : text);
  };
const strict: Script = (exchange) => {
  if (!exchange.body.includes('stream_options')) return encoded('identity', Buffer.from)(exchange);
  const detail = [{ loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' }];
  exchange.response.writeHead(422, { 'content-type': 'application/json' });
  exchange.response.end(JSON.stringify({ detail }));
};
/** Takes the option, and refuses another member beside it. */
const picky: Script = (exchange) => {
  if (!exchange.body.includes('bogus')) return encoded('identity', Buffer.from)(exchange);
  exchange.response.writeHead(400, { 'content-type': 'application/json' });
  exchange.response.end(
    JSON.stringify({ error: { message: "Unknown parameter: 'stream_options.bogus'.", type: 'x' } }),
  );
};
const status =
  (code: number): Script =>
  ({ response }) =>
    void response.writeHead(code, { 'content-type': 'application/json' }).end();

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted({
    'no-content': status(204),
    reset: status(205),
    empty: status(200),
    identity: encoded('identity', (text) => Buffer.from(text)),
    GZIP: encoded('GZIP', gzipSync),
    br: encoded('br', brotliCompressSync),
    compress: encoded('compress', (text) => Buffer.from(text)),
    twice: encoded('gzip, br', (text) => brotliCompressSync(gzipSync(text))),
    strict,
    stricter: strict,
    strictest: strict,
    picky,
    ...Object.fromEntries(Object.entries(ERRORS).map(([name, error]) => [name, failing(error)])),
    'object-done': failing(ERRORS['object']!, DONE),
    lies: encoded('gzip', (text) => Buffer.from(text)),
  });
  gateway = await startTestGateway({
    providers: { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

describe('a success without a body', () => {
  it.each(['no-content', 'reset', 'empty'])(
    'is an error of the provider and costs nothing: %s',
    async (model) => {
      const got = await callThrough(gateway, { model: `odd/${model}` });
      expect(got).toMatchObject({ status: 502, broken: false });
      expect(JSON.parse(got.text)).toHaveProperty('error.code', 'upstream_error');
      expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
    },
  );

  it('is one as well where a stream was asked for', async () => {
    const got = await callThrough(gateway, { model: 'odd/no-content', stream: true });
    expect(got).toMatchObject({ status: 502, call: { usage_source: 'none', events: [] } });
  });
});

describe('an encoded reply', () => {
  it.each(['identity', 'GZIP', 'br'])('is decoded and counted, plain and streamed: %s', async (model) => {
    const plain = await callThrough(gateway, { model: `odd/${model}` });
    expect(plain).toMatchObject({ status: 200, text: BODY, call: { usage_source: 'reported' } });
    const streamed = await callThrough(gateway, { model: `odd/${model}`, stream: true });
    expect(streamed).toMatchObject({ status: 200, broken: false, call: { usage_source: 'reported' } });
    expect(streamed.text).toBe(delta({ content: 'Paid.' }) + DONE);
  });

  it.each(['compress', 'twice'])(
    'that cannot be decoded is a 502, never passed on uncounted: %s',
    async (model) => {
      for (const stream of [false, true]) {
        const got = await callThrough(gateway, { model: `odd/${model}`, stream });
        expect(got).toMatchObject({ status: 502, broken: false });
        expect(got.text).toContain('which cannot be read');
        // The provider did answer: what it read is charged, by our own count.
        expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
        expect(got.call.usage?.['input_tokens']).toBeGreaterThan(0);
      }
    },
  );

  it('that is not what it says is a 502', async () => {
    const got = await callThrough(gateway, { model: 'odd/lies' });
    expect(got).toMatchObject({ status: 502, call: { outcome: 'upstream_broke' } });
  });

  it('is refused on a route that bills nothing, too', async () => {
    const reply = await fetch(`${gateway.url}/v1/moderations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SERVICE_KEY}` },
      body: JSON.stringify({ model: 'odd/compress', input: 'The fare?' }),
    });
    expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([502, 'upstream_error']);
    await reply.arrayBuffer();
  });
});

describe('an error that comes with a success', () => {
  it.each(Object.keys(ERRORS))('costs nothing, whatever it is called: %s', async (model) => {
    const plain = await callThrough(gateway, { model: `odd/${model}` });
    expect(plain).toMatchObject({ status: 200, text: JSON.stringify(ERRORS[model]), broken: false });
    expect(plain.call).toMatchObject({ usage_source: 'none', events: [] });
    const streamed = await callThrough(gateway, { model: `odd/${model}`, stream: true });
    expect(streamed).toMatchObject({ text: `data: ${JSON.stringify(ERRORS[model])}\n\n`, broken: true });
    expect(streamed.call).toMatchObject({ usage_source: 'none', events: [] });
  });

  it('costs nothing before an end marker either', async () => {
    const { call } = await callThrough(gateway, { model: 'odd/object-done', stream: true });
    expect(call).toMatchObject({ usage_source: 'none', events: [] });
  });

  it.each(['detail', 'base_resp'])('is told as one in another dialect: %s', async (model) => {
    const got = await callThrough(gateway, {
      model: `odd/${model}`,
      path: '/v1/messages',
      more: { max_tokens: 9 },
    });
    expect(got.status).toBeGreaterThanOrEqual(400);
    expect(got.text).toContain('Bad');
    expect(got.call).toMatchObject({ usage_source: 'none', events: [] });
  });

  it('is told as one in a stream of another dialect, though an end marker follows', async () => {
    const more = { max_tokens: 9 };
    const got = await callThrough(gateway, {
      model: 'odd/object-done',
      path: '/v1/messages',
      stream: true,
      more,
    });
    expect(got.text).toContain('Bad');
    expect(got.text).not.toContain('message_stop');
    expect(got.call).toMatchObject({ usage_source: 'none', events: [] });
  });
});

it.each([{}, { stream_options: { include_usage: true } }])(
  'a provider that refuses the usage option with a 422, as FastAPI does, is asked again without it: %j',
  async (more) => {
    // What a provider refused is remembered, by model.
    const model = 'stream_options' in more ? 'odd/stricter' : 'odd/strict';
    const got = await callThrough(gateway, { model, stream: true, more });
    expect(got).toMatchObject({ status: 200, broken: false });
    expect(got.text).toContain('Paid.');
  },
);

it('one caller’s own mistake beside the usage option leaves the calls of others asked for usage', async () => {
  const ask = { model: 'odd/picky', stream: true };
  const wrong = await callThrough(gateway, { ...ask, more: { stream_options: { bogus: 1 } } });
  expect(wrong.status).toBe(400);
  expect(wrong.text).toContain('stream_options.bogus');
  await callThrough(gateway, ask);
  expect(upstream.seen.at(-1)!.body).toContain('"include_usage":true');
});

it('a provider that answered once it was not asked for usage is not asked for it again', async () => {
  const ask = { model: 'odd/strictest', stream: true };
  await callThrough(gateway, ask);
  const before = upstream.seen.length;
  expect(await callThrough(gateway, ask)).toMatchObject({ status: 200, broken: false });
  expect(upstream.seen.slice(before).map(({ body }) => body.includes('stream_options'))).toEqual([false]);
});

it('a provider is asked for replies that can be read, and never sees the id that a caller gave his request', async () => {
  await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'x-stripe-customer-id': 'cus_demo',
      'accept-encoding': 'compress',
      'x-request-id': 'of-the-caller',
      'x-client-request-id': 'for-the-provider',
    },
    body: JSON.stringify({ model: 'odd/identity', messages: [] }),
  }).then((reply) => reply.arrayBuffer());
  const { headers } = upstream.seen.at(-1)!;
  expect(headers['accept-encoding']).toBe('identity');
  expect(headers['x-request-id']).toBeUndefined();
  expect(headers['x-client-request-id']).toBe('for-the-provider');
});
