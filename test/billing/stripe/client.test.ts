/** What is spared at each request through the official package is not missed by anybody. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createStripeClient, withoutStack } from '../../../src/billing/stripe/client.ts';

it('says at every request what client it is, as the package does', async () => {
  const agents: unknown[] = [];
  const server = createServer((request, response) => {
    agents.push(request.headers['x-stripe-client-user-agent']);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"list","data":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const apiBase = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase });
  for (let n = 0; n < 3; n += 1) await stripe.events.list();
  expect(new Set(agents).size).toBe(1);
  expect(JSON.parse(String(agents[0]))).toMatchObject({
    bindings_version: expect.any(String) as unknown,
    application: { name: 'faregate' },
    httplib: 'node',
  });
});

it('leaves the stacks of all other errors as they were, also when beginning fails', () => {
  const before = Error.stackTraceLimit;
  expect(withoutStack(() => new Error('in it').stack)).toBe('Error: in it');
  expect(() =>
    withoutStack(() => {
      throw new TypeError('no');
    }),
  ).toThrow('no');
  expect(Error.stackTraceLimit).toBe(before);
});
