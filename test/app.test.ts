import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Hono } from 'hono';
import { createApp } from '../src/app.ts';
import { LedgerUnavailable } from '../src/ledger/ledger.ts';
import { createFetchCaller } from '../src/platform/fetch-caller.ts';
import { startTestGateway, type TestGateway } from './support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

/** Sends pieces without saying how many there will be, and reads the answer. */
function chunked(pieces: readonly Uint8Array[]): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(`${gateway.url}/webhooks/stripe`, { method: 'POST' }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    asked.on('error', reject);
    for (const piece of pieces) asked.write(piece);
    asked.end();
  });
}

describe('POST /webhooks/stripe', () => {
  it('reads no more of a body without a length than Stripe would send', async () => {
    const reply = await chunked([new Uint8Array(1_048_576), new Uint8Array(1)]);
    expect(reply).toMatchObject({ status: 400, body: expect.stringContaining('over 1048576 bytes') });
  });

  it('reads a body without a length that is within the bound', async () => {
    const reply = await chunked([new TextEncoder().encode('{}')]);
    expect(reply).toMatchObject({ status: 400, body: expect.stringContaining('stripe-signature') });
  });
});

const fails = (): Promise<never> => Promise.reject(new LedgerUnavailable('The object could not be asked.'));

describe('while the ledger cannot be reached', () => {
  const app = createApp({
    runtime: {
      now: Date.now,
      id: () => 'one',
      defer: (work) => void work.catch(() => undefined),
      after: () => () => undefined,
      log: () => undefined,
    },
    inference: { serve: fails, running: () => 0 },
    models: fails,
    stored: fails,
    reads: fails,
    record: fails,
    webhooks: { receive: fails },
    topUp: fails,
    admin: new Hono().all('*', fails),
    ready: fails,
    async serve({ req }, work) {
      const { caller, response } = createFetchCaller(req.raw);
      await work(caller);
      return response;
    },
  });

  it.each(['/v1/usage', '/v1/models', '/admin/v1/calls', '/readyz'])(
    'GET %s is answered that it may be tried again',
    async (path) => {
      const reply = await app.request(path);
      expect(reply.status).toBe(503);
      expect(reply.headers.get('x-faregate-error')).toBe('ledger_unavailable');
    },
  );
});
