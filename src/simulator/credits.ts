/**
 * Credit grants and the balance they make. Stripe applies credit when an invoice is finalized and not before, so the
 * balance stays where it is while tokens are used.
 */
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { invalid, missing } from './http.ts';
import { expand, integer, metadata, page, paging, parseParams, seconds } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type Account, type CreditGrant } from './world.ts';

const scope = z.strictObject({
  price_type: z.literal('metered').optional(),
  prices: z
    .array(z.strictObject({ id: z.string() }))
    .max(20)
    .optional(),
});
const createSchema = z.strictObject({
  amount: z.strictObject({
    type: z.literal('monetary'),
    monetary: z.strictObject({
      currency: z.string().length(3),
      value: integer.refine((value) => value > 0, 'must be greater than 0'),
    }),
  }),
  applicability_config: z.strictObject({ scope }),
  category: z.enum(['paid', 'promotional']).optional(),
  customer: z.string(),
  effective_at: seconds.optional(),
  expires_at: seconds.optional(),
  metadata: metadata.optional(),
  name: z.string().max(100).optional(),
  priority: integer.refine((value) => value >= 0 && value <= 100, 'must be between 0 and 100').optional(),
  ...expand,
});
const updateSchema = z.strictObject({
  expires_at: z.union([z.literal(''), seconds]).optional(),
  metadata: metadata.optional(),
  ...expand,
});
const listSchema = z.strictObject({ customer: z.string().optional(), ...paging });
const balanceSchema = z.strictObject({
  customer: z.string(),
  filter: z.strictObject({
    type: z.enum(['applicability_scope', 'credit_grant']),
    applicability_scope: scope.optional(),
    credit_grant: z.string().optional(),
  }),
  ...expand,
});

const transactionSchema = z.strictObject({
  customer: z.string(),
  credit_grant: z.string().optional(),
  ...paging,
});

export type GrantParams = z.output<typeof createSchema>;
export const parseGrantParams = (input: unknown): GrantParams => parseParams(createSchema, input);

export const creditRoutes: readonly Route[] = [
  [
    'POST',
    '/v1/billing/credit_grants',
    ({ account, body }) => createGrant(account, parseParams(createSchema, body)),
  ],
  [
    'GET',
    '/v1/billing/credit_grants',
    ({ account, query }) => {
      const params = parseParams(listSchema, query);
      const all = newestFirst(account.world.grants.values());
      const some =
        params.customer === undefined ? all : all.filter(({ customer }) => customer === params.customer);
      return page(some, params, '/v1/billing/credit_grants');
    },
  ],
  ['GET', '/v1/billing/credit_grants/:id', ({ account, id }) => existingGrant(account, id)],
  ['POST', '/v1/billing/credit_grants/:id', updateGrant],
  ['POST', '/v1/billing/credit_grants/:id/void', (call) => endGrant(call, 'voided_at')],
  ['POST', '/v1/billing/credit_grants/:id/expire', (call) => endGrant(call, 'expires_at')],
  ['GET', '/v1/billing/credit_balance_summary', balanceSummary],
  ['GET', '/v1/billing/credit_balance_transactions', listTransactions],
];

/** Throws Stripe's refusal for parameters at fault or a customer that does not exist. */
export function createGrant(account: Account, params: GrantParams): CreditGrant {
  existingCustomer(account, params.customer);
  const now = account.seconds();
  const { price_type, prices } = params.applicability_config.scope;
  const grant: CreditGrant = {
    id: stripeId('credgr_test'),
    object: 'billing.credit_grant',
    amount: {
      type: 'monetary',
      monetary: {
        currency: params.amount.monetary.currency.toLowerCase(),
        value: params.amount.monetary.value,
      },
    },
    applicability_config: {
      scope: {
        ...(price_type === undefined ? {} : { price_type }),
        ...(prices === undefined ? {} : { prices }),
      },
    },
    category: params.category ?? 'paid',
    created: now,
    customer: params.customer,
    customer_account: null,
    effective_at: params.effective_at ?? now,
    expires_at: params.expires_at ?? null,
    livemode: false,
    metadata: params.metadata === '' || params.metadata === undefined ? {} : params.metadata,
    name: params.name ?? null,
    priority: params.priority ?? 50,
    test_clock: null,
    updated: now,
    voided_at: null,
  };
  account.world.grants.set(grant.id, grant);
  account.emit('billing.credit_grant.created', grant);
  return grant;
}

/**
 * What finalizing an invoice does: takes the amount (smallest currency unit) from the customer's grants in Stripe's burn
 * order. Answers with what was covered, at most the amount.
 */
export function applyCredits(
  account: Account,
  due: { customer: string; currency: string; amount: number },
): number {
  const { applied } = account.world;
  let open = due.amount;
  for (const grant of liveGrants(account, due.customer).sort(burnOrder)) {
    if (grant.amount.monetary.currency !== due.currency) continue;
    const taken = Math.min(open, remaining(account, grant));
    applied.set(grant.id, (applied.get(grant.id) ?? 0) + taken);
    open -= taken;
  }
  account.changed();
  return due.amount - open;
}

/** Priority, then what expires earlier, promotional first, what became effective earlier, what was made earlier. */
function burnOrder(a: CreditGrant, b: CreditGrant): number {
  return (
    a.priority - b.priority ||
    compare(a.expires_at ?? Infinity, b.expires_at ?? Infinity) ||
    Number(b.category === 'promotional') - Number(a.category === 'promotional') ||
    compare(a.effective_at ?? 0, b.effective_at ?? 0) ||
    a.created - b.created
  );
}

/** Infinity less Infinity is no number, so grants that never expire are compared and not subtracted. */
const compare = (a: number, b: number): number => (a < b ? -1 : Number(a > b));

function existingGrant(account: Account, id: string): CreditGrant {
  const grant = account.world.grants.get(id);
  if (grant === undefined) throw missing('billing credit grant', id);
  return grant;
}

function updateGrant({ account, id, body }: RouteCall): CreditGrant {
  const grant = existingGrant(account, id);
  const before = structuredClone(grant);
  const params = parseParams(updateSchema, body);
  if (params.expires_at !== undefined) grant.expires_at = params.expires_at === '' ? null : params.expires_at;
  if (params.metadata === '') grant.metadata = {};
  else Object.assign(grant.metadata, params.metadata);
  return updated(account, before, grant);
}

function endGrant({ account, id }: RouteCall, field: 'voided_at' | 'expires_at'): CreditGrant {
  const grant = existingGrant(account, id);
  if (field === 'voided_at' && (account.world.applied.get(id) ?? 0) > 0) {
    throw invalid(`The credit grant ${id} has been applied to an invoice and cannot be voided.`);
  }
  if (grant.voided_at !== null) throw invalid(`The credit grant ${id} is already voided.`);
  if (grant.expires_at !== null && grant.expires_at <= account.seconds()) {
    throw invalid(`The credit grant ${id} has already expired.`);
  }
  const before = structuredClone(grant);
  grant[field] = account.seconds();
  return updated(account, before, grant);
}

function updated(account: Account, before: CreditGrant, grant: CreditGrant): CreditGrant {
  grant.updated = account.seconds();
  grantChanged(account, before, grant);
  return grant;
}

/** Tells of a change, with what it changed as that was before. */
export function grantChanged(account: Account, before: CreditGrant, grant: CreditGrant): void {
  const now = Object.entries(grant);
  const old: Record<string, unknown> = { ...before };
  const changed = now.filter(([name, value]) => JSON.stringify(old[name]) !== JSON.stringify(value));
  const previous = Object.fromEntries(changed.map(([name]) => [name, old[name] ?? null]));
  account.emit('billing.credit_grant.updated', grant, previous);
}

/** What was granted, and what invoices took: Stripe has a line for each invoice, the stand-in one for all of them. */
function listTransactions({ account, query }: RouteCall): unknown {
  const params = parseParams(transactionSchema, query);
  existingCustomer(account, params.customer);
  const owned = newestFirst(account.world.grants.values()).filter(
    ({ customer, id }) =>
      customer === params.customer && (params.credit_grant === undefined || id === params.credit_grant),
  );
  const lines = owned.flatMap((grant) => transactionsOf(grant, account.world.applied.get(grant.id) ?? 0));
  return page(lines, params, '/v1/billing/credit_balance_transactions');
}

const amountOf = ({ amount }: CreditGrant, value: number) => ({
  amount: { type: 'monetary', monetary: { currency: amount.monetary.currency, value } },
});

function transactionsOf(grant: CreditGrant, applied: number): { id: string }[] {
  const granted = { type: 'credits_granted', credits_application_invoice_voided: null };
  const credit = transactionOf(grant, {
    credit: Object.assign(granted, amountOf(grant, grant.amount.monetary.value)),
  });
  if (applied === 0) return [credit];
  const taken = { type: 'credits_applied', credits_applied: { invoice: null, invoice_line_item: null } };
  return [transactionOf(grant, { debit: Object.assign(taken, amountOf(grant, applied)) }), credit];
}

const transactionOf = (grant: CreditGrant, side: { credit?: object; debit?: object }) => ({
  id: `cbtxn_${'debit' in side ? 'debit' : 'credit'}_${grant.id}`,
  object: 'billing.credit_balance_transaction',
  created: grant.created,
  credit: null,
  credit_grant: grant.id,
  debit: null,
  effective_at: grant.effective_at ?? grant.created,
  livemode: false,
  test_clock: null,
  type: 'debit' in side ? 'debit' : 'credit',
  ...side,
});

function balanceSummary({ account, query }: RouteCall): unknown {
  const { customer, filter } = parseParams(balanceSchema, query);
  existingCustomer(account, customer);
  const owned = [...account.world.grants.values()].filter((grant) => grant.customer === customer);
  const asked = filter.type === 'credit_grant' ? owned.filter(({ id }) => id === filter.credit_grant) : owned;
  if (filter.type === 'credit_grant' && asked.length === 0) {
    throw missing('billing credit grant', filter.credit_grant ?? '', 'filter[credit_grant]');
  }
  const balances = [...Map.groupBy(asked, (grant) => grant.amount.monetary.currency)].map(
    ([currency, grants]) => {
      const value = grants
        .filter((grant) => isLive(account, grant))
        .reduce((sum, grant) => sum + remaining(account, grant), 0);
      const balance = { monetary: { currency, value }, type: 'monetary' };
      return { available_balance: balance, ledger_balance: balance };
    },
  );
  return {
    object: 'billing.credit_balance_summary',
    balances,
    customer,
    customer_account: null,
    livemode: false,
  };
}

const liveGrants = (account: Account, customer: string): CreditGrant[] =>
  [...account.world.grants.values()].filter((grant) => grant.customer === customer && isLive(account, grant));

function isLive(account: Account, grant: CreditGrant): boolean {
  const now = account.seconds();
  return (
    grant.voided_at === null &&
    (grant.effective_at ?? 0) <= now &&
    (grant.expires_at === null || grant.expires_at > now)
  );
}

const remaining = (account: Account, grant: CreditGrant): number =>
  grant.amount.monetary.value - (account.world.applied.get(grant.id) ?? 0);
