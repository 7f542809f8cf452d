/** Claude's models by the names of Stripe and by the vendor's own: what the vendor is asked, and what is billed. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { callThrough } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const CASES = [
  ['claude-sonnet-4.5', 'claude-sonnet-4-5', 'claude-sonnet-4.5'],
  ['claude-sonnet-4-5', 'claude-sonnet-4-5', 'claude-sonnet-4.5'],
  ['claude-opus-4.5-20251101', 'claude-opus-4-5-20251101', 'claude-opus-4.5'],
  ['claude-opus-4', 'claude-opus-4', 'claude-opus-4'],
  ['claude-3.5-haiku', 'claude-3-5-haiku-latest', 'claude-3.5-haiku'],
  ['claude-3.7-sonnet-20250219', 'claude-3-7-sonnet-20250219', 'claude-3.7-sonnet'],
  ['claude-2.1', 'claude-2.1', 'claude-2.1'],
  ['someone-else-4.5', 'someone-else-4.5', 'someone-else-4.5'],
] as const;

const answers: Script = ({ response, body }) => {
  const { model } = JSON.parse(body) as { model: string };
  const usage = { input_tokens: 9, output_tokens: 2 };
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model, content: [], usage };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message));
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(Object.fromEntries(CASES.map(([, asked]) => [asked, answers])));
  gateway = await startTestGateway({
    providers: { claude: { type: 'anthropic', base_url: upstream.url, api_key: 'x' } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

it.each(CASES)('%s is asked as %s and billed as %s', async (named, asked, billed) => {
  const got = await callThrough(gateway, { model: `claude/${named}`, path: '/v1/messages' });
  expect(got).toMatchObject({ status: 200, call: { model: `claude/${billed}` } });
  expect(JSON.parse(upstream.seen.at(-1)?.body ?? '')).toMatchObject({ model: asked });
  expect(got.headers.get('request-id')).toBe(got.headers.get('x-request-id'));
});
