/** What the operator's routes make of a body: all of it is meant, or nothing is done. */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, startTestGateway, type TestGateway } from './support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

const authorization = `Bearer ${ADMIN_KEY}`;
interface Answer {
  readonly status: number;
  readonly message: string;
}

async function post(path: string, body: string): Promise<Answer> {
  const init = { method: 'POST', headers: { authorization }, body };
  const reply = await fetch(`${gateway.url}/admin/v1${path}`, init);
  const { error } = (await reply.json()) as { error?: { message: string } };
  return { status: reply.status, message: error?.message ?? '' };
}

const count = async (path: string): Promise<number> =>
  (await gateway.admin<{ data: unknown[] }>(path)).data.length;

/** Routes that read settings from a body, and one that they take. */
const TAKING: readonly (readonly [string, object])[] = [
  ['/keys', { customer: 'cus_demo' }],
  ['/keys/k1/rotate', { overlap_seconds: 0 }],
  ['/reconciliations', { customer: 'cus_demo' }],
  ['/events/e1/resolve', { found: 'lost' }],
  ['/customers/cus_demo', { frozen: false }],
  ['/customers/cus_demo/credit', { amount_usd: '1' }],
  ['/customers/cus_demo/top-ups', { amount_usd: '1' }],
  ['/customers/cus_demo/auto-top-up', { rule: null }],
  ['/budgets', { customer: 'cus_demo', span: 'day', limit_usd: '1' }],
];
const TAKING_NOTHING = ['/flush', '/events/e1/retry', '/events/e1/cancel'];
const ALL = [...TAKING.map(([path]) => path), ...TAKING_NOTHING];

describe.each(ALL)('POST /admin/v1%s', (path) => {
  it.each(['{"customer":"cus_a", ', '[]', '5', 'null', '"all"', ' '])('does nothing for %j', async (body) => {
    const answer = await post(path, body);
    expect(answer).toMatchObject({ status: 400, message: expect.stringMatching(/^The body/) });
  });

  it('does nothing for a member that it does not know, and names it', async () => {
    const known = TAKING.find(([route]) => route === path)?.[1];
    const answer = await post(path, JSON.stringify({ ...known, rpmm: 5 }));
    expect(answer).toMatchObject({ status: 400, message: expect.stringContaining('"rpmm"') });
  });

  it('stops reading a body that is too long for settings', async () => {
    const answer = await post(path, `{"label":"${'x'.repeat(65_536)}"}`);
    expect(answer).toMatchObject({ status: 413, message: expect.stringContaining('65536 bytes') });
  });
});

describe('the rooms of the operator', () => {
  it('are as they were after all of that', async () => {
    expect(await count('/reconciliations')).toBe(0);
    expect(await count('/keys')).toBe(0);
    expect(await count('/budgets')).toBe(0);
  });

  it('compare everybody when no body is sent', async () => {
    expect((await post('/reconciliations', '')).status).toBe(202);
  });

  it('make a key of exactly one kind', async () => {
    expect((await post('/keys', '{"customer":"cus_demo","service":true}')).status).toBe(400);
    expect((await post('/keys', '{"label":"nobody"}')).status).toBe(400);
    expect((await post('/keys', '{"service":true}')).status).toBe(201);
  });

  it('do not end a key whose overlap makes no sense', async () => {
    const { key } = await gateway.admin<{ key: { id: string } }>('/keys', {
      method: 'POST',
      body: '{"customer":"cus_demo"}',
    });
    for (const overlap of ['"24h"', '-1', '1e18', 'null']) {
      const answer = await post(`/keys/${key.id}/rotate`, `{"overlap_seconds":${overlap}}`);
      expect(answer, overlap).toMatchObject({ status: 400, message: expect.stringContaining('overlap') });
    }
    const { data } = await gateway.admin<{ data: { id: string; expires_at: string | null }[] }>('/keys');
    expect(data.find(({ id }) => id === key.id)).toMatchObject({ expires_at: null });
  });
});

it.each([
  ['/budgets', 'limit_usd', '-5'],
  ['/budgets', 'limit_usd', '9223372.036854775808'],
  ['/customers/cus_demo', 'grace_usd', '-0.01'],
  ['/customers/cus_demo', 'grace_usd', '4000000.01'],
  ['/customers/cus_demo/credit', 'amount_usd', '-5'],
])('POST /admin/v1%s keeps no other %s than was meant: %s is refused', async (path, name, amount) => {
  const known = TAKING.find(([route]) => route === path)?.[1];
  const answer = await post(path, JSON.stringify({ ...known, [name]: amount }));
  expect(answer).toMatchObject({ status: 400, message: expect.stringContaining(`"${amount}" is not from`) });
});

/** What may be sent without end is not waited for to its end. */
it.each([
  ['/v1/usage/record', 65_536],
  ['/admin/v1/keys', 65_536],
  ['/admin/v1/import', 4_194_304],
])('POST %s refuses a body without a length at its bound of %i bytes', async (path, bytesMax) => {
  const status = await new Promise((resolve, reject) => {
    const asked = request(
      `${gateway.url}${path}`,
      { method: 'POST', headers: { authorization } },
      (reply) => {
        resolve(reply.statusCode);
        asked.destroy();
      },
    );
    asked.on('error', reject);
    // There is never an end.
    asked.write(new Uint8Array(bytesMax + 1));
  });
  expect(status).toBe(413);
});

/** A body that ends in the middle, as it does when its sender leaves. */
const brokenOff = (): ReadableStream<Uint8Array> => {
  const pieces = [new TextEncoder().encode('{"a":1,')];
  return new ReadableStream({
    pull(controller) {
      const piece = pieces.pop();
      if (piece === undefined) controller.error(new Error('aborted'));
      else controller.enqueue(piece);
    },
  });
};

it.each([
  '/webhooks/stripe',
  '/v1/usage/record',
  '/admin/v1/import',
  ...ALL.map((path) => `/admin/v1${path}`),
])('POST %s takes a caller who leaves in the middle for no defect', async (path) => {
  const logged = gateway.log.length;
  const init = { method: 'POST', headers: { authorization }, body: brokenOff(), duplex: 'half' };
  const env = { incoming: { url: path } };
  const reply = await gateway.running.gateway.app.request(path, init as RequestInit, env);
  expect(reply.status).toBe(400);
  expect(gateway.log.slice(logged)).toEqual([]);
});
