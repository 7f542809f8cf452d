/** Readings of customers' money, when one cannot be recorded. */
import { expect, it } from 'vitest';
import { createRefresher, type RefresherOptions } from '../../../src/billing/stripe/refresh.ts';
import { StripeUnreachable } from '../../../src/billing/ports.ts';
import { LedgerUnavailable } from '../../../src/ledger/ledger.ts';
import { createTestRuntime } from '../support.ts';

function setUp(error: Error) {
  const runtime = createTestRuntime();
  const [done, failed, wanted]: [string[], string[], string[]] = [[], [], []];
  const due = ['cus_odd', 'cus_b', 'cus_c', 'cus_d', 'cus_e', 'cus_f'];
  const ledger: Partial<RefresherOptions['ledger']> = {
    account: () => Promise.resolve(undefined),
    recordGrants: ({ customer }) => (customer === 'cus_odd' ? Promise.reject(error) : Promise.resolve()),
    dueReadings: () => Promise.resolve(due.map((customer) => ({ customer, attempts: 0 }))),
    nextReadingMs: () => Promise.resolve(undefined),
    readingDone: (customer) => Promise.resolve(void done.push(customer)),
    readingFailed: (customer) => Promise.resolve(void failed.push(customer)),
    wantReading: (customer) => Promise.resolve(void wanted.push(customer)),
  };
  const kind = { id: 'credgr_1', name: null, category: 'paid', priority: 50, applies: true } as const;
  const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
  const grants = [{ ...kind, ...times, amountPico: '1', balancePico: '1' }];
  const credit = { grants, finalisedThroughMs: undefined, availablePico: '1' };
  const refresher = createRefresher({
    ledger: ledger as RefresherOptions['ledger'],
    reader: { read: () => Promise.resolve({ credit, payment: undefined }) },
    runtime,
    graceMs: 0,
  });
  return { refresher, runtime, done, failed, wanted };
}

const told = [
  { level: 'error', event: 'stripe_reading_failed', fields: { customer: 'cus_odd', error: 'too much' } },
];

it('one customer who cannot be counted is tried again later, and keeps no other from being read', async () => {
  const { refresher, runtime, done, failed } = setUp(new RangeError('too much'));
  expect(await refresher.pass()).toBeUndefined();
  expect(done.toSorted()).toEqual(['cus_b', 'cus_c', 'cus_d', 'cus_e', 'cus_f']);
  expect(failed).toEqual(['cus_odd']);
  expect(runtime.lines).toMatchObject(told);
});

it('at first sight he is put down to be read, and not served unwatched', async () => {
  const { refresher, runtime, wanted } = setUp(new RangeError('too much'));
  await expect(refresher.first('cus_odd')).rejects.toThrow(StripeUnreachable);
  expect(wanted).toEqual(['cus_odd']);
  expect(runtime.lines).toMatchObject(told);
});

it('a ledger that is down is nobody’s in particular', async () => {
  const { refresher, failed } = setUp(new LedgerUnavailable('down'));
  await expect(refresher.pass()).rejects.toThrow(LedgerUnavailable);
  await expect(refresher.first('cus_odd')).rejects.toThrow(LedgerUnavailable);
  expect(failed).toEqual([]);
});

it('one who is refused by his credit is read again, once in half a minute, also after the clock was set back', () => {
  const { refresher, runtime, wanted } = setUp(new RangeError('too much'));
  refresher.doubted('cus_b');
  runtime.nowMs += 29_999;
  refresher.doubted('cus_b');
  expect(wanted).toEqual(['cus_b']);
  runtime.nowMs -= 86_400_000;
  refresher.doubted('cus_b');
  expect(wanted).toEqual(['cus_b', 'cus_b']);
});
