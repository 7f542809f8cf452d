import { describe, expect, it } from 'vitest';
import { createCustomers } from '../../../src/billing/stripe/customers.ts';
import { StripeUnreachable } from '../../../src/billing/ports.ts';
import { LedgerUnavailable } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, MemoryLedger } from '../support.ts';

function setUp(whenUnknown: 'refuse' | 'allow' = 'refuse', first?: () => Promise<void>) {
  const runtime = createTestRuntime();
  const ledger = new MemoryLedger();
  const asked: string[] = [];
  const stripe = { answer: (): Promise<boolean> => Promise.resolve(true) };
  const account = {
    customerExists: (customer: string): Promise<boolean> => {
      asked.push(customer);
      return stripe.answer();
    },
  };
  const customers = createCustomers({ ledger, account, runtime, whenUnknown, first });
  return { customers, runtime, ledger, asked, stripe };
}

describe('verifying a customer', () => {
  it('asks Stripe once and remembers durably', async () => {
    const { customers, ledger, asked } = setUp();
    expect(await customers.verify('cus_a')).toBe('known');
    expect(await customers.verify('cus_a')).toBe('known');
    expect(asked).toEqual(['cus_a']);
    expect(ledger.customers.get('cus_a')).toBe('known');
  });

  it('does not ask Stripe about a customer the ledger knows', async () => {
    const { customers, ledger, asked } = setUp();
    ledger.customers.set('cus_a', 'known');
    expect(await customers.verify('cus_a')).toBe('known');
    expect(asked).toEqual([]);
  });

  it('joins concurrent first sights into one look-up', async () => {
    const { customers, asked } = setUp();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => customers.verify('cus_a')));
    expect(new Set(verdicts)).toEqual(new Set(['known']));
    expect(asked).toHaveLength(1);
  });

  it('asks again about a missing customer after ten minutes', async () => {
    const { customers, runtime, asked, stripe } = setUp();
    stripe.answer = () => Promise.resolve(false);
    expect(await customers.verify('cus_a')).toBe('missing');
    runtime.nowMs += 599_999;
    expect(await customers.verify('cus_a')).toBe('missing');
    expect(asked).toHaveLength(1);
    stripe.answer = () => Promise.resolve(true);
    runtime.nowMs += 1;
    expect(await customers.verify('cus_a')).toBe('known');
  });

  it('asks again about a missing customer when the clock was set back meanwhile', async () => {
    const { customers, runtime, asked, stripe } = setUp();
    stripe.answer = () => Promise.resolve(false);
    expect(await customers.verify('cus_a')).toBe('missing');
    stripe.answer = () => Promise.resolve(true);
    runtime.nowMs -= 3_600_000;
    expect(await customers.verify('cus_a')).toBe('known');
    expect(asked).toHaveLength(2);
  });

  it('takes a deleted customer for missing at once', async () => {
    const { customers } = setUp();
    expect(await customers.verify('cus_a')).toBe('known');
    customers.deleted('cus_a');
    expect(await customers.verify('cus_a')).toBe('missing');
  });

  it('is not misled by a look-up that was under way when the customer was deleted', async () => {
    const { customers, stripe } = setUp();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    stripe.answer = () => promise;
    const verdict = customers.verify('cus_a');
    customers.deleted('cus_a');
    resolve(true);
    expect(await verdict).toBe('missing');
    expect(await customers.verify('cus_a')).toBe('missing');
  });
});

describe('a customer whom Stripe says that it has not', () => {
  it.each(['refuse', 'allow'] as const)(
    'is missing also where nothing could be read of his money (%s)',
    async (whenUnknown) => {
      const { customers, stripe } = setUp(whenUnknown, () => Promise.reject(new StripeUnreachable('429')));
      stripe.answer = () => Promise.resolve(false);
      expect(await customers.verify('cus_a')).toBe('missing');
    },
  );

  it('is missing at once, however long his money is being read', async () => {
    const { customers, stripe } = setUp('refuse', () => new Promise(() => undefined));
    stripe.answer = () => Promise.resolve(false);
    expect(await customers.verify('cus_a')).toBe('missing');
  });
});

describe('a customer of whom Stripe cannot say anything', () => {
  it('is refused, and asked about again at the next call', async () => {
    const { customers, stripe } = setUp();
    stripe.answer = () => Promise.reject(new StripeUnreachable('down'));
    expect(await customers.verify('cus_a')).toBe('unverified');
    stripe.answer = () => Promise.resolve(true);
    expect(await customers.verify('cus_a')).toBe('known');
  });

  it('is refused where his money cannot be read, and read at the next call', async () => {
    let reads = 0;
    const first = async (): Promise<void> => {
      reads += 1;
      if (reads === 1) throw new StripeUnreachable('500');
    };
    const { customers, ledger } = setUp('refuse', first);
    expect(await customers.verify('cus_a')).toBe('unverified');
    expect(ledger.customers.get('cus_a')).toBeUndefined();
    expect(await customers.verify('cus_a')).toBe('known');
    expect(reads).toBe(2);
  });

  it('is allowed if so configured, without writing it down or waiting at each call', async () => {
    const { customers, runtime, ledger, asked, stripe } = setUp('allow');
    stripe.answer = () => Promise.reject(new StripeUnreachable('down'));
    expect(await customers.verify('cus_a')).toBe('known');
    expect(await customers.verify('cus_a')).toBe('known');
    expect(asked).toHaveLength(1);
    expect(ledger.customers.size).toBe(0);
    stripe.answer = () => Promise.resolve(false);
    runtime.nowMs += 30_000;
    expect(await customers.verify('cus_a')).toBe('missing');
  });

  it('lets a failing ledger be known', async () => {
    const { customers, ledger } = setUp();
    ledger.failure = new LedgerUnavailable('disk full');
    await expect(customers.verify('cus_a')).rejects.toThrow(LedgerUnavailable);
  });
});
