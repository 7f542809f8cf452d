import { describe, expect, it } from 'vitest';
import { type InvoiceState, paymentOf, type SubscriptionState } from '../../../src/billing/stripe/payment.ts';

const PERIOD = { current_period_start: 1_000, current_period_end: 2_000 };
const subscription = (status: string, more: Partial<SubscriptionState> = {}): SubscriptionState => ({
  id: `sub_${status}`,
  status,
  created: 500,
  items: { data: [PERIOD] },
  ...more,
});
const blockOf = (
  subscriptions: readonly SubscriptionState[],
  invoices: readonly InvoiceState[] = [],
  graceMs = 0,
) => paymentOf(subscriptions, invoices, graceMs).paymentBlock;

describe('a payment is missing', () => {
  it.each(['past_due', 'unpaid', 'canceled', 'paused', 'incomplete_expired'])(
    'when the subscription is %s',
    (status) => {
      expect(blockOf([subscription(status)])).toMatchObject({ why: `subscription ${status}` });
    },
  );

  it.each(['active', 'trialing', 'incomplete'])('not when the subscription is %s', (status) => {
    expect(blockOf([subscription(status)])).toBeNull();
  });

  it('not when another subscription is active, whichever is newer', () => {
    const [active, canceled] = [subscription('active'), subscription('canceled', { created: 900 })];
    expect(blockOf([active, canceled])).toBeNull();
    expect(paymentOf([canceled, active], [], 0).subscription).toEqual({ id: 'sub_active', state: 'active' });
  });

  it.each(['past_due', 'unpaid', 'canceled', 'paused'])(
    'as long as a newer subscription than the one %s was never paid',
    (status) => {
      const old = subscription(status);
      for (const newer of ['incomplete', 'incomplete_expired']) {
        const both = [old, subscription(newer, { created: 900 })];
        expect(blockOf(both)).toMatchObject({ why: `subscription ${status}` });
        expect(paymentOf(both, [], 0).subscription).toEqual({ id: old.id, state: status });
      }
      expect(blockOf([old, subscription('active', { created: 900 })])).toBeNull();
    },
  );

  it('not of a customer without a subscription', () => {
    expect(paymentOf([], [], 0)).toEqual({ subscription: null, paymentBlock: null, period: null });
  });

  it('not any more when the invoice in question is paid, although the subscription is not active yet', () => {
    const owing = subscription('past_due', { latest_invoice: 'in_2' });
    const open = { id: 'in_2', status: 'open', created: 1_000 };
    expect(blockOf([owing], [open])).not.toBeNull();
    expect(blockOf([owing], [{ id: 'in_1', status: 'paid' }, open])).not.toBeNull();
    expect(blockOf([owing], [{ ...open, status: 'paid' }])).toBeNull();
    expect(blockOf([subscription('canceled')], [{ ...open, status: 'paid' }])).not.toBeNull();
  });

  it('since the invoice was due, and blocks when the grace is over', () => {
    const owing = subscription('past_due', { latest_invoice: { id: 'in_1' } });
    const invoice = { id: 'in_1', status: 'open', created: 1_100, due_date: null };
    expect(blockOf([owing], [invoice], 5_000)).toMatchObject({ atMs: 1_105_000 });
    expect(blockOf([subscription('canceled', { ended_at: 1_500 })], [], 5_000)).toMatchObject({
      atMs: 1_505_000,
    });
  });
});

it("the period is the subscription's present one, wherever the API version has it", () => {
  const period = { startMs: 1_000_000, endMs: 2_000_000 };
  expect(paymentOf([subscription('active')], [], 0).period).toEqual(period);
  expect(paymentOf([{ id: 's', status: 'active', ...PERIOD }], [], 0).period).toEqual(period);
});
