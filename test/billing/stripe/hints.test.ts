/** Stripe's events where its lists cannot be read, or do not show what the events tell of. */
import { describe, expect, it } from 'vitest';
import { createHints, type Hint, recordTold, trusted } from '../../../src/billing/stripe/hints.ts';
import type { CustomerReading } from '../../../src/billing/stripe/reading.ts';
import type { Account, SubscriptionReading } from '../../../src/ledger/accounts-port.ts';

const T = 1_763_726_000;
const UNREAD: CustomerReading = { credit: undefined, payment: undefined };
const EMPTY: CustomerReading = {
  credit: undefined,
  payment: { subscription: null, paymentBlock: null, period: null, listed: [] },
};
const owing = { id: 'sub_1', status: 'past_due', latest_invoice: 'in_1' };
const paid = { invoice: 'in_1', subscription: 'sub_1' };

/** What is on record after the events, told in this order. */
async function blockAfter(events: readonly Hint[], account?: Partial<Account>): Promise<string | null> {
  const hints = createHints();
  let latest: SubscriptionReading | undefined;
  const ledger = {
    account: () => Promise.resolve(account as Account | undefined),
    recordGrants: () => Promise.resolve(),
    recordSubscription: (reading: SubscriptionReading) => {
      if (latest === undefined || reading.readAtMs >= latest.readAtMs) latest = reading;
      return Promise.resolve('recorded' as const);
    },
  };
  for (const event of events) {
    hints.add('cus_a', event);
    await recordTold(ledger, { customer: 'cus_a', told: hints.of('cus_a'), reading: UNREAD, graceMs: 0 });
  }
  return latest?.paymentBlock?.why ?? null;
}

describe('where Stripe cannot be read', () => {
  it.each([
    [
      { createdS: T, subscription: owing },
      { createdS: T + 1, paid },
    ],
    [
      { createdS: T + 1, paid },
      { createdS: T, subscription: owing },
    ],
  ])('the invoice in question paid lifts the block, in either order', async (...events) => {
    expect(await blockAfter(events)).toBeNull();
  });

  it.each([
    { invoice: 'in_2', subscription: 'sub_1' },
    { invoice: 'in_1', subscription: 'sub_2' },
  ])('another invoice paid lifts nothing', async (other) => {
    const events = [
      { createdS: T, subscription: owing },
      { createdS: T + 1, paid: other },
    ];
    expect(await blockAfter(events)).toBe('subscription past_due');
  });

  it('a subscription that owes again, for another invoice, blocks again', async () => {
    const events = [
      { createdS: T + 1, paid },
      { createdS: T, subscription: owing },
      { createdS: T + 2, subscription: { ...owing, latest_invoice: 'in_2' } },
    ];
    expect(await blockAfter(events)).toBe('subscription past_due');
  });

  it('an older event after a newer one changes nothing', async () => {
    const events = [
      { createdS: T + 1, subscription: { ...owing, status: 'active' } },
      { createdS: T, subscription: owing },
    ];
    expect(await blockAfter(events)).toBeNull();
  });

  it.each([
    ['past_due', 1],
    ['canceled', 0],
  ])(
    'after a restart a paid invoice lifts the block of a subscription that is %s: %i',
    async (state, lifted) => {
      const records: SubscriptionReading[] = [];
      const hints = createHints();
      hints.add('cus_a', { createdS: T, paid });
      await recordTold(
        {
          account: () => Promise.resolve({ subscription: { id: 'sub_1', state }, period: null } as Account),
          recordGrants: () => Promise.resolve(),
          recordSubscription: (reading) => {
            records.push(reading);
            return Promise.resolve('recorded');
          },
        },
        { customer: 'cus_a', told: hints.of('cus_a'), reading: UNREAD, graceMs: 0 },
      );
      expect(records).toHaveLength(lifted);
    },
  );
});

describe("a list of the customer's subscriptions is not believed", () => {
  it('when it lacks the one an event told of', () => {
    const hints = createHints();
    hints.add('cus_a', { createdS: T, subscription: owing });
    expect(trusted(EMPTY, hints.of('cus_a'), undefined).payment).toBeUndefined();
  });

  it('when it lacks the one on record', () => {
    const account = { subscription: { id: 'sub_1', state: 'past_due' } };
    expect(trusted(EMPTY, undefined, account).payment).toBeUndefined();
  });

  it('unless nothing is known of any, or it shows only a part', () => {
    expect(trusted(EMPTY, undefined, undefined).payment).toBeDefined();
    const part = { ...EMPTY, payment: { ...EMPTY.payment!, listed: undefined } };
    expect(
      trusted(part, undefined, { subscription: { id: 'sub_1', state: 'active' } }).payment,
    ).toBeDefined();
  });
});
