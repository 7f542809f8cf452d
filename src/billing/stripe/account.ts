/** What is asked of Stripe outside delivery: who a customer is, and whether there is credit left. */
import { Stripe } from 'stripe';
import { realDeadline, within } from './deadline.ts';
import type { Deadline } from './deadline.ts';
import { StripeUnreachable } from '../ports.ts';
import type { StripeAccount } from '../ports.ts';

export interface StripeAccountOptions {
  readonly stripe: Stripe;
  readonly deadline?: Deadline | undefined;
}

/** A call waits for this answer, so it is short: the contract's limit. */
const CUSTOMER_MS = 2_000;
/** Asked by a webhook, which Stripe gives 10 s or more. */
const CREDIT_MS = 8_000;

export function createStripeAccount({
  stripe,
  deadline = realDeadline,
}: StripeAccountOptions): StripeAccount {
  return {
    async customerExists(customer) {
      const options = { timeout: CUSTOMER_MS, maxNetworkRetries: 0 };
      const found = await ask(() => stripe.customers.retrieve(customer, {}, options), deadline(CUSTOMER_MS));
      if (found === 'missing') return false;
      return known(found.id === customer, found).deleted !== true;
    },
    async hasAvailableCredit(customer) {
      const filter = { type: 'applicability_scope', applicability_scope: { price_type: 'metered' } } as const;
      const options = { timeout: CREDIT_MS, maxNetworkRetries: 0 };
      const found = await ask(
        () => stripe.billing.creditBalanceSummaries.retrieve({ customer, filter }, options),
        deadline(CREDIT_MS),
      ).catch(unreadable);
      if (found === 'missing') return false;
      if (found === 'unreadable') return undefined;
      const { balances } = known(Array.isArray(found.balances), found);
      // Only dollars count, here as everywhere.
      return balances.some(
        ({ available_balance: { monetary } }) => monetary?.currency === 'usd' && monetary.value > 0,
      );
    },
  };
}

/** The answer; `missing` for Stripe's own "no such"; everything else that is no answer is `StripeUnreachable`. */
async function ask<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T | 'missing'> {
  try {
    return await within(request(), signal);
  } catch (error) {
    if (
      error instanceof Stripe.errors.StripeError &&
      error.statusCode === 404 &&
      error.code === 'resource_missing'
    ) {
      return 'missing';
    }
    throw new StripeUnreachable(reasonOf(error), { cause: error });
  }
}

/** The key may not read it, or there is nothing such to read: asking again does not help. */
function unreadable(error: unknown): 'unreadable' {
  const cause = error instanceof StripeUnreachable ? error.cause : undefined;
  const status = cause instanceof Stripe.errors.StripeError ? cause.statusCode : undefined;
  if (status === 400 || status === 403 || status === 404 || status === 501) return 'unreadable';
  throw error;
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
  switch (status) {
    case 401:
      return `Stripe refuses the key: check STRIPE_SECRET_KEY. (${text})`;
    case 403:
      return `The Stripe key may not read this: give the restricted key Customers and Credit balance summary, read. (${text})`;
    default:
      return `Stripe gave no answer${status === undefined ? '' : ` (HTTP ${String(status)})`}: ${text}`;
  }
}

/** The SDK takes any JSON without an `error` member for success, a proxy's error page included. */
function known<T>(isExpected: boolean, answer: T): T {
  if (!isExpected)
    throw new StripeUnreachable(
      'What answered in place of Stripe is not what was asked for: check STRIPE_API_BASE.',
    );
  return answer;
}
