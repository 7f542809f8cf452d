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

  it('refuses what is no HTTP', async () => {
    expect(await exchange('\u0016\u0003\u0001 hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });
});
