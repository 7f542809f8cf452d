/** Step 3: may this customer's call be served? If so it is on record, durably, before the provider is asked. */
import { type ErrorCode, Refusal } from '../errors.ts';
import type { Block, CallToOpen } from '../ledger/ledger.ts';
import { parseJson } from '../usage/json-value.ts';
import { formatUsd } from '../usage/money.ts';
import type { Call, CallMoney } from './call.ts';

/** Whether Stripe knows a customer. Waits for Stripe only at the first sight of him, 2 s at most. */
export interface CustomerDirectory {
  verify(customer: string): Promise<'known' | 'missing' | 'unverified'> | 'known' | 'missing' | 'unverified';
}

/** What a customer's money says of a call. It opens the call, too: see src/billing/budgets/budgets.ts. */
export interface Budgets {
  admit(call: CallToOpen, asked: AskedFor): Promise<Verdict>;
}

/** A request as far as its cost needs it. */
export interface AskedFor {
  readonly endpoint: string;
  readonly bodyBytes: number;
  /** The body's JSON; undefined for a form. */
  readonly body: () => unknown;
  /** The names of a form's parts; undefined where the body is none. */
  readonly formNames?: readonly string[] | undefined;
  readonly estimateInput: () => number;
  readonly targets: readonly {
    readonly billedModel: string;
    readonly upstreamModel: string;
    readonly providerType: string;
  }[];
}

export type Verdict =
  | ({ readonly kind: 'admitted' } & CallMoney)
  | { readonly kind: 'missing' }
  | { readonly kind: 'blocked'; readonly block: Block; readonly topUpUrl: string | null }
  | {
      readonly kind: 'refused';
      readonly code: ErrorCode;
      readonly source: string;
      readonly balancePico: bigint | null;
      readonly requiredPico: bigint | null;
      readonly resetsAtMs: number | null;
      readonly topUpUrl: string | null;
      readonly message: string;
      readonly remedy: string;
    };

/** Running calls settle within seconds; sooner than this nothing will have changed. */
const RETRY_IN_FLIGHT_MS = 1_000;

/**
 * Opens the call in the ledger.
 *
 * @throws {Refusal} 402 when the customer's money does not allow it, 403 when Stripe does not know him or the model has no
 *   price, 503 when Stripe could not say.
 * @throws {LedgerUnavailable} when the record could not be made durable.
 */
export async function admit(
  { budgets, customers }: { readonly budgets: Budgets; readonly customers: CustomerDirectory },
  call: Call,
): Promise<CallMoney> {
  const seen = customers.verify(call.customer);
  const known = typeof seen === 'string' ? seen : await seen;
  if (known === 'missing') throw notFound(call.customer);
  if (known === 'unverified') {
    throw new Refusal(
      'customer_unverified',
      `Stripe could not say within 2 s whether ${call.customer} exists, and he was not seen here before. Try again shortly.`,
    );
  }
  const verdict = await budgets.admit(
    {
      id: call.id,
      customer: call.customer,
      keyId: call.keyId,
      endpoint: call.endpoint,
      provider: call.target.route.upstream.name,
      model: call.target.billedModel,
      stream: call.request.stream,
      openedAtMs: call.startedAtMs,
    },
    askedFor(call),
  );
  if (verdict.kind === 'admitted') return verdict;
  if (verdict.kind === 'missing') throw notFound(call.customer);
  throw verdict.kind === 'blocked' ? blocked(call.customer, verdict) : refused(verdict);
}

const utf8 = new TextDecoder();

const askedFor = ({ request, endpoint, target, targets }: Call): AskedFor => ({
  endpoint,
  bodyBytes: request.body.length,
  body: () => (request.form === undefined ? parseJson(utf8.decode(request.body)) : undefined),
  formNames: request.form?.parts.map(({ name }) => name),
  estimateInput: () => target.route.provider.estimateInput(request),
  targets: targets.map(({ billedModel, upstreamModel, route }) => ({
    billedModel,
    upstreamModel,
    providerType: route.upstream.type,
  })),
});

const usd = (pico: bigint | null): string | null => (pico === null ? null : formatUsd(pico));

function refused(verdict: Extract<Verdict, { kind: 'refused' }>): Refusal {
  const { code, source, balancePico, requiredPico, resetsAtMs, topUpUrl, remedy } = verdict;
  const retry =
    code === 'in_flight_budget_exceeded' ? { headers: { 'retry-after-ms': String(RETRY_IN_FLIGHT_MS) } } : {};
  return new Refusal(code, `${verdict.message} ${remedy}`, {
    ...retry,
    details: {
      limit_source: source === '' ? code : source,
      balance_usd: usd(balancePico),
      required_usd: usd(requiredPico),
      resets_at: resetsAtMs === null ? null : new Date(resetsAtMs).toISOString(),
      top_up_url: topUpUrl,
      remedy_hint: remedy,
    },
  });
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

function blocked(customer: string, { block, topUpUrl }: Extract<Verdict, { kind: 'blocked' }>): Refusal {
  const { what, remedy } = REMEDIES[block.code];
  const source = block.source === '' ? '' : ` (${block.source})`;
  return new Refusal(block.code, `${customer} is refused: ${what}${source}. ${remedy}`, {
    details: {
      limit_source: block.source === '' ? block.code : block.source,
      balance_usd: null,
      required_usd: null,
      resets_at: null,
      top_up_url: topUpUrl,
      remedy_hint: remedy,
    },
  });
}
