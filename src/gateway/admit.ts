/** Step 3: may this customer's call be served? If so it is on record, durably, before the provider is asked. */
import { Refusal } from '../errors.ts';
import type { Block, Ledger } from '../ledger/ledger.ts';
import type { Call } from './call.ts';

/** Whether Stripe knows a customer. Waits for Stripe only at the first sight of him, 2 s at most. */
export interface CustomerDirectory {
  verify(customer: string): Promise<'known' | 'missing' | 'unverified'> | 'known' | 'missing' | 'unverified';
}

/**
 * Opens the call in the ledger.
 *
 * @throws {Refusal} 402 when the customer is blocked, 403 when Stripe does not know him, 503 when Stripe could not say.
 * @throws {LedgerUnavailable} when the record could not be made durable.
 */
export async function admit(ledger: Ledger, customers: CustomerDirectory, call: Call): Promise<void> {
  const seen = customers.verify(call.customer);
  const known = typeof seen === 'string' ? seen : await seen;
  if (known === 'missing') throw notFound(call.customer);
  if (known === 'unverified') {
    throw new Refusal(
      'customer_unverified',
      `Stripe could not say within 2 s whether ${call.customer} exists, and he was not seen here before. Try again shortly.`,
    );
  }
  const admission = await ledger.admit({
    id: call.id,
    customer: call.customer,
    keyId: call.keyId,
    endpoint: call.endpoint,
    provider: call.target.route.upstream.name,
    model: call.target.billedModel,
    stream: call.request.stream,
    openedAtMs: call.startedAtMs,
  });
  if (admission.kind === 'blocked') throw blocked(call.customer, admission.block);
  if (admission.kind === 'missing') throw notFound(call.customer);
}

const notFound = (customer: string): Refusal =>
  new Refusal(
    'customer_not_found',
    `Stripe has no customer ${customer}, or he was deleted. Check the id and that key and customer are both live or both test.`,
  );

const REMEDIES: Readonly<Record<Block['code'], { readonly what: string; readonly remedy: string }>> = {
  alert_triggered: {
    what: 'a spending alert has fired',
    remedy: 'Add credit, or wait for the next billing period.',
  },
  credit_balance_exhausted: { what: 'the credit balance is used up', remedy: 'Add credit.' },
  customer_frozen: { what: 'the account is frozen', remedy: 'Ask the operator.' },
  subscription_inactive: { what: 'the subscription is not active', remedy: 'Pay the open invoice.' },
};

function blocked(customer: string, block: Block): Refusal {
  const { what, remedy } = REMEDIES[block.code];
  const source = block.source === '' ? '' : ` (${block.source})`;
  return new Refusal(block.code, `${customer} is refused: ${what}${source}. ${remedy}`, {
    details: {
      limit_source: block.source === '' ? block.code : block.source,
      balance_usd: null,
      required_usd: null,
      resets_at: null,
      top_up_url: null,
      remedy_hint: remedy,
    },
  });
}
