/** The operator's routes about customers and their money, under `/admin/v1`; opened by `src/admin/admin.ts`. */
import { Hono } from 'hono';
import { z } from 'zod';
import type { BudgetView } from '../ledger/accounts-port.ts';
import { BALANCE_PICO_MAX } from '../ledger/accounts.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';
import { Refusal } from '../errors.ts';
import { balanceJson, budgetJson, customerJson } from '../billing/reads/money-json.ts';
import type { StripeMoney } from '../billing/stripe/money.ts';
import type { Refresher } from '../billing/stripe/refresh.ts';
import { CUSTOMER_ID } from '../customer-id.ts';
import { formatUsd, parseUsd } from '../usage/money.ts';
import { budgetId } from './budget-id.ts';
import { named, refused, sent } from './request.ts';

export interface MoneyAdminOptions {
  readonly ledger: Ledger;
  readonly crypto: Pick<Crypto, 'sha256'>;
  readonly runtime: Pick<Runtime, 'now' | 'id'>;
  /** Undefined where Stripe cannot be asked: without a running gateway. */
  readonly stripe?: { readonly money: StripeMoney; readonly refresher: Pick<Refresher, 'pass'> } | undefined;
}

const KEY = /^[a-z0-9]{1,64}$/;

/** The ledger's integers have 64 bits, and take what is past them for the greatest there is. */
const PICO_MAX = 9_223_372_036_854_775_807n;

/** USD as text or number, exact: a number is taken by its shortest decimal text. */
const amountUpTo = (picoMax: bigint) =>
  z.union([z.string(), z.number()]).transform((value, context) => {
    try {
      const pico = parseUsd(String(value));
      if (pico >= 0n && pico <= picoMax) return pico.toString();
      throw new RangeError(`"${value}" is not from 0.00 to ${formatUsd(picoMax)} USD`);
    } catch (error) {
      const message = error instanceof RangeError ? error.message : String(error);
      context.issues.push({ code: 'custom', message, input: value });
      return z.NEVER;
    }
  });
const amount = amountUpTo(PICO_MAX);
const changeSchema = z.strictObject({
  plan: z.string().min(1).max(100).nullable().optional(),
  mode: z.enum(['strict', 'standard', 'observe']).nullable().optional(),
  on_empty: z.enum(['block', 'overage', 'grace']).nullable().optional(),
  // It is added to the credit, of which no more counts than this either.
  grace_usd: amountUpTo(BALANCE_PICO_MAX).nullable().optional(),
  no_credit: z.enum(['serve', 'refuse']).nullable().optional(),
  frozen: z.union([z.boolean(), z.string().min(1).max(200)]).optional(),
  lift_alerts: z.literal(true).optional(),
});
const creditSchema = z.strictObject({
  amount_usd: amount,
  category: z.enum(['paid', 'promotional']).default('paid'),
  name: z.string().min(1).max(100).optional(),
  priority: z.int().min(0).max(100).optional(),
  expires_at: z.iso.datetime({ offset: true }).optional(),
  identifier: z
    .string()
    .regex(/^[\x21-\x7e]{1,100}$/)
    .optional(),
});
const budgetSchema = z
  .strictObject({
    customer: z.string().regex(CUSTOMER_ID).optional(),
    key: z.string().regex(KEY).optional(),
    span: z.enum(['day', 'week', 'month', 'period', 'total']),
    limit_usd: amount,
  })
  .refine(({ customer, key }) => (customer === undefined) !== (key === undefined), {
    error: 'give either "customer" or "key"',
  });

export function createMoneyAdmin(options: MoneyAdminOptions): Hono {
  const { ledger, runtime } = options;
  const admin = new Hono();

  admin.get('/customers', async (c) => {
    const id = c.req.query('customer');
    if (id !== undefined) return c.json({ data: [await oneCustomer(ledger, id)], next_cursor: null });
    const page = await ledger.customers(paging(c.req.query()));
    const data = await Promise.all(
      page.data.map(async (row) => customerJson(row, await ledger.account(row.id))),
    );
    return c.json({ data, next_cursor: page.nextCursor });
  });
  admin.get('/customers/:customer', async (c) => c.json(await oneCustomer(ledger, c.req.param('customer'))));
  admin.post('/customers/:customer', async (c) => {
    const customer = named(c.req.param('customer'));
    await change(options, customer, await sent(c.req.raw, changeSchema));
    return c.json(await oneCustomer(ledger, customer));
  });
  admin.get('/customers/:customer/credit', async (c) => {
    const customer = named(c.req.param('customer'));
    return c.json(await creditOf(options, customer));
  });
  admin.post('/customers/:customer/credit', async (c) => {
    const customer = named(c.req.param('customer'));
    const grant = await grantCredit(options, customer, await sent(c.req.raw, creditSchema));
    return c.json({ grant, ...(await creditOf(options, customer)) }, 201);
  });

  admin.get('/budgets', async (c) => {
    const { customer, key } = c.req.query();
    // Of both the key: with the customer alone it may only be said in whose ledger.
    const all = await ledger.budgets(key ?? customer, runtime.now());
    return c.json(pageOfBudgets(all, paging(c.req.query())));
  });
  admin.post('/budgets', async (c) => {
    const { customer, key, span, limit_usd: limitPico } = await sent(c.req.raw, budgetSchema);
    const scope = customer === undefined ? 'key' : 'customer';
    const subject = customer ?? key ?? '';
    if (scope === 'key' && span === 'period')
      throw refused('span', 'A key has no subscription: day, week, month or total.');
    const id = budgetId(options.crypto, { scope, subject, span });
    await ledger.putBudget({ id, scope, subject, span, limitPico }, runtime.now());
    const made = (await ledger.budgets(subject, runtime.now())).find((one) => one.id === id);
    return c.json(made === undefined ? { id } : budgetJson(made), 201);
  });
  admin.delete('/budgets/:id', async (c) => {
    const id = c.req.param('id');
    if (!(await ledger.removeBudget(id))) throw new Refusal('not_found', `There is no budget ${id}.`);
    return c.json({ id, removed: true });
  });

  admin.get('/webhooks', async (c) => {
    const request = paging(c.req.query());
    if (request.cursor !== undefined && !/^\d{1,15}$/.test(request.cursor))
      throw refused('cursor', '"cursor" must be what the page before said in next_cursor.');
    const page = await ledger.webhookEvents(request);
    const data = page.data.map(({ id, type, createdS, receivedAtMs }) => ({
      id,
      type,
      created_at: new Date(createdS * 1_000).toISOString(),
      received_at: new Date(receivedAtMs).toISOString(),
    }));
    return c.json({ data, next_cursor: page.nextCursor });
  });
  return admin;
}

async function oneCustomer(ledger: Ledger, id: string): Promise<object> {
  const customer = named(id);
  const [row, account] = await Promise.all([ledger.customerRow(customer), ledger.account(customer)]);
  return customerJson(row, account);
}

const creditOf = async ({ ledger, runtime }: MoneyAdminOptions, customer: string): Promise<object> => {
  const [balance, account] = await Promise.all([
    ledger.balance(customer, runtime.now()),
    ledger.account(customer),
  ]);
  return balanceJson(customer, balance, account);
};

async function change(
  { ledger, runtime }: MoneyAdminOptions,
  customer: string,
  asked: z.output<typeof changeSchema>,
): Promise<void> {
  const { frozen, lift_alerts: lifts, plan, mode } = asked;
  const given = {
    ...(plan === undefined ? {} : { plan }),
    ...(mode === undefined ? {} : { mode }),
    ...(asked.on_empty === undefined ? {} : { onEmpty: asked.on_empty }),
    ...(asked.grace_usd === undefined ? {} : { gracePico: asked.grace_usd }),
    ...(asked.no_credit === undefined ? {} : { noCredit: asked.no_credit }),
    ...(frozen === undefined ? {} : { frozen: frozenOf(frozen) }),
  };
  if (Object.keys(given).length > 0) await ledger.changeAccount(customer, given, runtime.now());
  if (lifts !== true) return;
  const nowMs = runtime.now();
  const receipt = { type: 'operator.lift_alerts', createdS: Math.floor(nowMs / 1_000), receivedAtMs: nowMs };
  await ledger.apply({ eventId: `operator_${runtime.id()}`, ...receipt }, [
    { kind: 'alerts_lifted', customer, why: 'the operator' },
  ]);
}

const frozenOf = (frozen: boolean | string): { why: string } | null => {
  if (frozen === false) return null;
  return { why: frozen === true ? '' : frozen };
};

async function grantCredit(
  { ledger, runtime, stripe }: MoneyAdminOptions,
  customer: string,
  asked: z.output<typeof creditSchema>,
): Promise<string> {
  if (stripe === undefined)
    throw new Refusal('upstream_error', 'No gateway is running: start one to ask Stripe.');
  const cents = BigInt(asked.amount_usd) / PICO_PER_CENT;
  if (cents < 1n || cents * PICO_PER_CENT !== BigInt(asked.amount_usd))
    throw refused('amount_usd', 'Stripe grants whole cents, one or more.');
  const grant = await stripe.money.grant({
    customer,
    cents: Number(cents),
    category: asked.category,
    name: asked.name,
    priority: asked.priority,
    expiresAtS: asked.expires_at === undefined ? undefined : Math.floor(Date.parse(asked.expires_at) / 1_000),
    idempotencyKey: `faregate-credit-${asked.identifier ?? runtime.id()}`,
  });
  await ledger.wantReading(customer, runtime.now());
  await stripe.refresher.pass();
  return grant;
}

const PICO_PER_CENT = 10_000_000_000n;

function pageOfBudgets(
  all: readonly BudgetView[],
  { cursor, limit }: { cursor: string | undefined; limit: number },
): object {
  const after = cursor === undefined ? 0 : all.findIndex(({ id }) => id === cursor) + 1;
  const shown = all.slice(after, after + limit);
  const next = after + limit < all.length ? (shown.at(-1)?.id ?? null) : null;
  return { data: shown.map(budgetJson), next_cursor: next };
}

const paging = (query: Readonly<Record<string, string>>): { cursor: string | undefined; limit: number } => {
  const limit = Number(query['limit'] ?? 100);
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return { cursor: query['cursor'], limit };
  throw refused('limit', `limit must be a whole number from 1 to 1000, not "${query['limit']}".`);
};
