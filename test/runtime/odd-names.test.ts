/** Names and lists that a gateway must survive, and bodies the admin routes cannot read. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, CUSTOMER, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    providers: { claude: { type: 'anthropic', base_url: 'http://127.0.0.1:9', api_key: 'none' } },
    config: { models: { either: ['demo/plain', 'claude/claude-x'] } },
  });
});
afterAll(() => gateway.close());

const chat = (model: string): Promise<Response> =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
    body: JSON.stringify({ model, messages: [] }),
    signal: AbortSignal.timeout(5_000),
  });

describe('a model name', () => {
  it('that no header line can hold is served, and named percent-encoded', async () => {
    const reply = await chat('demo/模');
    expect(reply.status).toBe(200);
    expect(reply.headers.get('x-faregate-model')).toBe('demo/%E6%A8%A1');
  });

  it.each(['demo/a\nb', 'demo/a\u0000', 'demo/\ud800'])(
    'with a control character is refused: %j',
    async (m) => {
      expect((await chat(m)).headers.get('x-faregate-error')).toBe('invalid_request');
    },
  );

  it('of an alias is served by the entry that speaks the dialect, whatever the others can', async () => {
    expect((await chat('either')).status).toBe(200);
  });
});

it('a body that is no JSON is a 400 of the admin routes', async () => {
  const reply = await fetch(`${gateway.url}/admin/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    body: '{bad',
  });
  expect(reply.status).toBe(400);
});
