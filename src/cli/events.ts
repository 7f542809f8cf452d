import type { Command } from 'commander';
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

const eventSchema = z.looseObject({
  identifier: z.string(),
  customer: z.string(),
  model: z.string(),
  token_type: z.string(),
  value: z.string(),
  timestamp: z.string(),
  state: z.string(),
  attempts: z.int(),
  last_error: z.string().nullable(),
});
const pageSchema = z.looseObject({ data: z.array(eventSchema), next_cursor: z.string().nullable() });

interface ListOptions extends CommonOptions {
  readonly state?: string;
  readonly customer?: string;
  readonly limit: string;
  readonly cursor?: string;
}

interface RetryOptions extends CommonOptions {
  readonly lost?: boolean;
}
interface ResolveOptions extends RetryOptions {
  readonly delivered?: boolean;
}

export function registerEvents(program: Command): void {
  const events = program.command('events').description('the meter events on their way to Stripe');
  addConfiguredCommand(events, 'list', 'the events, newest first')
    .option(
      '--state <state>',
      'pending, sending, accepted, confirmed, refused, ambiguous, quarantined, expired or cancelled',
    )
    .option('--customer <cus_…>', "only this customer's", customerId)
    .option('--limit <count>', 'rows, 1000 at most', '100')
    .option('--cursor <cursor>', 'where the page before ended')
    .action(list);
  addConfiguredCommand(events, 'show <identifier>', 'one event, whole').action(show);
  addConfiguredCommand(events, 'retry <identifier>', 'send a refused event again')
    .option('--lost', 'a quarantined one too: Stripe was asked and has it not')
    .action((identifier: string, options: RetryOptions) =>
      options.lost === true ? resolve(identifier, 'lost', options) : change('retry', identifier, options),
    );
  addConfiguredCommand(events, 'resolve <identifier>', 'end the doubt about a quarantined event')
    .option('--delivered', 'Stripe has it: it counts as accepted and is not sent')
    .option('--lost', 'Stripe has it not: it is sent again')
    .action((identifier: string, options: ResolveOptions) => resolveOne(identifier, options));
  addConfiguredCommand(
    events,
    'cancel <identifier>',
    'never send an event, or take it back from Stripe; its usage stays unbilled',
  ).action((identifier: string, options: CommonOptions) => change('cancel', identifier, options));
}

async function list(options: ListOptions): Promise<void> {
  const { state, customer, limit, cursor } = options;
  const page = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: `/events${query({ state, customer, limit, cursor })}` }, pageSchema),
  );
  const rows = page.data.map((event) => [
    event.identifier,
    event.timestamp,
    event.customer,
    event.model,
    event.token_type,
    event.value,
    event.state,
    event.last_error ?? '',
  ]);
  say(options, page, () => [
    ...(rows.length === 0
      ? ['No events.']
      : table(['IDENTIFIER', 'TIME', 'CUSTOMER', 'MODEL', 'TYPE', 'TOKENS', 'STATE', 'ERROR'], rows)),
    ...(page.next_cursor === null ? [] : [`More: --cursor ${page.next_cursor}`]),
  ]);
}

async function show(identifier: string, options: CommonOptions): Promise<void> {
  const page = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: `/events${query({ identifier })}` }, pageSchema),
  );
  const event = page.data[0];
  if (event === undefined) throw new CommandFailure(EXIT.problem, `There is no event ${identifier}.`);
  say(options, event, () =>
    Object.entries(event).map(
      ([name, value]) => `${name.padEnd(12)} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
  );
}

async function change(action: 'retry' | 'cancel', identifier: string, options: CommonOptions): Promise<void> {
  const path = `/events/${encodeURIComponent(identifier)}/${action}`;
  const answer = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path, method: 'POST' }, z.unknown()),
  );
  say(options, answer, () => [
    action === 'retry'
      ? `${identifier} will be sent again.`
      : `${identifier} is cancelled: it is not billed.`,
  ]);
}

function resolveOne(identifier: string, options: ResolveOptions): Promise<void> {
  if ((options.delivered === true) === (options.lost === true)) {
    throw new CommandFailure(EXIT.usage, 'Say what was found: --delivered or --lost.');
  }
  return resolve(identifier, options.delivered === true ? 'delivered' : 'lost', options);
}

async function resolve(
  identifier: string,
  found: 'delivered' | 'lost',
  options: CommonOptions,
): Promise<void> {
  const path = `/events/${encodeURIComponent(identifier)}/resolve`;
  const answer = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path, method: 'POST', body: { found } }, z.unknown()),
  );
  say(options, answer, () => [
    found === 'lost' ? `${identifier} will be sent again.` : `${identifier} counts as delivered.`,
  ]);
}
