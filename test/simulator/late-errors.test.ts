import { expect, test } from 'vitest';
import { THIN_TYPES } from '../../src/simulator/stripe.ts';
import { START_MS, startMetered, startReceiver } from './start.ts';

async function startWithEvent() {
  const receiver = await startReceiver();
  const { simulator, stripe } = await startMetered({ webhookUrl: receiver.webhookUrl });
  await stripe.v2.billing.meterEvents.create({
    event_name: 'token-billing-tokens',
    identifier: 'fg_one',
    timestamp: new Date(START_MS).toISOString(),
    payload: { stripe_customer_id: 'cus_demo', value: '5', model: 'm', token_type: 'input' },
  });
  return { simulator, stripe, received: receiver.received };
}

test.each(THIN_TYPES)('%s on order takes an event back and tells of it by a thin event', async (type) => {
  const { simulator, stripe, received } = await startWithEvent();
  const response = await fetch(`${simulator.url}/_simulator/trigger`, {
    method: 'POST',
    body: JSON.stringify({ type, customer: 'cus_demo' }),
  });
  const { event, deliveries } = (await response.json()) as {
    event: { id: string };
    deliveries: readonly { status: number }[];
  };
  expect(deliveries.map(({ status }) => status)).toEqual([200]);
  expect(JSON.parse(received.at(-1)?.body ?? '')).toMatchObject({
    id: event.id,
    object: 'v2.core.event',
    type,
  });
  expect(await stripe.v2.core.events.retrieve(event.id)).toMatchObject({
    data: {
      reason: { error_count: 1, error_types: [{ sample_errors: [{ request: { identifier: 'fg_one' } }] }] },
    },
  });
  expect(simulator.sums().filter(({ value }) => value > 0)).toEqual([]);
});

test('a late error where nothing was taken is refused with a 404', async () => {
  const { simulator } = await startMetered();
  await expect(simulator.triggerLate(THIN_TYPES[0] ?? '', { customer: 'cus_demo' })).rejects.toMatchObject({
    fields: { status: 404 },
  });
});
