/** A gateway that is killed while responses are made in the background bills each of them once all the same. */
import { expect, it } from 'vitest';
import { startTestResponses } from '../support/stored.ts';
import { admin, SERVICE_KEY, startGatewayProcess } from './gateway-process.ts';
import { delivered, setScene } from './scene.ts';

const CUSTOMER = 'cus_kill_1';
const WITHIN_MS = 30_000;

it('bills responses in the background once, though the gateway is killed while they are made', async () => {
  const vendor = await startTestResponses();
  const scene = await setScene(1);
  const place = { ...scene.place, upstreamUrl: vendor.url };
  try {
    const first = startGatewayProcess(place);
    const url = await first.ready;
    const create = async (more: object): Promise<Response> =>
      fetch(`${url}/v1/responses`, {
        method: 'POST',
        headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
        body: JSON.stringify({ model: 'gpt-plain', input: 'Where?', background: true, ...more }),
      });
    expect((await create({})).status).toBe(200);
    // Of a stream the first event is enough: its id is on record by the time that the second could come.
    const stream = await create({ stream: true });
    const reader = stream.body!.getReader();
    await reader.read();
    await expect.poll(() => openResponses(url ?? ''), { timeout: WITHIN_MS }).toBe(2);
    first.kill('SIGKILL');
    await first.ended;
    await reader.cancel().catch(() => undefined);
    for (const id of vendor.kept.keys()) vendor.end(id);
    const second = startGatewayProcess(place);
    const again = (await second.ready) ?? '';
    expect(await delivered(again, WITHIN_MS)).toBeUndefined();
    // Two events are sent at a time, so either may be the first.
    const sums = scene.stripe.sums().map(({ dimensions, value }) => [dimensions['token_type'], value]);
    expect(Object.fromEntries(sums)).toEqual({ input: 40, output: 18 });
    expect(second.alarms).toEqual([]);
    second.kill('SIGTERM');
    await second.ended;
    expect(await scene.violations()).toEqual([]);
  } finally {
    await Promise.all([scene.close(), vendor.close()]);
  }
}, 120_000);

async function openResponses(url: string): Promise<number> {
  const { data } = (await admin(url, `/calls?customer=${CUSTOMER}&state=open`)) as {
    data: readonly { response_id: string | null }[];
  };
  return data.filter(({ response_id: id }) => id !== null).length;
}
