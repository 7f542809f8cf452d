/** A process killed in the middle of a call's second attempt: what the next start makes of it, and of the call's key. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { delta } from '../support/chat.ts';
import { startScripted } from '../support/scripted.ts';
import { admin, SERVICE_KEY, startGatewayProcess } from './gateway-process.ts';
import { setScene } from './scene.ts';

interface CallJson {
  readonly model: string;
  readonly outcome: string;
  readonly usage_source: string;
  readonly usage: { readonly output_tokens: number };
  readonly attempts: readonly {
    readonly model: string;
    readonly status: number | null;
    readonly billed: boolean;
  }[];
}

const SENT = 8;
const YAML = (url: string): string => `
providers:
  first: { type: openai-compatible, base_url: "${url}/v1" }
  second: { type: openai-compatible, base_url: "${url}/v1" }
models: { smart: [first/fails, second/streams] }
retries: { max: 0 }
`;

it('bills the evidence of the attempt that was under way, and its key makes no second call', async () => {
  const scene = await setScene(31);
  const customer = scene.customers[0] ?? '';
  let asked = 0;
  const upstream = await startScripted({
    fails: ({ response }) => void response.writeHead(500).end('{"error":{"message":"No.","type":"x"}}'),
    async streams({ response }) {
      asked += 1;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let sent = 0; sent < SENT; sent += 1) {
        response.write(delta({ content: ' fare' }));
        await pause(100);
      }
    },
  });
  writeFileSync(join(scene.place.directory, 'faregate.yaml'), YAML(upstream.url));
  const ask = (url: string): Promise<Response> =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${SERVICE_KEY}`,
        'x-stripe-customer-id': customer,
        'idempotency-key': 'the-one',
      },
      body: JSON.stringify({ model: 'smart', stream: true, messages: [{ role: 'user', content: 'Fare?' }] }),
    });

  const killed = startGatewayProcess(scene.place);
  const reply = await ask((await killed.ready) ?? '');
  expect(reply.headers.get('x-faregate-model')).toBe('second/streams');
  await pause(100 * (SENT + 1));
  killed.kill('SIGKILL');
  await killed.ended;
  await expect(reply.text()).rejects.toThrow();

  const next = startGatewayProcess(scene.place);
  const url = (await next.ready) ?? '';
  const { data } = (await admin(url, `/calls?customer=${customer}`)) as { data: CallJson[] };
  expect(data).toMatchObject([{ model: 'second/streams', outcome: 'recovered', usage_source: 'estimated' }]);
  expect(data[0]?.usage.output_tokens).toBeGreaterThan(0);
  expect(data[0]?.usage.output_tokens).toBeLessThanOrEqual(SENT);
  expect(data[0]?.attempts).toMatchObject([
    { model: 'first/fails', status: 500, billed: false },
    { model: 'second/streams', billed: true },
  ]);
  const again = await ask(url);
  expect([again.status, again.headers.get('x-faregate-error')]).toEqual([409, 'idempotency_reply_gone']);
  expect(asked).toBe(1);
  next.kill('SIGTERM');
  await next.ended;
  expect(await scene.violations()).toEqual([]);
  await upstream.close();
  await scene.close();
});
