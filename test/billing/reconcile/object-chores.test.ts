/** What a customer's own object does now and then. */
import { expect, it } from 'vitest';
import { createObjectChores, nightOffsetMs } from '../../../src/billing/reconcile/object-chores.ts';

const DAY = 86_400_000;
const NOW = 100 * DAY;

function choresOf({
  customer = 'cus_a' as string | undefined,
  latestMs = NOW as number | null,
  unconfirmedMs = null as number | null,
  trimMs = undefined as number | undefined,
}) {
  let checks = 0;
  const chores = createObjectChores({
    ledger: {
      customerAfter: async () => customer,
      latestEventMs: async () => latestMs,
      oldestUnconfirmedMs: async (_customer, sinceMs) =>
        unconfirmedMs !== null && unconfirmedMs >= sinceMs ? unconfirmedMs : null,
    },
    runtime: { now: () => NOW },
    nightly: {
      check: async () => {
        checks += 1;
        return 5_000;
      },
    },
    retention: { pass: async () => trimMs },
  });
  return { chores, checks: () => checks };
}

it('asks for the night while there is usage of the last days, or any that is not confirmed', async () => {
  for (const given of [{}, { latestMs: NOW - 10 * DAY, unconfirmedMs: NOW - 10 * DAY }]) {
    const { chores, checks } = choresOf(given);
    expect(await chores()).toBe(5_000);
    expect(checks()).toBe(1);
  }
});

it('sleeps without usage, or when all of it is old and confirmed, or too old to be mended', async () => {
  const idle = [
    { customer: undefined, latestMs: null },
    { latestMs: NOW - 10 * DAY },
    { latestMs: NOW - 40 * DAY, unconfirmedMs: NOW - 40 * DAY },
  ];
  for (const given of idle) {
    const { chores, checks } = choresOf(given);
    expect(await chores()).toBeUndefined();
    expect(checks()).toBe(0);
  }
});

it('trims where the operator asked for it, night or not', async () => {
  expect(await choresOf({ trimMs: 100 }).chores()).toBe(100);
  expect(await choresOf({ latestMs: NOW - 10 * DAY, trimMs: 100 }).chores()).toBe(100);
});

it('spreads the nights of many over two hours, each always at its own time', () => {
  const offsets = Array.from({ length: 1_000 }, (_, at) => nightOffsetMs(`object ${String(at)}`));
  expect(offsets).toEqual(offsets.map((_, at) => nightOffsetMs(`object ${String(at)}`)));
  expect(Math.min(...offsets)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...offsets)).toBeLessThan(2 * 3_600_000);
  expect(new Set(offsets.map((ms) => Math.floor(ms / 600_000))).size).toBe(12);
});
