/** What only a raw connection can send: headers given twice, targets with a host, and requests that stop half-way. */
import { connect } from 'node:net';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startGateway } from '../../src/node.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';
import { SERVICE_KEY, type Start, startWorld, type World } from '../contract/http-world.ts';
import { settingsOf } from '../support/settings.ts';
import { temporaryDirectory } from '../support/sqlite.ts';

let url: URL;
const start: Start = async (env, yaml) => {
  const directory = temporaryDirectory();
  const file = join(directory, 'ledger.db');
  const settings = settingsOf({ ...env, PORT: '0', DATABASE_URL: `sqlite:${file}` }, yaml);
  const runtime = createNodeRuntime({ json: true, write: () => undefined });
  const running = await startGateway(settings, runtime, { headersMs: 300 });
  url = new URL(running.url);
  return {
    fetch: (path, init) => fetch(new URL(path, running.url), init),
    async close() {
      await running.close();
      rmSync(directory, { recursive: true });
    },
  };
};

const BODY = '{"model":"acme/plain","messages":[]}';

/** Sends the bytes and answers everything that came until the other side closed. */
function exchange(text: string, then: 'stay' | 'leave' | 'half' = 'stay'): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true });
    let got = '';
    socket.on('data', (bytes) => (got += bytes.toString()));
    socket.on('end', () => socket.end());
    // A reset ends the exchange as a close does, and is followed by one.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(got));
    if (then === 'half') socket.end(text);
    else socket.write(text, () => then === 'leave' && socket.destroy());
  });
}

const post = (lines: readonly string[], { target = '/v1/chat/completions', body = BODY } = {}): string =>
  [
    `POST ${target} HTTP/1.1`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${String(body.length)}`,
    ...lines,
    '',
    body,
  ].join('\r\n');

const chunked = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n`;
const get = (target: string, host = 'host: gateway.test\r\n', version = '1.1'): string =>
  `GET ${target} HTTP/${version}\r\n${host}connection: close\r\n\r\n`;

describe('raw connections to the gateway', () => {
  let world: World;
  let usual: readonly string[];
  let customer: string;
  beforeAll(async () => {
    world = await startWorld(start);
    customer = world.newCustomer();
    usual = [
      'host: gateway.test',
      `authorization: Bearer ${SERVICE_KEY}`,
      `x-stripe-customer-id: ${customer}`,
    ];
  });
  afterAll(() => world.close());

  it('serves the request that the others are variations of', async () => {
    expect(await exchange(post(usual))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each(['host', 'authorization', 'x-stripe-customer-id'])(
    'refuses the header %s given twice',
    async (name) => {
      const asked = world.upstream.seen.length;
      const again = usual.find((line) => line.startsWith(name)) ?? '';
      const reply = await exchange(post([...usual, again]));
      expect(reply).toMatch(/^HTTP\/1\.1 400 /);
      expect(reply).toContain('x-faregate-error: invalid_request');
      expect(world.upstream.seen).toHaveLength(asked);
    },
  );

  it('serves a target that names its host', async () => {
    const target = 'http://gateway.test/v1/chat/completions';
    expect(await exchange(post(usual, { target }))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    '/v1/models/../chat/completions',
    '/v1/./chat/completions',
    '/v1/%2e%2e/v1/chat/completions',
    '//v1/chat/completions',
    '/v1/chat/completions/',
    '/v1/chat/%63ompletions',
    'http://gateway.test/v1/models/../chat/completions',
    '/v1beta/models/../../v1/chat/completions',
  ])('has no such path as %s', async (target) => {
    const asked = world.upstream.seen.length;
    expect(await exchange(post(usual, { target }))).toMatch(/^HTTP\/1\.1 404 /);
    expect(world.upstream.seen).toHaveLength(asked);
  });

  it('lets nobody reach the health of the gateway by way of another path', async () => {
    const target = '/v1/../healthz';
    const request = `GET ${target} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n`;
    expect(await exchange(request)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it.each(['acme/plain', 'acme/waits'])(
    'serves a caller who closes his half behind his request and reads on: %s',
    async (model) => {
      const body = JSON.stringify({ model, messages: [] });
      const asked = world.upstream.seen.length;
      const reading = exchange(post(usual, { body }), 'half');
      await expect.poll(() => world.upstream.seen.length).toBe(asked + 1);
      world.upstream.release();
      const reply = await reading;
      // What finds out that he still reads is an interim response.
      expect(reply.replaceAll('HTTP/1.1 102 Processing\r\n\r\n', '')).toMatch(/^HTTP\/1\.1 200 /);
      expect(reply).toContain('chat.completion');
      expect((await world.calls(customer))[0]).toMatchObject({ outcome: 'finished' });
    },
  );

  it('forgets an upload that was given up half-way', async () => {
    const asked = world.upstream.seen.length;
    const whole = post(usual);
    await exchange(whole.slice(0, -10), 'leave');
    expect(await exchange(post(usual))).toMatch(/^HTTP\/1\.1 200 /);
    expect(world.upstream.seen).toHaveLength(asked + 1);
    expect((await world.calls(customer)).every(({ state }) => state === 'settled')).toBe(true);
  });

  it('cuts a sender who is too slow with the head of his request', async () => {
    const reply = await exchange('POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nauthori');
    expect(reply).toMatch(/^HTTP\/1\.1 408 /);
  });

  it.each([
    ['what is no HTTP', '\u0016\u0003\u0001 hello\r\n\r\n', 400, 'invalid_request'],
    ['a chunk without a size', `${chunked}\r\nzz\r\nabc\r\n`, 400, 'invalid_request'],
    ['a body with two lengths', `${chunked}content-length: 4\r\n\r\n0\r\n\r\n`, 400, 'invalid_request'],
    ['a head that is too long', get('/healthz', `x: ${'a'.repeat(20_000)}\r\n`), 431, 'headers_too_large'],
    ['too many headers', get('/healthz', `host: a\r\n${'x:\r\n'.repeat(1_000)}`), 431, 'headers_too_large'],
    ['a chunk with too much beside it', `${chunked}\r\n1;${'a'.repeat(20_000)}`, 413, 'request_too_large'],
    ['a head that does not come', 'GET /healthz HTTP/1.1\r\nhost: gate', 408, 'request_timeout'],
    ['an expectation of its own', get('/healthz', 'host: a\r\nexpect: tea\r\n'), 400, 'invalid_request'],
    ['no host', get('/healthz', ''), 400, 'invalid_request'],
    ['no host for a call', post([]), 400, 'invalid_request'],
    ['a host that is none', get('/healthz', 'host: a b@c\r\n'), 400, 'invalid_request'],
    ['the target *', get('*').replace('GET', 'OPTIONS'), 400, 'invalid_request'],
    ['a target of another protocol', get('ftp://gateway.test/healthz'), 400, 'invalid_request'],
  ])('refuses %s with an id and a code', async (_what, sent, status, code) => {
    const reply = await exchange(sent);
    const [head = '', body = ''] = reply.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(head).toMatch(/^x-request-id: req_\w+$/m);
    expect(head).toMatch(new RegExp(`^x-faregate-error: ${code}$`, 'm'));
    expect(head).toMatch(new RegExp(`^content-length: ${String(body.length)}$`, 'im'));
    expect(JSON.parse(body)).toMatchObject({ error: { code, message: expect.stringMatching(/\.$/) } });
  });

  it('writes nothing of that into a reply that has begun', async () => {
    const body = JSON.stringify({ model: 'acme/stalls', stream: true, messages: [] });
    const sent = post(usual, { body }).replace('connection: close\r\n', '');
    const socket = connect({ port: Number(url.port), host: url.hostname });
    let got = '';
    const closed = new Promise((resolve) => socket.on('close', resolve));
    // A reset is one way to break it off.
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      if (got === '') socket.write('\u0016\u0003\u0001 hello\r\n\r\n');
      got += bytes.toString();
    });
    socket.write(sent);
    await closed;
    expect(got).toMatch(/^HTTP\/1\.1 200 /);
    expect(got).not.toContain('HTTP/1.1 400');
    world.upstream.release();
  });

  it.each(['/healthz', '/readyz'])(
    'answers a check of %s in the form of HTTP/1.0, without a host',
    async (path) => {
      expect(await exchange(get(path, '', '1.0'))).toMatch(/^HTTP\/1\.1 200 [^]*x-request-id: req_/);
    },
  );
});
