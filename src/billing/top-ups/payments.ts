/**
 * What is asked of Stripe where customers buy credit: a charge, a checkout, the grant for it. Every answer is put into words
 * that say whether money moved; "nobody knows" is one of them.
 *
 * A charge is a payment intent and not an invoice: an invoice that is declined stays open, is tried again by Stripe, and an
 * open invoice is what Faregate refuses customers for. Requires Payment intents, Checkout sessions and Credit grants, write,
 * and Customers, read, of a restricted key.
 */
import { Stripe } from 'stripe';
import type { TopUp } from '../../ledger/top-ups.ts';
import { realDeadline, within } from '../stripe/deadline.ts';
import type { Deadline } from '../stripe/deadline.ts';
import { isStripes } from '../stripe/answers.ts';
import { membersIfAny, type Members } from '../stripe/event.ts';

/** What an answer, or none, says. */
export type Asked<T> =
  | { readonly kind: 'done'; readonly value: T }
  /** Stripe says no, and nothing was done. `failure` is a word for programs. */
  | {
      readonly kind: 'refused';
      readonly failure: string;
      readonly message: string;
      /** The payment intent that was declined, where there is one. */
      readonly payment?: string | undefined;
    }
  /** It may have been done. `isAnswered`: by a fault of Stripe's own, which repeats itself under the same key. */
  | { readonly kind: 'unknown'; readonly message: string; readonly isAnswered: boolean };

export type Charge =
  | { readonly kind: 'paid' | 'pending'; readonly payment: string }
  | {
      readonly kind: 'failed';
      readonly payment: string;
      readonly failure: string;
      readonly message: string;
    };

export interface StripePayments {
  /** The customer's default payment method; null where he has none. */
  method(customer: string): Promise<Asked<string | null>>;
  charge(topUp: TopUp): Promise<Asked<Charge>>;
  /** The charge that was made for it, if one was. */
  findCharge(topUp: TopUp): Promise<Asked<Charge | null>>;
  /** So that nobody can pay later what has failed. */
  cancel(payment: string): Promise<void>;
  checkout(topUp: TopUp, page: CheckoutPage): Promise<Asked<Stripe.Checkout.Session>>;
  session(id: string): Promise<Asked<Stripe.Checkout.Session>>;
  findSession(topUp: TopUp): Promise<Asked<Stripe.Checkout.Session | null>>;
  grant(topUp: TopUp): Promise<Asked<Stripe.Billing.CreditGrant>>;
  findGrant(topUp: TopUp): Promise<Asked<Stripe.Billing.CreditGrant | null>>;
}

export interface CheckoutPage {
  readonly expiresAtS: number;
  readonly successUrl: string;
}

/** The member of Stripe's metadata that names the row: charges, sessions and grants are found again by it. */
export const TOP_UP_METADATA = 'faregate_top_up';
/** A charge waits for the bank. */
const CHARGE_MS = 30_000;
const ASK_MS = 10_000;
const PAGE_ROWS_MAX = 100;
/** Stripe's clock and ours. */
const OVERLAP_S = 300;
const CURRENCY = 'usd';
const NAME = 'Top-up';

export function createStripePayments(options: {
  readonly stripe: Stripe;
  readonly deadline?: Deadline | undefined;
}): StripePayments {
  const { stripe, deadline = realDeadline } = options;
  const ask = createAsk(deadline);
  const request = { timeout: ASK_MS, maxNetworkRetries: 0 } as const;
  return {
    async method(customer) {
      const asked = await ask(stripe.customers.retrieve(customer, undefined, request), isCustomer);
      return asked.kind === 'done' ? { kind: 'done', value: methodOf(asked.value) } : asked;
    },
    async charge(topUp) {
      const keyed = {
        ...request,
        timeout: CHARGE_MS,
        idempotencyKey: `faregate-charge-${topUp.id}`,
      };
      const asked = await ask(stripe.paymentIntents.create(chargeOf(topUp), keyed), isIntent, CHARGE_MS);
      return asked.kind === 'done' ? { kind: 'done', value: chargedOf(asked.value) } : asked;
    },
    async findCharge(topUp) {
      if (topUp.payment !== null) {
        const known = await ask(stripe.paymentIntents.retrieve(topUp.payment, undefined, request), isIntent);
        return known.kind === 'done' ? { kind: 'done', value: chargedOf(known.value) } : known;
      }
      const params = { customer: topUp.customer, created: { gte: since(topUp) }, limit: PAGE_ROWS_MAX };
      const asked = await ask(stripe.paymentIntents.list(params, request), isList);
      if (asked.kind !== 'done') return asked;
      const found = asked.value.data.find((one) => isFor(one, topUp));
      if (found === undefined) return { kind: 'done', value: null };
      return isIntent({ ...found }) ? { kind: 'done', value: chargedOf(found) } : NOT_IT;
    },
    async cancel(payment) {
      await ask(stripe.paymentIntents.cancel(payment, undefined, request), isIntent);
    },
    checkout: (topUp, page) =>
      ask(
        stripe.checkout.sessions.create(sessionOf(topUp, page), {
          ...request,
          idempotencyKey: `faregate-checkout-${topUp.id}`,
        }),
        isSession,
      ),
    session: (id) => ask(stripe.checkout.sessions.retrieve(id, undefined, request), isSession),
    async findSession(topUp) {
      const params = { customer: topUp.customer, created: { gte: since(topUp) }, limit: PAGE_ROWS_MAX };
      const asked = await ask(stripe.checkout.sessions.list(params, request), isList);
      if (asked.kind !== 'done') return asked;
      return { kind: 'done', value: asked.value.data.find((one) => isFor(one, topUp)) ?? null };
    },
    grant: (topUp) =>
      ask(
        stripe.billing.creditGrants.create(grantOf(topUp), { ...request, idempotencyKey: grantKey(topUp) }),
        isGrant,
      ),
    async findGrant(topUp) {
      const params = { customer: topUp.customer, limit: PAGE_ROWS_MAX };
      const asked = await ask(stripe.billing.creditGrants.list(params, request), isList);
      if (asked.kind !== 'done') return asked;
      return { kind: 'done', value: asked.value.data.find((one) => isFor(one, topUp)) ?? null };
    },
  };
}

/** What became of a request; `isIt` says whether the answer is what was asked for. */
const createAsk =
  (deadline: Deadline) =>
  async <T>(work: Promise<T>, isIt: (answer: Members) => boolean, ms = ASK_MS): Promise<Asked<T>> => {
    try {
      const value = await within(work, deadline(ms));
      return isIt(membersIfAny(value)) ? { kind: 'done', value } : NOT_IT;
    } catch (error) {
      return failureOf(error);
    }
  };

/**
 * The SDK takes any JSON without an `error` member for success. What is not what was asked for, or in a state that is not
 * known here, says nothing of whether money moved.
 */
const NOT_IT = {
  kind: 'unknown',
  message: 'The answer is not what was asked for: what answered may not be Stripe.',
  isAnswered: false,
} as const;
const isNamed = ({ id }: Members, prefix: string): boolean => typeof id === 'string' && id.startsWith(prefix);
const INTENT_STATES: ReadonlySet<unknown> = new Set([
  'canceled',
  'processing',
  'requires_action',
  'requires_capture',
  'requires_confirmation',
  'requires_payment_method',
  'succeeded',
]);
const isIntent = (answer: Members): boolean => isNamed(answer, 'pi_') && INTENT_STATES.has(answer['status']);
const isSession = (answer: Members): boolean =>
  isNamed(answer, 'cs_') && typeof answer['payment_status'] === 'string';
const isGrant = (answer: Members): boolean =>
  isNamed(answer, 'credgr_') && answer['amount'] instanceof Object;
const isCustomer = (answer: Members): boolean =>
  isNamed(answer, 'cus_') && (answer['deleted'] === true || answer['invoice_settings'] instanceof Object);
const isList = ({ data }: Members): boolean => Array.isArray(data);

const since = ({ createdAtMs }: TopUp): number => Math.floor(createdAtMs / 1_000) - OVERLAP_S;

const isFor = ({ metadata }: { metadata: Stripe.Metadata | null }, { id }: TopUp): boolean =>
  metadata?.[TOP_UP_METADATA] === id;

const methodOf = (customer: Stripe.Customer | Stripe.DeletedCustomer): string | null => {
  if (customer.deleted === true) return null;
  const method = customer.invoice_settings.default_payment_method;
  return typeof method === 'object' ? (method?.id ?? null) : method;
};

/** No page to come back to: whoever is charged is not there. Ways that would redirect him are left out. */
const chargeOf = ({ id, customer, cents, paymentMethod }: TopUp): Stripe.PaymentIntentCreateParams => ({
  amount: cents,
  currency: CURRENCY,
  customer,
  payment_method: paymentMethod ?? '',
  confirm: true,
  off_session: true,
  automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  description: NAME,
  metadata: { [TOP_UP_METADATA]: id },
});

function chargedOf(intent: Stripe.PaymentIntent): Charge {
  const { id: payment, status, last_payment_error: error } = intent;
  if (status === 'succeeded') return { kind: 'paid', payment };
  if (status === 'processing') return { kind: 'pending', payment };
  const failure = error?.decline_code ?? error?.code ?? status;
  return { kind: 'failed', payment, failure, message: error?.message ?? `The payment is ${status}.` };
}

const sessionOf = (
  { id, customer, cents }: TopUp,
  { expiresAtS, successUrl }: CheckoutPage,
): Stripe.Checkout.SessionCreateParams => ({
  mode: 'payment',
  customer,
  client_reference_id: id,
  line_items: [
    {
      quantity: 1,
      price_data: { currency: CURRENCY, unit_amount: cents, product_data: { name: NAME } },
    },
  ],
  metadata: { [TOP_UP_METADATA]: id },
  payment_intent_data: { metadata: { [TOP_UP_METADATA]: id } },
  success_url: successUrl,
  expires_at: expiresAtS,
});

/** A payment has one grant: the key is the payment's. A fault that Stripe would repeat under it is asked past, after a look. */
const grantKey = ({ payment, grantTries }: TopUp): string =>
  `faregate-credit-${payment ?? ''}${grantTries === 0 ? '' : `-${String(grantTries)}`}`;

const grantOf = ({ id, customer, cents, payment }: TopUp): Stripe.Billing.CreditGrantCreateParams => ({
  customer,
  category: 'paid',
  name: NAME,
  amount: { type: 'monetary', monetary: { currency: CURRENCY, value: cents } },
  applicability_config: { scope: { price_type: 'metered' } },
  metadata: { [TOP_UP_METADATA]: id, faregate_payment: payment ?? '' },
});

/** Only what Stripe itself says in so many words is a no. */
function failureOf(error: unknown): Exclude<Asked<never>, { kind: 'done' }> {
  const message = error instanceof Error ? error.message : String(error);
  const unknown = (isAnswered: boolean) => ({ kind: 'unknown', message, isAnswered }) as const;
  if (!(error instanceof Stripe.errors.StripeError)) return unknown(false);
  const { statusCode: status, code, decline_code: decline, rawType } = error;
  if (status === 402 && rawType === 'card_error')
    return {
      kind: 'refused',
      failure: decline ?? code ?? 'card_declined',
      message,
      payment: error.payment_intent?.id,
    };
  if (status === undefined || !isStripes(error) || rawType === 'idempotency_error') return unknown(false);
  if (status >= 500) return unknown(true);
  if (status === 401 || status === 403) return { kind: 'refused', failure: 'not_permitted', message };
  return status === 400 || status === 404
    ? { kind: 'refused', failure: code ?? 'refused', message }
    : unknown(false);
}
