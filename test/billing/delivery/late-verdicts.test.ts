/** Stripe's later word on what it took, by signed webhooks of the simulator, on a real ledger. */
import { onTestFinished, describe, expect, it } from 'vitest';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import { createLateVerdicts } from '../../../src/billing/delivery/late-verdicts.ts';
import { createStripeAccount } from '../../../src/billing/stripe/account.ts';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeWays, type Way } from '../../../src/billing/delivery/ways.ts';
import { createWebhooks } from '../../../src/billing/stripe/webhooks.ts';
import { createWithdrawals } from '../../../src/billing/delivery/withdrawals.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { callToOpen, ending, fresh } from '../../contract/ledger-calls.ts';
import { METER, SECRET, startReceiver, startSimulator } from '../../simulator/start.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, listen, testCrypto } from '../support.ts';

const HOUR = 3_600_000;

async function setUp(way: Way, errorSamples = 5) {
  const runtime = createTestRuntime();
  const receiver = await startReceiver();
  const { webhookUrl } = receiver;
  const { simulator, url } = await startSimulator({ now: () => runtime.nowMs, webhookUrl, errorSamples });
  simulator.addCustomer('cus_a');
  simulator.addMeter(METER);
  const database = openMemory();
  onTestFinished(async () => {
    expect(await violations(database)).toEqual([]);
    database.close();
  });
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot' });
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: url });
  const sink = createStripeWays(way, { stripe, runtime });
  const delivery = createDelivery({ ledger, runtime, crypto: testCrypto, sink, eventName: METER });
  const webhooks = createWebhooks({
    secret: SECRET,
    ledger,
    account: createStripeAccount({ stripe }),
    runtime,
    alerts: { default: 'block', notifyOnly: [] },
    verdicts: createLateVerdicts({ stripe, ledger, runtime }),
  });
  const call = async (tokens = 10): Promise<void> => {
    const opened = callToOpen({ id: fresh('call'), customer: 'cus_a', openedAtMs: runtime.nowMs });
    await ledger.admit(opened);
    const lines = [{ attempt: 1, model: 'openai/gpt-4o-mini', tokenType: 'input', tokens }];
    await ledger.settle(ending(opened.id, { lines, endedAtMs: runtime.nowMs }));
  };
  /** The simulator tells, the gateway is told; answers the outcomes. */
  const told = async (): Promise<string[]> => {
    simulator.reportMeterErrors();
    await simulator.webhooks.settled();
    const outcomes: string[] = [];
    for (const { body, signature } of receiver.received.splice(0))
      outcomes.push((await webhooks.receive(body, signature)).outcome);
    return outcomes;
  };
  /** The gateway learns of this reason, as if it had been fetched. */
  const verdictOf = async (reason: object): Promise<void> => {
    const [id, type] = ['evt_1', 'v1.billing.meter.error_report_triggered'];
    const event = { id, type, created: new Date(runtime.nowMs).toISOString(), data: { reason } };
    const retrieve = () => Promise.resolve(event);
    const telling = { v2: { core: { events: { retrieve } } } } as unknown as typeof stripe;
    await createLateVerdicts({ stripe: telling, ledger, runtime }).learn(id, type);
  };
  const states = async (): Promise<Record<string, number>> =>
    Object.fromEntries((await ledger.totals()).events.map(({ state, count }) => [state, count]));
  const sum = (): number => simulator.sums().reduce((total, { value }) => total + value, 0);
  const withdraw = createWithdrawals({ stripe, ledger, runtime });
  return {
    runtime,
    simulator,
    ledger,
    delivery,
    webhooks,
    receiver,
    call,
    told,
    states,
    sum,
    withdraw,
    verdictOf,
  };
}

describe('events that Stripe fails after it took them', () => {
  it('by the stream become refused, with what to do; sent again under a new identifier, they count', async () => {
    const { simulator, delivery, call, told, states, sum, ledger, runtime } = await setUp('stream');
    await call();
    const meter = [...simulator.world.meters.values()][0];
    if (meter !== undefined) meter.status = 'inactive';
    await delivery.flush();
    expect(await states()).toEqual({ accepted: 1 });
    expect(await told()).toEqual(['applied']);
    const [event] = (await ledger.events({ state: 'refused', limit: 9 })).data;
    expect(event?.lastError).toContain('archived_meter');
    expect(event?.lastError).toContain('To do:');
    expect(sum()).toBe(0);

    if (meter !== undefined) meter.status = 'active';
    expect(await ledger.retryEvent(event?.identifier ?? '', runtime.nowMs)).toBe(true);
    await delivery.flush();
    expect(sum()).toBe(10);
    const [again] = (await ledger.events({ state: 'accepted', limit: 9 })).data;
    expect(again).toMatchObject({ replaces: event?.identifier, calls: event?.calls });
  });

  it('without a meter are told apart, and found as well', async () => {
    const { simulator, delivery, call, told, states } = await setUp('stream');
    await call();
    simulator.world.meters.clear();
    await delivery.flush();
    expect(await told()).toEqual(['applied']);
    expect(await states()).toEqual({ refused: 1 });
  });

  it('by v2 are found too', async () => {
    const { simulator, delivery, call, told, states, sum } = await setUp('v2');
    simulator.faults.add({ route: 'POST /v2/billing/meter_events', kind: 'reject_later' });
    await call();
    await call();
    await delivery.flush();
    expect(await told()).toEqual(['applied']);
    expect(await states()).toEqual({ accepted: 1, refused: 1 });
    expect(sum()).toBe(10);
  });

  it('and does not name raise an alarm', async () => {
    const { simulator, delivery, call, told, states, runtime, ledger } = await setUp('v2', 1);
    simulator.faults.add({ route: 'POST /v2/billing/meter_events', kind: 'reject_later', times: 3 });
    for (let n = 0; n < 3; n += 1) await call();
    await delivery.flush();
    await told();
    expect(await states()).toEqual({ accepted: 2, refused: 1 });
    expect(runtime.lines.some(({ event }) => event === 'late_verdict_unmatched')).toBe(true);
    expect(await ledger.backlog()).toMatchObject({ unmatchedVerdicts: 2, parked: { refused: 1 } });
  });

  it.each(['v2', 'v1'] as const)(
    'are found by the key of the request that brought them, too (%s)',
    async (way) => {
      const { simulator, delivery, call, states, ledger, runtime, verdictOf } = await setUp(way);
      await call();
      await call();
      await delivery.flush();
      const keys = simulator.requests.flatMap(({ idempotencyKey }) => idempotencyKey ?? []);
      expect(new Set(keys).size).toBe(2);
      const [named] = keys;
      const sample_errors = [{ error_message: 'No.', request: { identifier: named } }];
      await verdictOf({ error_count: 1, error_types: [{ code: 'no_meter', error_count: 1, sample_errors }] });
      expect(await states()).toEqual({ accepted: 1, refused: 1 });
      const [event] = (await ledger.events({ state: 'refused', limit: 1 })).data;
      expect(named).toContain(event?.identifier);
      expect(runtime.lines.some((line) => line.event === 'late_verdict_unmatched')).toBe(false);
    },
  );

  it.each([
    ['a sample without a request', { error_message: 'No.' }],
    ['a sample whose request is null', { error_message: 'No.', request: null }],
    ['a sample whose request has no identifier', { error_message: 'No.', request: {} }],
    ['no sample at all', null],
  ])('are refused beside %s, which raises the alarm', async (_name, odd) => {
    const { delivery, call, states, ledger, runtime, verdictOf } = await setUp('v2');
    await call();
    await call();
    await delivery.flush();
    const identifier = (await ledger.events({ limit: 1 })).data[0]?.identifier;
    const sample_errors = [odd, { error_message: 'No.', request: { identifier } }];
    const error_types = [null, { code: 'a_new_code', error_count: '2', sample_errors }];
    await verdictOf({ error_count: null, error_types });
    expect(await states()).toEqual({ accepted: 1, refused: 1 });
    expect(runtime.lines.some(({ event }) => event === 'late_verdict_unmatched')).toBe(true);
    expect(await ledger.backlog()).toMatchObject({ unmatchedVerdicts: 1 });
  });

  it('are told twice, and refused once', async () => {
    const { simulator, delivery, call, receiver, webhooks, states } = await setUp('v2');
    simulator.faults.add({ route: 'POST /v2/billing/meter_events', kind: 'reject_later' });
    await call();
    await delivery.flush();
    simulator.reportMeterErrors();
    await simulator.webhooks.settled();
    const [news] = receiver.received;
    const outcomes = [];
    for (let n = 0; n < 3; n += 1)
      outcomes.push((await webhooks.receive(news?.body ?? '', news?.signature)).outcome);
    expect(outcomes).toEqual(['applied', 'seen', 'seen']);
    expect(await states()).toEqual({ refused: 1 });
  });

  it('are not forgotten when they cannot be fetched: the webhook fails, and Stripe tells again', async () => {
    const { simulator, delivery, call, told, states } = await setUp('v2');
    simulator.faults.add({ route: 'POST /v2/billing/meter_events', kind: 'reject_later' });
    simulator.faults.add({ route: 'GET /v2/core/events/*', kind: 'server_error' });
    await call();
    await delivery.flush();
    expect(await told()).toEqual(['failed']);
    expect(await states()).toEqual({ accepted: 1 });
  });
});

describe('an event that cannot be taken back', () => {
  it.each([
    ['cancelled', 'cancelled already'],
    ['expired', 'never sent'],
    ['refused', 'faregate events retry'],
    ['quarantined', 'faregate events resolve'],
    ['ambiguous', 'wait until it is accepted'],
  ] as const)('is told why where it is %s, and what to do', async (state, text) => {
    const { call, withdraw, ledger, runtime, delivery, simulator } = await setUp('v2');
    simulator.faults.add({ route: '*', kind: 'server_error', times: 1 });
    await call();
    await delivery.flush();
    const identifier = (await ledger.events({ limit: 1 })).data[0]?.identifier ?? '';
    if (state !== 'ambiguous') {
      const more = { error: 'told by a test', notBeforeMs: 0 };
      await ledger.lease({ nowMs: runtime.nowMs + HOUR, leaseMs: 1, limit: 1 });
      if (state === 'cancelled') await ledger.mark([{ identifier, kind: 'accepted' }], runtime.nowMs);
      else await ledger.mark([{ identifier, kind: state, ...more }], runtime.nowMs);
      if (state === 'cancelled') await ledger.cancelAccepted(identifier);
    }
    expect(await withdraw(identifier)).toMatchObject({
      kind: 'impossible',
      message: expect.stringContaining(text) as string,
    });
  });
});

describe('an accepted event', () => {
  it.each(['v2', 'v1'] as const)('is taken back from Stripe within 24 hours (%s)', async (way) => {
    const { delivery, call, states, sum, withdraw, ledger, runtime } = await setUp(way);
    await call();
    await delivery.flush();
    const identifier = (await ledger.events({ limit: 1 })).data[0]?.identifier ?? '';
    runtime.nowMs += 23 * HOUR;
    expect(await withdraw(identifier)).toEqual({ kind: 'cancelled' });
    expect(await states()).toEqual({ cancelled: 1 });
    expect(sum()).toBe(0);
  });

  it.each([
    ['a page of JSON', 200, { ok: true }],
    [
      'the adjustment of another event',
      200,
      { object: 'v2.billing.meter_event_adjustment', cancel: { identifier: 'fg_2' } },
    ],
    ['a 503', 503, { error: { type: 'api_error', message: 'Down.' } }],
  ])('stays accepted where %s is the answer to its cancellation', async (_name, status, body) => {
    const { delivery, call, states, ledger, runtime } = await setUp('v2');
    await call();
    await delivery.flush();
    const identifier = (await ledger.events({ limit: 1 })).data[0]?.identifier ?? '';
    const proxy = await listen((_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    onTestFinished(() => proxy.close());
    const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: proxy.url });
    expect(await createWithdrawals({ stripe, ledger, runtime })(identifier)).toMatchObject({
      kind: 'impossible',
      message: expect.stringContaining(
        'Nobody knows whether Stripe took it back. To do: cancel it again.',
      ) as string,
    });
    expect(await states()).toEqual({ accepted: 1 });
  });

  it('is not taken back later: Stripe would not', async () => {
    const { delivery, call, withdraw, ledger, runtime, sum } = await setUp('v2');
    await call();
    await delivery.flush();
    const identifier = (await ledger.events({ limit: 1 })).data[0]?.identifier ?? '';
    runtime.nowMs += 25 * HOUR;
    expect(await withdraw(identifier)).toMatchObject({ kind: 'impossible' });
    expect(sum()).toBe(10);
  });
});
