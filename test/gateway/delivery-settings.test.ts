/** Delivery as the configuration has it, through a whole gateway. */
import { afterEach, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
});

async function ask(house: TestGateway): Promise<void> {
  const reply = await fetch(`${house.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await house.boundKey()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo/plain', messages: [{ role: 'user', content: 'hello' }] }),
  });
  if (!reply.ok) throw new Error(await reply.text());
  await reply.text();
}

interface Event {
  readonly identifier: string;
  readonly destination: string;
  readonly event_name: string;
  readonly state: string;
  readonly transport: string | null;
}

const eventsOf = async (house: TestGateway): Promise<readonly Event[]> =>
  (await house.admin<{ data: Event[] }>('/events')).data;

it('goes by v1 and in the layouts that are configured', async () => {
  gateway = await startTestGateway({
    config: { billing: { transport: 'v1', layouts: ['per_type', 'cost'] } },
  });
  for (const name of ['input', 'output', 'cost']) gateway.stripe.addMeter(`token-billing-tokens-${name}`);
  await ask(gateway);
  await gateway.flushed();
  const events = await eventsOf(gateway);
  expect(events.map(({ event_name: name, state, transport }) => [name, state, transport]).toSorted()).toEqual(
    [
      ['token-billing-tokens-cost', 'accepted', 'v1'],
      ['token-billing-tokens-input', 'accepted', 'v1'],
      ['token-billing-tokens-output', 'accepted', 'v1'],
    ],
  );
});

it('says what meters are missing or have no dimensions', async () => {
  gateway = await startTestGateway({ config: { billing: { layouts: ['dimensions', 'cost'] } } });
  const warnings = await gateway.running.gateway.checkMeters();
  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toContain('token-billing-tokens-cost');
  expect(warnings[1]).toContain('no dimensions');
});

it('takes back an accepted event for the operator, and refuses to resolve what is not in doubt', async () => {
  gateway = await startTestGateway();
  await ask(gateway);
  await gateway.flushed();
  const [event] = await eventsOf(gateway);
  const path = `/events/${event?.identifier ?? ''}`;
  await expect(
    gateway.admin(`${path}/resolve`, { method: 'POST', body: JSON.stringify({ found: 'lost' }) }),
  ).rejects.toThrow('404');
  expect(await gateway.admin(`${path}/cancel`, { method: 'POST' })).toMatchObject({ state: 'cancelled' });
  const counted = gateway.stripe.world.accepted.filter(({ cancelled }) => !cancelled);
  expect(counted.map(({ identifier }) => identifier)).not.toContain(event?.identifier);
});
