/** `customers`, `credits` and `budget`: customers' settings, credit and budgets, through the gateway's admin routes. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { ask, query, withAdmin } from './admin.ts';
import {
  CommandFailure,
  type CommonOptions,
  EXIT,
  addConfiguredCommand,
  loadSettings,
  say,
  table,
} from './command.ts';
import { customerId } from './keys.ts';

const customerSchema = z.looseObject({
  id: z.string(),
  missing: z.boolean(),
  alerts: z.array(z.string()),
  plan: z.string().nullable(),
  mode: z.string().nullable(),
  on_empty: z.string().nullable(),
  frozen: z.looseObject({ why: z.string() }).nullable(),
  payment_block: z.looseObject({ why: z.string() }).nullable(),
  subscription: z.looseObject({ id: z.string(), state: z.string() }).nullable(),
  unbilled_usd: z.string(),
});
const customersSchema = z.looseObject({ data: z.array(customerSchema), next_cursor: z.string().nullable() });
const balanceSchema = z.looseObject({
  customer: z.string(),
  available_usd: z.string(),
  credit_usd: z.string(),
  held_usd: z.string(),
  overdrawn_usd: z.string(),
  grants: z.array(
    z.looseObject({
      id: z.string(),
      name: z.string().nullable(),
      category: z.string(),
      amount_usd: z.string(),
      remaining_usd: z.string(),
      expires_at: z.string().nullable(),
    }),
  ),
});
const budgetSchema = z.looseObject({
  id: z.string(),
  customer: z.string().optional(),
  key: z.string().optional(),
  span: z.string(),
  limit_usd: z.string(),
  spent_usd: z.string(),
  resets_at: z.string().nullable(),
});
const budgetsSchema = z.looseObject({ data: z.array(budgetSchema), next_cursor: z.string().nullable() });
type Customer = z.output<typeof customerSchema>;

interface PageOptions extends CommonOptions {
  readonly limit: string;
  readonly cursor?: string;
}

export function registerMoney(program: Command): void {
  registerCustomers(program);
  registerCredits(program);
  registerBudget(program);
}

function registerCustomers(program: Command): void {
  const customers = program.command('customers').description('customers: plan, freeze, how they are guarded');
  addPaged(addConfiguredCommand(customers, 'list', 'customers the gateway knows, by id')).action(
    listCustomers,
  );
  addConfiguredCommand(customers, 'show <cus_…>', 'one customer').action(showCustomer);
  addConfiguredCommand(customers, 'set <cus_…>', "change a customer's settings; what is not given stays")
    .option('--plan <name|none>', 'the plan')
    .addOption(new Option('--mode <mode>', 'how hard the money is guarded').choices([...MODES, 'none']))
    .addOption(new Option('--on-empty <policy>', 'when the credit is used up').choices([...EMPTY, 'none']))
    .option('--grace <usd>', 'how far below nothing the balance may go, with --on-empty grace', amount)
    .addOption(
      new Option('--credit-policy <policy>', 'without any credit grant').choices(['serve', 'refuse', 'none']),
    )
    .option('--freeze [why]', 'refuse every call until --unfreeze')
    .option('--unfreeze', 'serve again')
    .option('--lift-alerts', 'lift the blocks of alerts that have fired')
    .action(setCustomer);
}

function registerCredits(program: Command): void {
  const credits = program.command('credits').description('customers’ credit in Stripe');
  addConfiguredCommand(credits, 'balance <cus_…>', 'what is left, and of which grants').action(showBalance);
  addConfiguredCommand(credits, 'grant <cus_…> <usd>', 'give credit, as a Stripe credit grant')
    .addOption(new Option('--category <kind>', 'paid or promotional').choices(['paid', 'promotional']))
    .option('--name <text>', 'what it is for')
    .option('--expires <moment>', 'when it ends, such as 2027-01-01T00:00:00Z')
    .option('--priority <n>', '0 burns first, 100 last')
    .option('--identifier <text>', 'grants once, however often it is run within 24 hours')
    .action(grantCredit);
}

function registerBudget(program: Command): void {
  const budget = program.command('budget').description('local budgets of customers and keys');
  addConfiguredCommand(budget, 'set', 'set the budget of a customer or key for a span')
    .option('--customer <cus_…>', 'a customer’s', customerId)
    .option('--key <id>', 'a key’s, over all customers it acts for')
    .addOption(new Option('--span <span>', 'when it starts over').choices(SPANS).makeOptionMandatory())
    .requiredOption('--limit <usd>', 'how much', amount)
    .action(setBudget);
  addPaged(addConfiguredCommand(budget, 'list', 'budgets and what is spent of them'))
    .option('--customer <cus_…>', 'only this customer’s', customerId)
    .option('--key <id>', 'only this key’s')
    .action(listBudgets);
  addConfiguredCommand(budget, 'remove <id>', 'remove a budget').action(removeBudget);
}

const MODES = ['strict', 'standard', 'observe'];
const EMPTY = ['block', 'overage', 'grace'];
const SPANS = ['day', 'week', 'month', 'period', 'total'];

const addPaged = (command: Command): Command =>
  command
    .option('--limit <count>', 'rows, 1000 at most', '100')
    .option('--cursor <cursor>', 'where the page before ended');

function amount(text: string): string {
  if (/^\d{1,12}(\.\d{1,12})?$/.test(text)) return text;
  throw new InvalidArgumentError('It is an amount in USD, such as 5 or 5.00.');
}

/** The operator's answer to one request. */
const asked = <T>(
  options: CommonOptions,
  request: { readonly path: string; readonly method?: string; readonly body?: unknown },
  schema: z.ZodType<T>,
): Promise<T> => withAdmin(loadSettings('read', options), (admin) => ask(admin, request, schema));

const customerPath = (customer: string, rest = ''): string => {
  try {
    return `/customers/${customerId(customer)}${rest}`;
  } catch (error) {
    throw new CommandFailure(EXIT.usage, error instanceof Error ? error.message : String(error));
  }
};

async function listCustomers(options: PageOptions): Promise<void> {
  const path = `/customers${query({ limit: options.limit, cursor: options.cursor })}`;
  const page = await asked(options, { path }, customersSchema);
  say(options, page, () =>
    page.data.length === 0
      ? ['No customer has called yet.']
      : table(
          ['ID', 'PLAN', 'STATE', 'SUBSCRIPTION', 'UNBILLED'],
          page.data.map((one) => [
            one.id,
            one.plan ?? '-',
            stateOf(one),
            one.subscription?.state ?? '-',
            one.unbilled_usd,
          ]),
        ).concat(page.next_cursor === null ? [] : [`more: --cursor ${page.next_cursor}`]),
  );
}

function stateOf({ missing, frozen, payment_block: block, alerts }: Customer): string {
  if (missing) return 'not in Stripe';
  if (frozen !== null) return `frozen${frozen.why === '' ? '' : ` (${frozen.why})`}`;
  if (block !== null) return block.why;
  return alerts.length === 0 ? 'served' : `alert: ${alerts.join(', ')}`;
}

const customerLines = (one: Customer): readonly string[] => [
  `customer      ${one.id}`,
  `state         ${stateOf(one)}`,
  `plan          ${one.plan ?? '-'}`,
  `mode          ${one.mode ?? "the plan's"}`,
  `on empty      ${one.on_empty ?? "the plan's"}`,
  `subscription  ${one.subscription === null ? '-' : `${one.subscription.id} ${one.subscription.state}`}`,
  `unbilled      $${one.unbilled_usd}`,
];

async function showCustomer(customer: string, options: CommonOptions): Promise<void> {
  const one = await asked(options, { path: customerPath(customer) }, customerSchema);
  say(options, one, () => customerLines(one));
}

interface SetOptions extends CommonOptions {
  readonly plan?: string;
  readonly mode?: string;
  readonly onEmpty?: string;
  readonly grace?: string;
  readonly creditPolicy?: string;
  readonly freeze?: true | string;
  readonly unfreeze?: true;
  readonly liftAlerts?: true;
}

const setting = (name: string, value: string | undefined): Record<string, string | null> =>
  value === undefined ? {} : { [name]: value === 'none' ? null : value };

async function setCustomer(customer: string, options: SetOptions): Promise<void> {
  if (options.freeze !== undefined && options.unfreeze === true)
    throw new CommandFailure(EXIT.usage, 'Give either --freeze or --unfreeze.');
  const body = {
    ...setting('plan', options.plan),
    ...setting('mode', options.mode),
    ...setting('on_empty', options.onEmpty),
    ...setting('grace_usd', options.grace),
    ...setting('no_credit', options.creditPolicy),
    ...(options.freeze === undefined ? {} : { frozen: options.freeze }),
    ...(options.unfreeze === true ? { frozen: false } : {}),
    ...(options.liftAlerts === true ? { lift_alerts: true } : {}),
  };
  if (Object.keys(body).length === 0)
    throw new CommandFailure(EXIT.usage, 'Say what to set; --help lists it.');
  const one = await asked(options, { path: customerPath(customer), method: 'POST', body }, customerSchema);
  say(options, one, () => customerLines(one));
}

const balanceLines = (balance: z.output<typeof balanceSchema>): readonly string[] => [
  `available  $${balance.available_usd}  (credit $${balance.credit_usd}, held $${balance.held_usd}, overdrawn $${balance.overdrawn_usd})`,
  ...(balance.grants.length === 0
    ? ['No credit grants.']
    : table(
        ['GRANT', 'KIND', 'NAME', 'GRANTED', 'LEFT', 'ENDS'],
        balance.grants.map((grant) => [
          grant.id,
          grant.category,
          grant.name ?? '-',
          grant.amount_usd,
          grant.remaining_usd,
          grant.expires_at ?? 'never',
        ]),
      )),
];

async function showBalance(customer: string, options: CommonOptions): Promise<void> {
  const balance = await asked(options, { path: customerPath(customer, '/credit') }, balanceSchema);
  say(options, balance, () => balanceLines(balance));
}

interface GrantOptions extends CommonOptions {
  readonly category?: string;
  readonly name?: string;
  readonly expires?: string;
  readonly priority?: string;
  readonly identifier?: string;
}

async function grantCredit(customer: string, usd: string, options: GrantOptions): Promise<void> {
  const { category, name, expires, priority, identifier } = options;
  const body = Object.fromEntries(
    Object.entries({
      amount_usd: usd,
      category,
      name,
      expires_at: expires,
      priority: priority === undefined ? undefined : Number(priority),
      identifier,
    }).filter(([, value]) => value !== undefined),
  );
  const request = { path: customerPath(customer, '/credit'), method: 'POST', body };
  const made = await asked(options, request, balanceSchema.extend({ grant: z.string() }));
  say(options, made, () => [`granted    ${made.grant}`, ...balanceLines(made)]);
}

interface BudgetOptions extends CommonOptions {
  readonly customer?: string;
  readonly key?: string;
  readonly span: string;
  readonly limit: string;
}

async function setBudget(options: BudgetOptions): Promise<void> {
  const { customer, key, span, limit } = options;
  if ((customer === undefined) === (key === undefined))
    throw new CommandFailure(EXIT.usage, 'Give either --customer cus_… or --key <id>.');
  const body = { ...(customer === undefined ? { key } : { customer }), span, limit_usd: limit };
  const made = await asked(options, { path: '/budgets', method: 'POST', body }, budgetSchema);
  say(options, made, () => [`${made.id}: $${made.limit_usd} a ${made.span}, $${made.spent_usd} spent`]);
}

async function listBudgets(
  options: PageOptions & { readonly customer?: string; readonly key?: string },
): Promise<void> {
  const { limit, cursor, customer, key } = options;
  const page = await asked(
    options,
    { path: `/budgets${query({ limit, cursor, customer, key })}` },
    budgetsSchema,
  );
  say(options, page, () =>
    page.data.length === 0
      ? ['No budgets.']
      : table(
          ['ID', 'FOR', 'SPAN', 'LIMIT', 'SPENT', 'STARTS OVER'],
          page.data.map((one) => [
            one.id,
            one.customer ?? one.key ?? '',
            one.span,
            one.limit_usd,
            one.spent_usd,
            one.resets_at ?? 'never',
          ]),
        ),
  );
}

async function removeBudget(id: string, options: CommonOptions): Promise<void> {
  const path = `/budgets/${encodeURIComponent(id)}`;
  const answer = await asked(options, { path, method: 'DELETE' }, z.unknown());
  say(options, answer, () => [`${id} is removed.`]);
}
