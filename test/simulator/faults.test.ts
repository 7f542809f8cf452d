import { Stripe } from 'stripe';
import { expect, test } from 'vitest';
import type { FaultOrder } from '../../src/simulator/faults.ts';
import { METER, startMetered, stripeError, usage } from './start.ts';

const ROUTE = 'POST /v2/billing/meter_events';

const send = (stripe: Stripe, identifier = 'a', options: Stripe.RequestOptions = {}) =>
  stripe.v2.billing.meterEvents.create({ event_name: METER, payload: usage('1'), identifier }, options);

async function startFaulty(...orders: FaultOrder[]) {
  const started = await startMetered();
  for (const order of orders) started.simulator.faults.add(order);
  return started;
}

test('a rate limit is a 429 that the SDK does not retry, once unless told otherwise', async () => {
  const { stripe, simulator } = await startFaulty({ route: ROUTE, kind: 'rate_limited' });
  const error = await stripeError(send(stripe, 'a', { maxNetworkRetries: 2 }));
  expect(error).toBeInstanceOf(Stripe.errors.StripeRateLimitError);
  expect(error.headers?.['retry-after']).toBeUndefined();
  expect(simulator.requests).toHaveLength(1);
  await send(stripe);
});

test('a rate limit can say how long to wait', async () => {
  const { stripe } = await startFaulty({ route: ROUTE, kind: 'rate_limited', retryAfterSeconds: 7 });
  expect((await stripeError(send(stripe))).headers?.['retry-after']).toBe('7');
});

test.each([
  ['conflict', 409],
  ['server_error', 500],
  ['unauthorized', 401],
  ['forbidden', 403],
] as const)('%s is a %i with nothing done', async (kind, status) => {
  const { stripe, simulator } = await startFaulty({ route: ROUTE, kind });
  expect((await stripeError(send(stripe))).statusCode).toBe(status);
  expect(simulator.sums()).toEqual([]);
  await send(stripe);
  expect(simulator.sums()).toMatchObject([{ events: 1 }]);
});

test('a server error after the commit is a 500, and the event is there', async () => {
  const { stripe, simulator } = await startFaulty({ route: ROUTE, kind: 'server_error_after_commit' });
  expect((await stripeError(send(stripe))).statusCode).toBe(500);
  expect(simulator.sums()).toMatchObject([{ events: 1 }]);
  expect((await stripeError(send(stripe))).code).toBe('duplicate_meter_event');
});

test('a dropped connection has done nothing', async () => {
  const { stripe, simulator } = await startFaulty({ route: ROUTE, kind: 'drop', times: 2 });
  expect(await stripeError(send(stripe))).toBeInstanceOf(Stripe.errors.StripeConnectionError);
  expect(simulator.sums()).toEqual([]);
  expect(simulator.requests.map(({ status }) => status)).toEqual([null, null]);
});

test('a connection dropped after the commit leaves the event, and the SDK own repeat is a replay', async () => {
  const { stripe, simulator } = await startFaulty({ route: ROUTE, kind: 'drop_after_commit' });
  await send(stripe);
  expect(simulator.sums()).toMatchObject([{ events: 1 }]);
  expect(simulator.requests.map(({ status, replayed }) => [status, replayed])).toEqual([
    [null, false],
    [200, true],
  ]);
});

test('a slow answer comes, and late', async () => {
  const { stripe } = await startFaulty({ route: ROUTE, kind: 'slow', delayMs: 300 });
  const error = await stripeError(send(stripe, 'a', { timeout: 100 }));
  expect(error.message).toContain('timeout');
});

test('two overlapping events of one customer and meter meet a conflict', async () => {
  const { stripe } = await startFaulty({ route: ROUTE, kind: 'slow', delayMs: 100 });
  const [first, second] = await Promise.allSettled([send(stripe, 'a'), send(stripe, 'b')]);
  const failed = [first, second].filter((result) => result?.status === 'rejected');
  expect(failed).toMatchObject([{ reason: { statusCode: 409, code: 'too_many_concurrent_requests' } }]);
});

test('a fault happens on its own route only, as often as ordered', async () => {
  const { stripe, simulator } = await startFaulty({ route: '/v2/*', kind: 'server_error', times: 2 });
  await stripe.customers.list();
  expect(simulator.faults.open).toMatchObject([{ happened: 0 }]);
  for (let count = 0; count < 2; count += 1) await stripeError(send(stripe));
  await send(stripe);
  expect(simulator.faults.open).toEqual([]);
});

test('a fault by probability happens in the same places for the same seed', async () => {
  const first = await pattern(7);
  expect(first).toMatch(/x.*\..*x|\..*x.*\./);
  expect(await pattern(7)).toBe(first);
  expect(await pattern(8)).not.toBe(first);
});

/** Which of 24 sends failed. */
const pattern = async (seed: number): Promise<string> => {
  const { stripe } = await startFaulty({ route: ROUTE, kind: 'server_error', probability: 0.5, seed });
  let marks = '';
  for (let index = 0; index < 24; index += 1) {
    marks += await send(stripe, `i${index}`).then(
      () => '.',
      () => 'x',
    );
  }
  return marks;
};

test('faults are ordered, listed and cleared by HTTP', async () => {
  const { stripe, url } = await startMetered();
  const faults = `${url}/_simulator/faults`;
  const body = JSON.stringify([{ route: ROUTE, kind: 'server_error', times: 5 }]);
  expect((await fetch(faults, { method: 'POST', body })).status).toBe(200);
  await stripeError(send(stripe));
  expect(await (await fetch(faults)).json()).toMatchObject([{ kind: 'server_error', times: 5, happened: 1 }]);
  await fetch(faults, { method: 'DELETE' });
  await send(stripe);
});

test('a fault that makes no sense is refused', async () => {
  const { url } = await startMetered();
  const body = JSON.stringify({ kind: 'meteor' });
  const response = await fetch(`${url}/_simulator/faults`, { method: 'POST', body });
  expect(response.status).toBe(400);
  expect(await response.text()).toContain('rate_limited');
});

test('more requests in a second than allowed are a 429', async () => {
  const { stripe, clock } = await startMetered({ requestsPerSecondMax: 2 });
  await send(stripe, 'a');
  await send(stripe, 'b');
  expect((await stripeError(send(stripe, 'c'))).statusCode).toBe(429);
  clock.ms += 1_000;
  await send(stripe, 'c');
});
