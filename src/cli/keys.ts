import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { CUSTOMER_ID } from '../customer-id.ts';
import { type AdminFetch, ask, query, withAdmin } from './admin.ts';
import {
  CommandFailure,
  type CommonOptions,
  EXIT,
  addConfiguredCommand,
  loadSettings,
  say,
  table,
} from './command.ts';

const keySchema = z.looseObject({
  id: z.string(),
  customer: z.string().nullable(),
  label: z.string(),
  last4: z.string(),
  created_at: z.string(),
  expires_at: z.string().nullish(),
  revoked_at: z.string().nullable(),
});
const madeSchema = z.looseObject({ key: keySchema, secret: z.string() });
type Key = z.output<typeof keySchema>;

interface CreateOptions extends CommonOptions {
  readonly customer?: string;
  readonly service?: true;
  readonly label?: string;
  readonly rpm?: Limit;
  readonly tpm?: Limit;
  readonly concurrency?: Limit;
}

/** "none" stays a word until the body is made: commander takes a null for no value, and makes it empty text. */
type Limit = number | 'none';

function limit(text: string): Limit {
  if (text === 'none') return text;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is a whole number, 1 or more, or "none".');
}

function limitsOf({ rpm, tpm, concurrency }: CreateOptions): { readonly limits?: object } {
  const given = Object.entries({ rpm, tpm, concurrency }).filter(([, value]) => value !== undefined);
  if (given.length === 0) return {};
  return {
    limits: Object.fromEntries(given.map(([name, value]) => [name, value === 'none' ? null : value])),
  };
}

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('the keys callers use: create, list, rotate, revoke');
  addConfiguredCommand(keys, 'create', 'make a key; its secret is shown once')
    .option('--customer <cus_…>', 'bind the key to this Stripe customer', customerId)
    .option('--service', 'a key that names the customer of each call in x-stripe-customer-id')
    .option('--label <text>', 'what the key is for')
    .option('--rpm <n|none>', "requests a minute, in place of the configuration's limit", limit)
    .option('--tpm <n|none>', 'tokens a minute', limit)
    .option('--concurrency <n|none>', 'calls at once', limit)
    .action(create);
  addConfiguredCommand(keys, 'list', 'the keys, newest first')
    .option('--customer <cus_…>', 'only those bound to this customer', customerId)
    .action(list);
  addConfiguredCommand(keys, 'rotate <id>', 'make a new secret for the same customer')
    .option('--overlap <duration>', 'how long the old key still works: 0s, 30m, 24h', durationS, 86_400)
    .action(rotate);
  addConfiguredCommand(keys, 'revoke <id>', 'stop a key at once').action(revoke);
}

export function customerId(text: string): string {
  if (CUSTOMER_ID.test(text)) return text;
  throw new InvalidArgumentError('It is "cus_" and letters, digits or underscores, 255 at most.');
}

const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
function durationS(text: string): number {
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (amount !== undefined && unit !== undefined) return Number(amount) * (UNIT_S[unit] ?? 0);
  throw new InvalidArgumentError('It is a number and s, m, h or d, such as 30m or 24h.');
}

async function create(options: CreateOptions): Promise<void> {
  if ((options.customer === undefined) === (options.service === undefined)) {
    throw new CommandFailure(
      EXIT.usage,
      'Give either --customer cus_… (a key bound to that customer) or --service (a key that names the customer of each call).',
    );
  }
  const body = {
    ...(options.service === true ? { service: true } : { customer: options.customer }),
    label: options.label ?? '',
    ...limitsOf(options),
  };
  const made = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: '/keys', method: 'POST', body }, madeSchema),
  );
  say(options, made, () => [
    `key      ${made.key.id} (${ownerOf(made.key)})`,
    `secret   ${made.secret}`,
    'It is not kept and will not be shown again.',
  ]);
}

async function list(options: CommonOptions & { readonly customer?: string }): Promise<void> {
  const page = await withAdmin(loadSettings('read', options), (admin) =>
    ask(
      admin,
      { path: `/keys${query({ customer: options.customer })}` },
      z.looseObject({ data: z.array(keySchema) }),
    ),
  );
  say(options, page, () =>
    page.data.length === 0
      ? ['No keys. Make one: faregate keys create --customer cus_…']
      : table(
          ['ID', 'FOR', 'LABEL', 'ENDS IN', 'CREATED', 'STATE'],
          page.data.map((key) => [key.id, ownerOf(key), key.label, key.last4, key.created_at, stateOf(key)]),
        ),
  );
}

async function rotate(id: string, options: CommonOptions & { readonly overlap: number }): Promise<void> {
  const made = await withAdmin(loadSettings('read', options), (admin) =>
    ask(
      admin,
      { path: keyPath(id, '/rotate'), method: 'POST', body: { overlap_seconds: options.overlap } },
      madeSchema,
    ),
  );
  say(options, made, () => [
    `key      ${made.key.id} (${ownerOf(made.key)})`,
    `secret   ${made.secret}`,
    `It is not kept and will not be shown again. ${
      options.overlap === 0
        ? `${id} has stopped working.`
        : `${id} still works for ${String(options.overlap)} seconds.`
    }`,
  ]);
}

async function revoke(id: string, options: CommonOptions): Promise<void> {
  const remove = (admin: AdminFetch) => ask(admin, { path: keyPath(id), method: 'DELETE' }, z.unknown());
  const answer = await withAdmin(loadSettings('read', options), remove);
  say(options, answer, () => [`${id} is revoked.`]);
}

const keyPath = (id: string, rest = ''): string => `/keys/${encodeURIComponent(id)}${rest}`;
const ownerOf = (key: Key): string => key.customer ?? 'service';
function stateOf(key: Key): string {
  if (key.revoked_at !== null) return `revoked ${key.revoked_at}`;
  return key.expires_at == null ? 'live' : `until ${key.expires_at}`;
}
