import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
