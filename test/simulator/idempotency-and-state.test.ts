import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Stripe } from 'stripe';
import { expect, onTestFinished, test } from 'vitest';
import { METER, startMetered, startSimulator, stripeError, usage } from './start.ts';

const KEY = { idempotencyKey: 'key-1' };
const event = { event_name: METER, payload: usage('1'), identifier: 'a' };

test('v1 answers a repeated idempotency key with the first answer for 24 hours', async () => {
  const { stripe, clock } = await startSimulator();
  const first = await stripe.customers.create({ name: 'Ada' }, KEY);
  const again = await stripe.customers.create({ name: 'Ada' }, KEY);
  expect(again.id).toBe(first.id);
  expect(again.lastResponse.headers['idempotent-replayed']).toBe('true');
  clock.ms += 24 * 3_600_000;
  expect((await stripe.customers.create({ name: 'Ada' }, KEY)).id).not.toBe(first.id);
});

test('v1 repeats an error too', async () => {
  const { stripe, simulator } = await startMetered();
  simulator.faults.add({ kind: 'server_error_after_commit' });
  expect((await stripeError(stripe.billing.meterEvents.create(event, KEY))).statusCode).toBe(500);
  const error = await stripeError(stripe.billing.meterEvents.create(event, KEY));
  expect(error).toMatchObject({ statusCode: 500, headers: { 'idempotent-replayed': 'true' } });
});

test('v2 runs a failed call again', async () => {
  const { stripe, simulator } = await startMetered();
  simulator.faults.add({ kind: 'server_error_after_commit' });
  expect((await stripeError(stripe.v2.billing.meterEvents.create(event, KEY))).statusCode).toBe(500);
  const error = await stripeError(stripe.v2.billing.meterEvents.create(event, KEY));
  expect(error.code).toBe('duplicate_meter_event');
});

test('a key used with other parameters is an idempotency error', async () => {
  const { stripe } = await startSimulator();
  await stripe.customers.create({ name: 'Ada' }, KEY);
  const error = await stripeError(stripe.customers.create({ name: 'Bob' }, KEY));
  expect(error).toBeInstanceOf(Stripe.errors.StripeIdempotencyError);
});

test('a key whose first call is still running is a 409', async () => {
  const { stripe, simulator } = await startSimulator();
  simulator.faults.add({ kind: 'slow', delayMs: 100 });
  const results = await Promise.allSettled([
    stripe.customers.create({ name: 'Ada' }, KEY),
    stripe.customers.create({ name: 'Ada' }, KEY),
  ]);
  const failed = results.filter(({ status }) => status === 'rejected');
  expect(failed).toMatchObject([{ reason: { statusCode: 409, code: 'idempotency_key_in_use' } }]);
});

test('the state tells sums, events and requests over HTTP', async () => {
  const { stripe, url } = await startMetered();
  await stripe.v2.billing.meterEvents.create(event);
  const read = async (path: string): Promise<unknown> => (await fetch(`${url}/_simulator/${path}`)).json();
  expect(await read('state')).toMatchObject({
    customers: [{ id: 'cus_demo' }],
    meters: [{ event_name: METER }],
    sums: [{ customer: 'cus_demo', dimensions: { model: 'demo/echo', token_type: 'input' }, value: 1 }],
    meter_events: 1,
    requests: 1,
  });
  expect(await read('meter_events')).toMatchObject([{ identifier: 'a', payload: usage('1'), api: 'v2' }]);
  expect(await read('requests')).toMatchObject([
    {
      method: 'POST',
      path: '/v2/billing/meter_events',
      body: event,
      status: 200,
      idempotencyKey: expect.stringMatching(/^stripe-node-retry-/),
    },
  ]);
});

async function snapshotPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'simulator-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'deep', 'stripe.json');
}

test('an account kept in a file is there after a restart, its duplicates and balances too', async () => {
  const snapshotFile = await snapshotPath();
  const first = await startMetered({ snapshotFile });
  first.simulator.addCredit('cus_demo', 500);
  await first.stripe.v2.billing.meterEvents.create(event);
  await first.simulator.close();

  const second = await startSimulator({ snapshotFile });
  const error = await stripeError(second.stripe.v2.billing.meterEvents.create(event));
  expect(error.code).toBe('duplicate_meter_event');
  expect(second.simulator.sums()).toEqual(first.simulator.sums());
  const { balances } = await second.stripe.billing.creditBalanceSummaries.retrieve({
    customer: 'cus_demo',
    filter: { type: 'applicability_scope', applicability_scope: { price_type: 'metered' } },
  });
  expect(balances[0]?.available_balance.monetary?.value).toBe(500);
});

test('beginning again with what exists changes nothing', async () => {
  const snapshotFile = await snapshotPath();
  const first = await startMetered({ snapshotFile });
  await first.simulator.close();
  const second = await startMetered({ snapshotFile });
  expect(second.meter).toEqual(first.meter);
  expect(second.simulator.world.customers.size).toBe(1);
});

test('a broken file is refused by name, and left alone', async () => {
  const snapshotFile = join(await snapshotPath(), '..', '..', 'broken.json');
  await writeFile(snapshotFile, '{"version":1');
  await expect(startSimulator({ snapshotFile })).rejects.toThrow(/broken\.json cannot be read/);
});
