import type { Command } from 'commander';
import { z } from 'zod';
import { ask, query, withAdmin } from './admin.ts';
import { type CommonOptions, addConfiguredCommand, loadSettings, say, table } from './command.ts';
import { customerId } from './keys.ts';

const totalsSchema = z.looseObject({
  open_calls: z.int(),
  settled_calls: z.int(),
  lines: z.array(z.looseObject({ model: z.string(), token_type: z.string(), tokens: z.number() })),
  events: z.array(z.looseObject({ state: z.string(), count: z.int(), tokens: z.number() })),
  cost_usd: z.string(),
});

export function registerUsage(program: Command): void {
  addConfiguredCommand(program, 'usage', 'what was used, what it costs, and how much of it Stripe has')
    .option('--customer <cus_…>', "only this customer's", customerId)
    .action(usage);
}

async function usage(options: CommonOptions & { readonly customer?: string }): Promise<void> {
  const totals = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: `/totals${query({ customer: options.customer })}` }, totalsSchema),
  );
  say(options, totals, () => [
    `${String(totals.settled_calls)} calls, ${String(totals.open_calls)} running, $${totals.cost_usd}`,
    '',
    ...table(
      ['MODEL', 'TYPE', 'TOKENS'],
      totals.lines.map((line) => [line.model, line.token_type, String(line.tokens)]),
    ),
    '',
    ...table(
      ['EVENTS', 'COUNT', 'TOKENS'],
      totals.events.map((event) => [event.state, String(event.count), String(event.tokens)]),
    ),
  ]);
}
