import { Stripe } from 'stripe';
import { describe, expect, test } from 'vitest';
import { METER, START_MS, startMetered, stripeError, usage } from './start.ts';

const HOUR_MS = 3_600_000;
const DAY_SECONDS = 86_400;
const NOW = START_MS / 1_000;

/** Both APIs behind one shape: timestamps are given in seconds. */
const APIS = [
  {
    api: 'v1',
    send: (
      stripe: Stripe,
      event: {
        payload: Record<string, string>;
        identifier?: string;
        timestamp?: number;
        event_name?: string;
      },
    ): Promise<unknown> => stripe.billing.meterEvents.create({ event_name: METER, ...event }),
  },
  {
    api: 'v2',
    send: (
      stripe: Stripe,
      {
        timestamp,
        ...event
      }: { payload: Record<string, string>; identifier?: string; timestamp?: number; event_name?: string },
    ): Promise<unknown> =>
      stripe.v2.billing.meterEvents.create({
        event_name: METER,
        ...event,
        ...(timestamp === undefined ? {} : { timestamp: new Date(timestamp * 1_000).toISOString() }),
      }),
  },
];

test('v1 answers an event in seconds and v2 in RFC 3339', async () => {
  const { stripe } = await startMetered();
  const event = { event_name: METER, payload: usage('7') };
  expect(await stripe.billing.meterEvents.create({ ...event, identifier: 'a' })).toEqual({
    object: 'billing.meter_event',
    created: NOW,
    event_name: METER,
    identifier: 'a',
    livemode: false,
    payload: usage('7'),
    timestamp: NOW,
  });
  expect(await stripe.v2.billing.meterEvents.create({ ...event, identifier: 'b' })).toMatchObject({
    object: 'v2.billing.meter_event',
    created: '2026-11-21T00:00:00.000Z',
    timestamp: '2026-11-21T00:00:00.000Z',
    payload: usage('7'),
  });
});

describe.each(APIS)('$api meter events', ({ send }) => {
  test('are summed by customer and every other payload key', async () => {
    const { stripe, simulator } = await startMetered();
    await send(stripe, { payload: usage('7'), identifier: 'a' });
    await send(stripe, { payload: usage('5'), identifier: 'b' });
    await send(stripe, { payload: usage('9', { token_type: 'output' }), identifier: 'c' });
    expect(simulator.sums()).toEqual([
      {
        event_name: METER,
        customer: 'cus_demo',
        dimensions: { model: 'demo/echo', token_type: 'input' },
        value: 12,
        events: 2,
      },
      {
        event_name: METER,
        customer: 'cus_demo',
        dimensions: { model: 'demo/echo', token_type: 'output' },
        value: 9,
        events: 1,
      },
    ]);
  });

  test('are taken once per identifier for 24 hours, and again after', async () => {
    const { stripe, simulator, clock } = await startMetered();
    await send(stripe, { payload: usage('7'), identifier: 'a' });
    clock.ms += 24 * HOUR_MS - 1;
    expect((await stripeError(send(stripe, { payload: usage('7'), identifier: 'a' }))).statusCode).toBe(400);
    clock.ms += 1;
    await send(stripe, { payload: usage('7'), identifier: 'a' });
    expect(simulator.sums()).toMatchObject([{ value: 14, events: 2 }]);
  });

  test('without an identifier are each taken', async () => {
    const { stripe, simulator } = await startMetered();
    await send(stripe, { payload: usage('7') });
    await send(stripe, { payload: usage('7') });
    expect(simulator.sums()).toMatchObject([{ value: 14 }]);
  });

  test('that are refused leave no trace of their identifier', async () => {
    const { stripe, simulator } = await startMetered();
    await stripeError(send(stripe, { payload: usage('x'), identifier: 'a' }));
    await send(stripe, { payload: usage('7'), identifier: 'a' });
    expect(simulator.sums()).toMatchObject([{ value: 7, events: 1 }]);
  });
});

describe.each(APIS)('$api meter events', ({ send }) => {
  test.each([
    ['a value with a fraction', { payload: usage('1.5') }, 'meter_event_invalid_value'],
    ['a value of words', { payload: usage('many') }, 'meter_event_invalid_value'],
    ['a value of 16 digits', { payload: usage('1234567890123456') }, 'meter_event_value_too_many_digits'],
    ['no value', { payload: { stripe_customer_id: 'cus_demo' } }, 'meter_event_value_not_found'],
    ['no customer', { payload: { value: '1' } }, 'meter_event_no_customer_defined'],
    [
      'an unknown customer',
      { payload: usage('1', { stripe_customer_id: 'cus_none' }) },
      'meter_event_customer_not_found',
    ],
    ['an unknown event name', { payload: usage('1'), event_name: 'other' }, 'no_meter'],
    [
      'a time over 35 days ago',
      { payload: usage('1'), timestamp: NOW - 35 * DAY_SECONDS - 1 },
      'timestamp_too_far_in_past',
    ],
    ['a time over 5 minutes ahead', { payload: usage('1'), timestamp: NOW + 301 }, 'timestamp_in_future'],
  ])('with %s are refused', async (_case, event, code) => {
    const { stripe, simulator } = await startMetered();
    const error = await stripeError(send(stripe, event));
    expect(error).toMatchObject({ statusCode: 400, code });
    expect(simulator.sums()).toEqual([]);
  });

  test('at the bounds of time and digits are taken', async () => {
    const { stripe, simulator } = await startMetered();
    await send(stripe, { payload: usage('999999999999999'), timestamp: NOW - 35 * DAY_SECONDS });
    await send(stripe, { payload: usage('-3'), timestamp: NOW + 300 });
    expect(simulator.sums()).toMatchObject([{ value: 999_999_999_999_996, events: 2 }]);
  });

  test('with an identifier of 101 characters are refused', async () => {
    const { stripe } = await startMetered();
    const event = { payload: usage('1'), identifier: 'i'.repeat(101) };
    expect((await stripeError(send(stripe, event))).statusCode).toBe(400);
    await send(stripe, { ...event, identifier: 'i'.repeat(100) });
  });

  test('of a deactivated meter are refused as archived', async () => {
    const { stripe, meter } = await startMetered();
    await stripe.billing.meters.deactivate(meter.id);
    expect((await stripeError(send(stripe, { payload: usage('1') }))).code).toBe('archived_meter');
  });

  test('of a deleted customer are refused', async () => {
    const { stripe } = await startMetered();
    await stripe.customers.del('cus_demo');
    const error = await stripeError(send(stripe, { payload: usage('1') }));
    expect(error.code).toBe('meter_event_customer_not_found');
  });

  test('lacking a dimension the meter asks for are refused', async () => {
    const { stripe, simulator } = await startMetered();
    simulator.addMeter('dimensioned', ['model', 'token_type']);
    const payload = { stripe_customer_id: 'cus_demo', value: '1', model: 'm' };
    const error = await stripeError(send(stripe, { payload, event_name: 'dimensioned' }));
    expect(error.code).toBe('missing_dimension_payload_keys');
  });
});

describe.each(APIS)('$api meter events', ({ api, send }) => {
  test('are cancelled by identifier within 24 hours', async () => {
    const { stripe, simulator } = await startMetered();
    await send(stripe, { payload: usage('7'), identifier: 'a' });
    const params = { event_name: METER, type: 'cancel' as const, cancel: { identifier: 'a' } };
    const made =
      api === 'v1'
        ? await stripe.billing.meterEventAdjustments.create(params)
        : await stripe.v2.billing.meterEventAdjustments.create(params);
    expect(made).toMatchObject({ status: 'pending', cancel: { identifier: 'a' } });
    expect(simulator.sums()).toEqual([]);
  });
});

test('a v1 duplicate is told by its message and is not to be retried', async () => {
  const { stripe } = await startMetered();
  const event = { event_name: METER, payload: usage('1'), identifier: 'twice' };
  await stripe.billing.meterEvents.create(event);
  const error = await stripeError(stripe.billing.meterEvents.create(event));
  expect(error).toMatchObject({
    statusCode: 400,
    rawType: 'invalid_request_error',
    message: 'An event already exists with identifier twice.',
  });
  expect(error.code).toBeUndefined();
  expect(error.headers?.['stripe-should-retry']).toBe('false');
});

test('a v2 duplicate is told by its code', async () => {
  const { stripe } = await startMetered();
  const event = { event_name: METER, payload: usage('1'), identifier: 'twice' };
  await stripe.v2.billing.meterEvents.create(event);
  const error = await stripeError(stripe.v2.billing.meterEvents.create(event));
  expect(error).toMatchObject({
    statusCode: 400,
    code: 'duplicate_meter_event',
    message: 'A meter event with a duplicate identifier has already been submitted.',
  });
});

test('an identifier taken by one API is a duplicate in the other', async () => {
  const { stripe } = await startMetered();
  const event = { event_name: METER, payload: usage('1'), identifier: 'both' };
  await stripe.billing.meterEvents.create(event);
  const error = await stripeError(stripe.v2.billing.meterEvents.create(event));
  expect(error.code).toBe('duplicate_meter_event');
});

test('an event received over 24 hours ago cannot be cancelled', async () => {
  const { stripe, clock } = await startMetered();
  await stripe.billing.meterEvents.create({ event_name: METER, payload: usage('1'), identifier: 'a' });
  clock.ms += 24 * HOUR_MS;
  const work = stripe.billing.meterEventAdjustments.create({
    event_name: METER,
    type: 'cancel',
    cancel: { identifier: 'a' },
  });
  expect((await stripeError(work)).code).toBe('resource_missing');
});

test('summaries add up one customer in a span, and by the hour where asked', async () => {
  const { stripe, meter, clock } = await startMetered();
  for (const [value, minutes] of [
    ['1', 0],
    ['2', 59],
    ['4', 60],
    ['8', 120],
  ] as const) {
    clock.ms = START_MS + 3 * HOUR_MS;
    const timestamp = NOW + minutes * 60;
    await stripe.billing.meterEvents.create({ event_name: METER, payload: usage(value), timestamp });
  }
  const span = { customer: 'cus_demo', start_time: NOW, end_time: NOW + 7_200 };
  const whole = await stripe.billing.meters.listEventSummaries(meter.id, span);
  expect(whole.data).toMatchObject([{ aggregated_value: 7, start_time: NOW, end_time: NOW + 7_200 }]);
  const hourly = await stripe.billing.meters.listEventSummaries(meter.id, {
    ...span,
    value_grouping_window: 'hour',
  });
  expect(hourly.data.map((hour) => [hour.start_time - NOW, hour.aggregated_value])).toEqual([
    [3_600, 4],
    [0, 3],
  ]);
});

test('summaries ask for times on the minute, and on the day where grouped by day', async () => {
  const { stripe, meter } = await startMetered();
  const list = (start: number, window?: 'day') =>
    stripe.billing.meters.listEventSummaries(meter.id, {
      customer: 'cus_demo',
      start_time: start,
      end_time: NOW + DAY_SECONDS,
      ...(window === undefined ? {} : { value_grouping_window: window }),
    });
  expect((await stripeError(list(NOW + 1))).param).toBe('start_time');
  expect((await stripeError(list(NOW + 3_600, 'day'))).message).toContain('day boundaries');
});

test('summaries lag behind the events when told to', async () => {
  const { stripe, meter, clock } = await startMetered({ summaryLagMs: 60_000 });
  await stripe.billing.meterEvents.create({ event_name: METER, payload: usage('3') });
  const total = async () => {
    const span = { customer: 'cus_demo', start_time: NOW, end_time: NOW + 60 };
    return (await stripe.billing.meters.listEventSummaries(meter.id, span)).data[0]?.aggregated_value;
  };
  expect(await total()).toBe(0);
  clock.ms += 60_000;
  expect(await total()).toBe(3);
});

test('a meter that counts takes events without a value, and one that takes the last keeps the newest', async () => {
  const { stripe } = await startMetered();
  const spans = { customer: 'cus_demo', start_time: NOW, end_time: NOW + 60 };
  for (const [formula, expected] of [
    ['count', 2],
    ['last', 9],
  ] as const) {
    const meter = await stripe.billing.meters.create({
      display_name: formula,
      event_name: formula,
      default_aggregation: { formula },
    });
    for (const [value, timestamp] of [
      ['9', NOW + 1],
      ['5', NOW],
    ] as const) {
      const payload =
        formula === 'count' ? { stripe_customer_id: 'cus_demo' } : { stripe_customer_id: 'cus_demo', value };
      await stripe.billing.meterEvents.create({ event_name: formula, payload, timestamp });
    }
    const { data } = await stripe.billing.meters.listEventSummaries(meter.id, spans);
    expect(data[0]?.aggregated_value).toBe(expected);
  }
});
