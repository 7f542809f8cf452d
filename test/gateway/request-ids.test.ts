/** Every reply says which request it answers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

const ID = /^req_[0-9a-z]{26}$/;

/** The application's routes as they can be asked; names in a path stand for themselves. */
const routes = (): readonly (readonly [string, string])[] =>
  gateway.running.gateway.app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => [method, path.replace(/\{.*?\}/g, '').replaceAll(':', '')] as const);

describe('the request id', () => {
  it.each([
    ['nobody', undefined],
    ['a caller', SERVICE_KEY],
    ['the operator', ADMIN_KEY],
  ])('is on the reply of every route to %s', async (_who, key) => {
    const seen = new Set<string>();
    for (const [method, path] of routes()) {
      const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
      const reply = await fetch(gateway.url + path, { method, headers });
      await reply.arrayBuffer();
      const id = reply.headers.get('x-request-id') ?? '';
      expect(id, `${method} ${path}`).toMatch(ID);
      seen.add(id);
    }
    expect(seen.size).toBe(routes().length);
  });

  it('is on a reply from where there is no route', async () => {
    for (const path of ['/', '/nowhere', '/v1/nowhere', '/v1/messages/nowhere', '/admin/v1/nowhere']) {
      const reply = await fetch(gateway.url + path);
      expect([reply.status, reply.headers.get('x-request-id')], path).toEqual([
        expect.any(Number),
        expect.stringMatching(ID),
      ]);
    }
  });

  it("has the name of Anthropic's as well where his dialect is spoken", async () => {
    const key = { authorization: `Bearer ${SERVICE_KEY}`, 'anthropic-version': '2023-06-01' };
    for (const [method, path] of [
      ['GET', '/v1/models'],
      ['GET', '/v1/models/nowhere/none'],
      ['POST', '/v1/messages'],
      ['POST', '/v1/messages/count_tokens'],
    ] as const) {
      const { headers } = await fetch(gateway.url + path, { method, headers: key });
      expect(headers.get('request-id'), path).toMatch(ID);
      expect(headers.get('request-id'), path).toBe(headers.get('x-request-id'));
    }
  });
});
