/** Lists: of models, where an upstream keeps silent; and of the operator's, by pages. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type ScriptedUpstream, startScripted } from '../support/scripted.ts';

let silent: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  // It is sent no model with a request for its list.
  silent = await startScripted({ '': () => undefined });
  gateway = await startTestGateway({
    providers: {
      claude: { type: 'anthropic', base_url: silent.url, api_key: 'x' },
      openai: { base_url: silent.url, api_key: 'x' },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await silent.close();
});

describe('the list of models', () => {
  it('waits for a silent upstream 3 s at most, and has what is known of it', async () => {
    const startedAt = performance.now();
    const reply = await fetch(`${gateway.url}/v1/models`, {
      headers: { authorization: `Bearer ${SERVICE_KEY}` },
    });
    const { data } = (await reply.json()) as { data: { id: string }[] };
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    const ids = data.map(({ id }) => id);
    expect(ids).toContain('demo/plain');
    expect(ids.some((id) => id.startsWith('claude/'))).toBe(true);
    await silent.closed();
  });
});

describe('one model', () => {
  it.each([
    ['openai/gpt-4o', 200],
    ['gpt-4o', 200],
    ['no-such-model', 404],
    ['nobody/gpt-4o', 404],
  ])('is found by every name that a call may give it: %s', async (model, status) => {
    const headers = { authorization: `Bearer ${SERVICE_KEY}` };
    const reply = await fetch(`${gateway.url}/v1/models/${model}`, { headers });
    const { id } = (await reply.json()) as { id?: string };
    expect([reply.status, id]).toEqual([status, status === 200 ? model : undefined]);
  });
});

describe('a page of the operator', () => {
  it.each([
    '/calls?cursor=x',
    '/events?cursor=x',
    '/events?cursor=1.2.3',
    '/calls?limit=0',
    '/events?limit=x',
  ])('that is none is a 400: %s', async (path) => {
    const headers = { authorization: `Bearer ${ADMIN_KEY}` };
    const reply = await fetch(`${gateway.url}/admin/v1${path}`, { headers });
    expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([400, 'invalid_request']);
    await reply.arrayBuffer();
  });
});
