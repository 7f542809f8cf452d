/** Cards, payments and checkout sessions of the stand-in, as the `stripe` package meets them. */
import { describe, expect, it } from 'vitest';
import type { Stripe } from 'stripe';
import { startSimulator, stripeError } from './start.ts';

async function customerWithCard(card = 'pm_card_visa') {
  const started = await startSimulator();
  started.simulator.addCustomer('cus_demo');
  const { id } = await started.stripe.paymentMethods.attach(card, { customer: 'cus_demo' });
  return { ...started, card: id };
}
const charge = (stripe: Stripe, card: string, idempotencyKey?: string) =>
  stripe.paymentIntents.create(
    {
      amount: 1_000,
      currency: 'usd',
      customer: 'cus_demo',
      payment_method: card,
      confirm: true,
      off_session: true,
      automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      metadata: { order: '7' },
    },
    idempotencyKey === undefined ? {} : { idempotencyKey },
  );
const SESSION: Stripe.Checkout.SessionCreateParams = {
  mode: 'payment',
  customer: 'cus_demo',
  line_items: [
    { quantity: 1, price_data: { currency: 'usd', unit_amount: 1_000, product_data: { name: 'Credit' } } },
  ],
  metadata: { order: '7' },
  success_url: 'https://shop.example/paid',
};

describe('a payment off session', () => {
  it('succeeds with a good card, once for an idempotency key', async () => {
    const { stripe, card, simulator } = await customerWithCard();
    const intent = await charge(stripe, card, 'key-1');
    expect(intent).toMatchObject({ status: 'succeeded', amount_received: 1_000, metadata: { order: '7' } });
    expect((await charge(stripe, card, 'key-1')).id).toBe(intent.id);
    expect(simulator.world.paymentIntents.size).toBe(1);
    const { data } = await stripe.paymentIntents.list({ customer: 'cus_demo' });
    expect(data.map(({ id }) => id)).toEqual([intent.id]);
  });

  it.each([
    ['pm_card_chargeCustomerFail', 'card_declined', 'generic_decline'],
    ['pm_card_visa_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
    ['pm_card_authenticationRequired', 'authentication_required', 'authentication_required'],
  ])('is refused with %s, and the intent says why', async (name, code, decline) => {
    const { stripe, card } = await customerWithCard(name);
    const error = await stripeError(charge(stripe, card));
    expect(error).toMatchObject({ statusCode: 402, type: 'StripeCardError', code, decline_code: decline });
    const [intent] = (await stripe.paymentIntents.list({ customer: 'cus_demo' })).data;
    expect(intent).toMatchObject({ status: 'requires_payment_method', last_payment_error: { code } });
    expect(error.payment_intent?.id).toBe(intent?.id);
    expect(await stripe.paymentIntents.cancel(intent?.id ?? '')).toMatchObject({ status: 'canceled' });
  });

  it('takes days by bank', async () => {
    const { stripe, card, simulator } = await customerWithCard('pm_usBankAccount');
    const { id, status } = await charge(stripe, card);
    expect(status).toBe('processing');
    await simulator.trigger('payment_intent.succeeded', { customer: 'cus_demo' });
    expect(await stripe.paymentIntents.retrieve(id)).toMatchObject({ status: 'succeeded' });
  });

  it('wants a method that is the customer’s, and a page to come back to where it may redirect', async () => {
    const { stripe, card, simulator } = await customerWithCard();
    simulator.addCustomer('cus_other');
    const params = { amount: 1_000, currency: 'usd', payment_method: card, confirm: true } as const;
    expect(
      await stripeError(stripe.paymentIntents.create({ ...params, customer: 'cus_other' })),
    ).toMatchObject({ statusCode: 400, message: expect.stringContaining('must be attached') });
    expect(
      await stripeError(stripe.paymentIntents.create({ ...params, customer: 'cus_demo' })),
    ).toMatchObject({ param: 'return_url' });
  });
});

describe('a customer', () => {
  it('has the default card that he was given', async () => {
    const { stripe, card } = await customerWithCard();
    await stripe.customers.update('cus_demo', { invoice_settings: { default_payment_method: card } });
    const customer = await stripe.customers.retrieve('cus_demo');
    expect(customer).toMatchObject({ invoice_settings: { default_payment_method: card, footer: null } });
  });
});

describe('a checkout session', () => {
  it('is paid on its page, which sends the customer back, and told by webhook', async () => {
    const { stripe, simulator } = await customerWithCard();
    const session = await stripe.checkout.sessions.create(SESSION);
    expect(session).toMatchObject({ status: 'open', payment_status: 'unpaid', amount_total: 1_000 });
    const page = await fetch(session.url ?? '');
    expect(await page.text()).toContain('Pay $10.00');
    const paid = await fetch(session.url ?? '', { method: 'POST', redirect: 'manual' });
    expect([paid.status, paid.headers.get('location')]).toEqual([303, 'https://shop.example/paid']);
    expect(await stripe.checkout.sessions.retrieve(session.id)).toMatchObject({
      status: 'complete',
      payment_status: 'paid',
      url: null,
    });
    expect(simulator.world.events.map(({ type }) => type)).toContain('checkout.session.completed');
    expect((await fetch(session.url ?? '', { method: 'POST' })).status).toBe(404);
  });

  it('expires, and says so', async () => {
    const { stripe, simulator, clock } = await customerWithCard();
    const { id } = await stripe.checkout.sessions.create(SESSION);
    clock.ms += 86_400_000;
    expect(await stripe.checkout.sessions.retrieve(id)).toMatchObject({ status: 'expired' });
    expect(simulator.world.events.at(-1)?.type).toBe('checkout.session.expired');
  });

  it('is completed to order, also before the money came', async () => {
    const { stripe, simulator } = await customerWithCard();
    const { id } = await stripe.checkout.sessions.create(SESSION);
    const given = { customer: 'cus_demo', payment_status: 'unpaid' };
    await simulator.trigger('checkout.session.completed', given);
    expect(await stripe.checkout.sessions.retrieve(id)).toMatchObject({
      status: 'complete',
      payment_status: 'unpaid',
    });
    await simulator.trigger('checkout.session.async_payment_succeeded', { customer: 'cus_demo' });
    expect(await stripe.checkout.sessions.retrieve(id)).toMatchObject({ payment_status: 'paid' });
  });

  it('is refused what Stripe refuses', async () => {
    const { stripe } = await customerWithCard();
    const soon = { ...SESSION, expires_at: 1 };
    expect(await stripeError(stripe.checkout.sessions.create(soon))).toMatchObject({ param: 'expires_at' });
    expect(await stripeError(stripe.checkout.sessions.retrieve('cs_none'))).toMatchObject({
      statusCode: 404,
    });
  });
});
