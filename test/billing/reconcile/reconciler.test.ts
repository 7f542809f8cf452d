/** The runner over a real ledger and Stripe's stand-in, on one given clock. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createReconciler,
  type Reconciler,
  type ReconcileScope,
} from '../../../src/billing/reconcile/reconciler.ts';
import { createNightly } from '../../../src/billing/reconcile/nightly.ts';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeSums } from '../../../src/billing/reconcile/summaries.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import type { Delivery, EventState, Ledger } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import type { RunView } from '../../../src/ledger/reconcile-port.ts';
import { createStripeSimulator, type StripeSimulator } from '../../../src/simulator/stripe.ts';
import { openTemporary, type TemporaryDatabase } from '../../support/sqlite.ts';
import { createTestRuntime, type TestRuntime } from '../support.ts';

const HOUR = 3_600_000;
const METER = 'token-billing-tokens';
const A = 'cus_a';

let temporary: TemporaryDatabase;
let ledger: Ledger;
let simulator: StripeSimulator;
let runtime: TestRuntime;
let reconciler: Reconciler;
let stripe: ReturnType<typeof createStripeClient>;
let resent = 0;

beforeEach(async () => {
  runtime = createTestRuntime();
  resent = 0;
  temporary = await openTemporary();
  await migrate(temporary.database);
  ledger = createLedger({ database: temporary.database, bootId: 'test' });
  simulator = createStripeSimulator({ now: runtime.now, webhookSecret: 'whsec', summaryLagMs: 600_000 });
  simulator.addMeter(METER);
  simulator.addCustomer(A);
  simulator.addCustomer('cus_b');
  stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: await simulator.listen() });
  reconciler = createReconciler({
    ledger,
    sums: createStripeSums({ stripe }),
    runtime,
    dimensionsEventName: METER,
    resent: () => (resent += 1),
    pause: async () => undefined,
  });
});
afterEach(async () => {
  await simulator.close();
  await temporary.close();
});

/** An event on record that ended an hour ago, unless said otherwise. */
async function booked(identifier: string, value: number, more: { customer?: string; agoMs?: number } = {}) {
  const { customer = A, agoMs = HOUR } = more;
  const timestampMs = runtime.nowMs - agoMs;
  const event = { identifier, destination: 'dimensions', eventName: METER, customer, value: String(value) };
  await ledger.record({ ...event, model: '', tokenType: '', timestampMs });
  return { identifier, value, customer, timestampMs };
}
type Booked = Awaited<ReturnType<typeof booked>>;

const planted = ({ identifier, value, customer, timestampMs }: Booked): Promise<unknown> =>
  stripe.billing.meterEvents.create({
    event_name: METER,
    identifier,
    payload: { stripe_customer_id: customer, value: String(value) },
    timestamp: Math.floor(timestampMs / 1000),
  });

async function marked(identifier: string, kind: Delivery['kind'], atMs = runtime.nowMs): Promise<void> {
  await ledger.lease({ nowMs: atMs, leaseMs: 1_000, limit: 1, identifier });
  const error = 'told by a test';
  await ledger.mark([{ identifier, kind, error, notBeforeMs: atMs } as Delivery], atMs);
}
async function delivered(identifier: string, value: number, more: Parameters<typeof booked>[2] = {}) {
  const event = await booked(identifier, value, more);
  await planted(event);
  await marked(identifier, 'accepted');
}

async function compared(scope: Partial<ReconcileScope> = {}): Promise<RunView> {
  const run = await reconciler.begin({ cause: 'command', ...scope });
  if (run === null) throw new Error('one is running');
  return run.done;
}
const reasons = async ({ id }: RunView): Promise<string[]> =>
  (await ledger.runCells(id, 100)).flatMap((cell) =>
    cell.reasons.map(({ reason, value }) => `${cell.customer} ${reason} ${value}`),
  );
const stateOf = async (identifier: string): Promise<EventState | undefined> =>
  (await ledger.events({ identifier, limit: 1 })).data[0]?.state;
const pass = (ms: number): void => {
  runtime.nowMs += ms;
};

describe('reconciliation', () => {
  it('confirms accepted events once every one of them shows', async () => {
    await delivered('e1', 12);
    await delivered('e2', 30, { agoMs: 2 * HOUR });
    await delivered('e3', 5, { customer: 'cus_b' });
    expect(await compared()).toMatchObject({ verdict: 'lagging', lagging: 3, confirmed: 0 });
    pass(700_000);
    expect(await compared()).toMatchObject({ verdict: 'equal', equal: 3, lagging: 0, confirmed: 3 });
    expect(await stateOf('e1')).toBe('confirmed');
    expect(await compared()).toMatchObject({ verdict: 'equal', confirmed: 0 });
  });

  it('says what it waits for: not sent, and in no event yet', async () => {
    await booked('e1', 12);
    const run = await compared();
    expect(run).toMatchObject({ verdict: 'lagging', state: 'finished' });
    expect(await reasons(run)).toEqual(['cus_a undelivered 12']);
  });

  it("tells somebody else's events from its own, to the unit", async () => {
    await delivered('e1', 12);
    await planted({ identifier: 'theirs', value: 7, customer: A, timestampMs: runtime.nowMs - HOUR });
    pass(2 * HOUR);
    const run = await compared();
    expect(run).toMatchObject({ verdict: 'different', confirmed: 0 });
    expect(await reasons(run)).toEqual(['cus_a foreign 7']);
  });

  it('finds an event that Stripe counted twice, after it had forgotten the identifier', async () => {
    await delivered('e1', 12, { agoMs: 30 * HOUR });
    pass(25 * HOUR);
    await planted({ identifier: 'e1', value: 12, customer: A, timestampMs: runtime.nowMs - 55 * HOUR });
    pass(HOUR);
    const run = await compared();
    expect(await reasons(run)).toEqual(['cus_a foreign 12']);
  });

  it('finds what Stripe took and does not count', async () => {
    await delivered('e1', 12);
    await booked('e2', 5);
    await marked('e2', 'accepted');
    pass(2 * HOUR);
    const run = await compared();
    expect(await reasons(run)).toEqual(['cus_a missing 5']);
    expect(await stateOf('e1')).toBe('accepted');
  });

  it('finds late usage in the hour it belongs to', async () => {
    await delivered('e1', 12, { agoMs: 20 * 24 * HOUR });
    pass(HOUR);
    expect(await compared()).toMatchObject({ verdict: 'equal', confirmed: 1, equal: 1 });
  });

  it('settles quarantined events by what is missing: one is there, one is sent again', async () => {
    await delivered('e1', 12);
    const there = await booked('q1', 40);
    await planted(there);
    await booked('q2', 41);
    for (const identifier of ['q1', 'q2']) await marked(identifier, 'quarantined');
    pass(HOUR);
    const early = await compared();
    expect(early).toMatchObject({ verdict: 'lagging', delivered: 0, lost: 0 });
    pass(6 * HOUR);
    expect(await compared()).toMatchObject({ verdict: 'lagging', confirmed: 2, delivered: 1, lost: 1 });
    expect([await stateOf('q1'), await stateOf('q2')]).toEqual(['confirmed', 'pending']);
    expect(resent).toBe(1);
  });

  it('sends one of two that are alike again under a new identifier', async () => {
    for (const identifier of ['q1', 'q2']) {
      await booked(identifier, 40);
      await marked(identifier, 'quarantined');
    }
    await planted({ identifier: 'q2', value: 40, customer: A, timestampMs: runtime.nowMs - HOUR });
    pass(7 * HOUR);
    expect(await compared()).toMatchObject({ delivered: 1, lost: 1 });
    const states = (await ledger.events({ limit: 10 })).data.map((one) => [one.identifier, one.state]);
    expect(states.toSorted()).toEqual([
      ['q1', 'confirmed'],
      ['q2_r', 'pending'],
    ]);
  });

  it('loses nothing of two that are alike and still sent again, whichever of them Stripe has', async () => {
    for (const identifier of ['q1', 'q2']) {
      await booked(identifier, 40);
      await marked(identifier, 'ambiguous');
    }
    await planted({ identifier: 'q2', value: 40, customer: A, timestampMs: runtime.nowMs - HOUR });
    pass(7 * HOUR);
    expect(await compared()).toMatchObject({ verdict: 'lagging', delivered: 0, lost: 0 });
    expect([await stateOf('q1'), await stateOf('q2')]).toEqual(['ambiguous', 'ambiguous']);
  });

  it('finds an event that was refused after an attempt in doubt, and is to be sent again', async () => {
    await planted(await booked('q1', 40));
    await marked('q1', 'ambiguous');
    await marked('q1', 'refused');
    expect(await ledger.retryEvent('q1', runtime.nowMs)).toBe(true);
    pass(2 * HOUR);
    expect(await compared()).toMatchObject({ verdict: 'equal', delivered: 1, confirmed: 1 });
    expect(await violations(temporary.database)).toEqual([]);
  });

  it('adds up the meters that had the event name one after the other', async () => {
    await delivered('e1', 12);
    await planted(await booked('q1', 40, { agoMs: 3 * HOUR }));
    await marked('q1', 'quarantined');
    simulator.world.meters.forEach((meter) => (meter.status = 'inactive'));
    await stripe.billing.meters.create({
      default_aggregation: { formula: 'sum' },
      display_name: 'The new one',
      event_name: METER,
    });
    await delivered('e2', 5);
    pass(7 * HOUR);
    // Sent again, what the old meter has would count twice.
    expect(await compared()).toMatchObject({ verdict: 'equal', delivered: 1, lost: 0, confirmed: 3 });
  });

  it('confirms only what was taken before the books were read', async () => {
    await delivered('e1', 12);
    pass(2 * HOUR);
    const sums = createStripeSums({ stripe });
    const slow = createReconciler({
      ledger,
      runtime,
      dimensionsEventName: METER,
      resent: () => undefined,
      sums: {
        meters: sums.meters,
        async hours(query) {
          // Taken while Stripe is asked, and not in the sums that it gives.
          const found = await sums.hours(query);
          pass(1_000);
          await booked('e2', 5, { agoMs: 3 * HOUR + 1_000 });
          await marked('e2', 'accepted');
          pass(1_000);
          return found;
        },
      },
    });
    await (
      await slow.begin({ cause: 'command' })
    )?.done;
    expect([await stateOf('e1'), await stateOf('e2')]).toEqual(['confirmed', 'accepted']);
  });

  it('goes on past customers whose sums are no whole numbers, since somebody else sends parts of units', async () => {
    const world = ['cus_a', 'cus_b', 'cus_c', 'cus_d'];
    for (const customer of world) {
      simulator.addCustomer(customer);
      await delivered(`e_${customer}`, 12, { customer });
    }
    pass(2 * HOUR);
    const sums = createStripeSums({ stripe });
    const listed = stripe.billing.meters.listEventSummaries.bind(stripe.billing.meters);
    Object.assign(stripe.billing.meters, {
      listEventSummaries: (meter: string, query: { customer: string }) => ({
        autoPagingToArray: async () => {
          const found = await listed(meter, query as never).autoPagingToArray({ limit: 100 });
          if (query.customer === 'cus_d') return found;
          return found.map((one) => Object.assign({}, one, { aggregated_value: one.aggregated_value + 0.5 }));
        },
      }),
    });
    const run = await createReconciler({
      ledger,
      sums,
      runtime,
      dimensionsEventName: METER,
      resent: () => undefined,
      pause: async () => undefined,
    }).begin({ cause: 'command' });
    expect(await run?.done).toMatchObject({ unread: 3, confirmed: 1 });
    expect(await stateOf('e_cus_d')).toBe('confirmed');
  });

  it('compares three days before a given end, too, and nothing of a time to come', async () => {
    await delivered('e1', 12, { agoMs: 20 * 24 * HOUR });
    await ledger.confirmEvents(['e1']);
    await delivered('e2', 12);
    await ledger.confirmEvents(['e2']);
    pass(2 * HOUR);
    expect(await compared({ toMs: runtime.nowMs - 19 * 24 * HOUR })).toMatchObject({ equal: 1 });
    const run = await compared({ toMs: Date.UTC(2099, 0) });
    expect(run).toMatchObject({ equal: 1 });
    expect(run.toMs).toBeLessThanOrEqual(runtime.nowMs + 2 * HOUR);
  });

  it('settles thousands of quarantined events, as a restored backlog has them, and whoever comes after', async () => {
    for (let at = 0; at < 2_100; at += 1) await booked(`q${String(at)}`, 40);
    await ledger.beginRestoring(runtime.nowMs);
    expect(await ledger.finishRestoring(runtime.nowMs)).toBe(2_100);
    await delivered('e1', 5, { customer: 'cus_b' });
    pass(7 * HOUR);
    expect(await compared()).toMatchObject({ state: 'finished', lost: 2_100, confirmed: 1 });
    expect((await ledger.events({ state: 'quarantined', limit: 1 })).data).toEqual([]);
  });

  it('leaves to the operator what the difference cannot decide', async () => {
    await booked('q1', 40);
    await marked('q1', 'quarantined');
    await planted({ identifier: 'theirs', value: 13, customer: A, timestampMs: runtime.nowMs - HOUR });
    pass(7 * HOUR);
    const run = await compared();
    expect(await reasons(run)).toEqual(['cus_a undecided 40']);
    expect(await stateOf('q1')).toBe('quarantined');
  });

  it('takes what Stripe refused for a difference', async () => {
    await booked('e1', 12);
    await marked('e1', 'refused');
    expect(await reasons(await compared())).toEqual(['cus_a refused 12']);
  });

  it('compares sums of a meter without dimensions, and says that it has none', async () => {
    simulator.world.meters.forEach((meter) => (meter.dimension_payload_keys = null));
    await delivered('e1', 12);
    pass(HOUR);
    const run = await compared();
    expect(run.verdict).toBe('equal');
    expect(run.notes[0]).toContain('shows no dimensions');
  });

  it('says that there is no meter, no such customer, or one that does not add up', async () => {
    await delivered('e1', 12);
    simulator.world.meters.forEach((meter) => (meter.default_aggregation.formula = 'count'));
    expect(await reasons(await compared())).toEqual(['cus_a not_summed 12']);
    simulator.world.meters.forEach((meter) => (meter.event_name = 'other'));
    expect(await reasons(await compared())).toEqual(['cus_a no_meter 12']);
    simulator.world.meters.forEach((meter) => (meter.event_name = METER));
    simulator.world.meters.forEach((meter) => (meter.default_aggregation.formula = 'sum'));
    simulator.world.customers.delete(A);
    expect(await reasons(await compared())).toEqual(['cus_a no_customer 12']);
  });

  it('reads every page of a long time', async () => {
    for (let at = 1; at <= 130; at += 1) await delivered(`e${at}`, at, { agoMs: at * HOUR });
    pass(2 * HOUR);
    expect(await compared({ fromMs: runtime.nowMs - 200 * HOUR })).toMatchObject({
      verdict: 'equal',
      equal: 130,
      confirmed: 130,
    });
  });

  it('compares one customer, and a time, alone', async () => {
    await delivered('e1', 12);
    await delivered('e2', 12, { agoMs: 10 * HOUR });
    await delivered('e3', 12, { customer: 'cus_b' });
    pass(HOUR);
    const scope = { customer: A, fromMs: runtime.nowMs - 5 * HOUR };
    expect(await compared(scope)).toMatchObject({ equal: 1, confirmed: 1, customer: A });
    expect(await stateOf('e2')).toBe('accepted');
  });

  it('fails, and decides nothing, when Stripe gives no answer; the next run goes on', async () => {
    await delivered('e1', 12);
    pass(HOUR);
    simulator.faults.add({ route: '* /v1/billing/meters/*', kind: 'server_error', times: 100 });
    const run = await compared();
    expect(run).toMatchObject({ state: 'failed', verdict: null, unread: 1, confirmed: 0 });
    simulator.faults.clear();
    expect(await compared()).toMatchObject({ state: 'finished', verdict: 'equal', confirmed: 1 });
  });

  it('asks again after a 429', async () => {
    await delivered('e1', 12);
    pass(HOUR);
    simulator.faults.add({ route: '* /v1/billing/meters/*', kind: 'rate_limited', times: 2 });
    expect(await compared()).toMatchObject({ state: 'finished', verdict: 'equal' });
  });

  it('comes to the same wherever it is broken off, once it is run again', async () => {
    // Each batch that a run writes is lost once, with all that would have come after it.
    for (let lost = 1; lost <= 6; lost += 1) {
      const at = `${String(lost)}`;
      await delivered(`e${at}`, 12);
      await planted(await booked(`there${at}`, 40));
      await booked(`gone${at}`, 41);
      for (const name of ['there', 'gone']) await marked(`${name}${at}`, 'quarantined');
      pass(7 * HOUR);
      let left = lost;
      const failing =
        <T extends unknown[], R>(work: (...args: T) => Promise<R>) =>
        async (...args: T): Promise<R> => {
          left -= 1;
          if (left === 0) throw new Error('The process ended here.');
          return work(...args);
        };
      const { mark, resolveEvent, resendAnew, confirmHour, recordCells, endRun } = ledger;
      const steps = { mark, resolveEvent, resendAnew, confirmHour, recordCells, endRun };
      const broken = Object.fromEntries(
        Object.entries(steps).map(([name, work]) => [
          name,
          failing(work as (...args: unknown[]) => Promise<unknown>),
        ]),
      ) as unknown as typeof steps;
      const run = await createReconciler({
        ledger: { ...ledger, ...broken },
        sums: createStripeSums({ stripe }),
        runtime,
        dimensionsEventName: METER,
        resent: () => undefined,
        pause: async () => undefined,
      }).begin({ cause: 'command' });
      await run?.done.catch(() => undefined);
      await compared();
      const states = await Promise.all(['e', 'there', 'gone'].map((name) => stateOf(`${name}${at}`)));
      expect(states, `broken off at step ${at}`).toEqual(['confirmed', 'confirmed', 'pending']);
    }
  });

  it('is never run twice at once, and keeps its history', async () => {
    const first = await reconciler.begin({ cause: 'command' });
    expect(await reconciler.begin({ cause: 'command' })).toBeNull();
    await first?.done;
    await compared();
    const page = await ledger.runs({ limit: 1 });
    expect(page.data).toHaveLength(1);
    const rest = await ledger.runs({ limit: 10, cursor: page.nextCursor ?? '' });
    expect(rest.data.map(({ id }) => id)).toEqual([first?.id]);
  });

  it('marks a run as failed that a crash left behind', async () => {
    await ledger.beginRun({
      id: 'rcn_0',
      cause: 'nightly',
      customer: null,
      fromMs: null,
      toMs: 1,
      startedAtMs: 1,
    });
    await compared();
    expect((await ledger.runs({ id: 'rcn_0', limit: 1 })).data[0]).toMatchObject({ state: 'failed' });
  });
});

const runs = async (): Promise<number> => (await ledger.runs({ limit: 100 })).data.length;

const nightlyOf = (deferred: Promise<unknown>[]) =>
  createNightly({
    ledger,
    reconciler,
    runtime: { now: runtime.now, log: runtime.log, defer: (work) => void deferred.push(work) },
  });

describe('the nightly comparison', () => {
  it('runs once a night, at ten past three, and makes up for a night that was missed', async () => {
    const deferred: Promise<unknown>[] = [];
    const nightly = () => nightlyOf(deferred);
    const night = nightly();
    await night.check();
    expect(await runs()).toBe(0);
    runtime.nowMs = Date.UTC(2026, 10, 22, 3, 9, 59);
    await night.check();
    expect(await runs()).toBe(0);
    runtime.nowMs = Date.UTC(2026, 10, 22, 3, 10);
    await night.check();
    await night.check();
    await Promise.all(deferred);
    expect(await runs()).toBe(1);
    runtime.nowMs = Date.UTC(2026, 10, 25, 12);
    const afterDowntime = nightly();
    await afterDowntime.check();
    await Promise.all(deferred);
    expect(await runs()).toBe(2);
  });

  it('comes with the next night after the clock was set back by a year, in this process and in the next', async () => {
    const deferred: Promise<unknown>[] = [];
    const [nightMs, year] = [Date.UTC(2026, 10, 22, 3, 10), 365 * 24 * HOUR];
    const night = nightlyOf(deferred);
    await night.check();
    runtime.nowMs = nightMs + year;
    await night.check();
    await Promise.all(deferred);
    expect(await runs()).toBe(1);
    runtime.nowMs = nightMs - HOUR;
    expect(await night.check()).toBe(HOUR);
    expect(await nightlyOf(deferred).check()).toBe(HOUR);
    runtime.nowMs = nightMs;
    await night.check();
    await Promise.all(deferred);
    expect(await runs()).toBe(2);
  });

  it('is tried again within minutes when it failed, each time later, with an alarm at the third, and not by a restart', async () => {
    await booked('one', 5);
    await marked('one', 'accepted');
    const deferred: Promise<unknown>[] = [];
    let night = nightlyOf(deferred);
    simulator.faults.add({ route: 'GET /v1/billing/meters', kind: 'server_error', times: 9 });
    runtime.nowMs = Date.UTC(2026, 10, 22, 3, 10);
    const attempts: number[] = [];
    for (let minute = 0; minute < 60; minute += 1) {
      await night.check();
      const known = await runs();
      if (known > attempts.length) attempts.push(minute);
      await Promise.all(deferred);
      // A process that ends takes nothing with it.
      if (minute === 10) night = nightlyOf(deferred);
      runtime.nowMs += 60_000;
    }
    expect(attempts).toEqual([0, 5, 15, 35]);
    expect((await ledger.runs({ limit: 10 })).data.map(({ state }) => state)).toEqual([
      'finished',
      'failed',
      'failed',
      'failed',
    ]);
    const told = runtime.lines.map(({ event }) => event);
    expect(told.filter((event) => event === 'reconciliation_keeps_failing')).toHaveLength(1);
    expect(told).toContain('reconciliation_well_again');
    expect(night.detail()).toEqual({});
  });

  it('says in readiness how many nights failed, until one went well', async () => {
    const deferred: Promise<unknown>[] = [];
    const night = nightlyOf(deferred);
    simulator.faults.add({ route: 'GET /v1/billing/meters', kind: 'server_error', times: 99 });
    await booked('one', 5);
    await marked('one', 'accepted');
    runtime.nowMs = Date.UTC(2026, 10, 22, 3, 10);
    for (let n = 0; n < 4; n += 1) {
      runtime.nowMs += await night.check();
      await Promise.all(deferred);
      runtime.nowMs += 2 * HOUR;
    }
    expect(night.detail()).toEqual({ reconciliations_failed_in_a_row: 4 });
  });

  it('is due at once for usage of a night that passed while no process was there', async () => {
    await booked('one', 5, { agoMs: 30 * HOUR });
    await marked('one', 'accepted');
    const deferred: Promise<unknown>[] = [];
    await nightlyOf(deferred).check();
    await Promise.all(deferred);
    expect(await runs()).toBe(1);
  });
});
