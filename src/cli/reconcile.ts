/** `faregate reconcile`: the ledger compared with Stripe's sums, and what came of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { type AdminFetch, ask, query, withAdmin } from './admin.ts';
import { type CommonOptions, EXIT, addConfiguredCommand, loadSettings, say, table } from './command.ts';
import { customerId } from './keys.ts';

const runSchema = z.looseObject({
  id: z.string(),
  cause: z.string(),
  started_at: z.string(),
  state: z.enum(['running', 'finished', 'failed']),
  verdict: z.string().nullable(),
  error: z.string().nullable(),
  cells: z.looseObject({ equal: z.int(), lagging: z.int(), different: z.int() }),
  events: z.looseObject({ confirmed: z.int(), delivered: z.int(), lost: z.int() }),
  notes: z.array(z.string()),
});
const wholeSchema = runSchema.extend({
  open_cells: z.array(
    z.looseObject({
      customer: z.string(),
      event_name: z.string(),
      hour: z.string(),
      verdict: z.string(),
      ledger: z.string(),
      stripe: z.string(),
      reasons: z.array(z.looseObject({ reason: z.string(), value: z.string() })),
    }),
  ),
});
type Run = z.output<typeof runSchema>;
type WholeRun = z.output<typeof wholeSchema>;
const pageSchema = z.looseObject({ data: z.array(runSchema), next_cursor: z.string().nullable() });

/** The first look comes soon; most runs take seconds. */
const LOOK_MS_FIRST = 50;
const LOOK_MS_MAX = 1_000;

interface ReconcileOptions extends CommonOptions {
  readonly customer?: string;
  readonly from?: string;
  readonly to?: string;
  readonly history?: true;
}

export function registerReconcile(program: Command): void {
  addConfiguredCommand(
    program,
    'reconcile',
    "the ledger compared with Stripe's sums, by customer, meter and hour; exits 1 when they differ",
  )
    .option('--customer <cus_…>', "only this customer's", customerId)
    .option('--from <time>', 'a day, a moment or seconds (default: the unconfirmed, 3 days at least)')
    .option('--to <time>', 'the same (default: now)')
    .option('--history', 'list the runs there were instead')
    .action((options: ReconcileOptions) =>
      options.history === true ? history(options) : reconcile(options),
    );
}

async function reconcile(options: ReconcileOptions): Promise<void> {
  const { customer, from, to } = options;
  const run = await withAdmin(loadSettings('read', options), async (admin) => {
    const body = { customer, from, to };
    const begun = await ask(
      admin,
      { path: '/reconciliations', method: 'POST', body },
      z.looseObject({ id: z.string() }),
    );
    return finished(admin, begun.id);
  });
  say(options, run, () => [
    summary(run),
    ...(run.error === null ? [] : [`not finished: ${run.error}`]),
    ...run.notes.map((note) => `note: ${note}`),
    ...cells(run),
  ]);
  if (run.verdict === 'different') process.exitCode = EXIT.problem;
  else if (run.state === 'failed') process.exitCode = EXIT.network;
}

async function finished(admin: AdminFetch, id: string): Promise<WholeRun> {
  for (let waitMs = LOOK_MS_FIRST; ; waitMs = Math.min(waitMs * 2, LOOK_MS_MAX)) {
    const run = await ask(admin, { path: `/reconciliations/${id}` }, wholeSchema);
    if (run.state !== 'running') return run;
    await sleep(waitMs);
  }
}

async function history(options: CommonOptions): Promise<void> {
  const page = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: `/reconciliations${query({ limit: '100' })}` }, pageSchema),
  );
  const rows = page.data.map((run) => [
    run.id,
    run.started_at,
    run.cause,
    run.verdict ?? run.state,
    ...[run.cells.equal, run.cells.lagging, run.cells.different, run.events.confirmed].map(String),
  ]);
  const header = ['RUN', 'STARTED', 'CAUSE', 'VERDICT', 'EQUAL', 'LAGGING', 'DIFFERENT', 'CONFIRMED'];
  say(options, page, () => (rows.length === 0 ? ['No runs yet.'] : table(header, rows)));
}

const summary = ({ verdict, state, cells: count, events }: Run): string =>
  [
    `${verdict ?? state}: ${String(count.equal)} hours equal, ${String(count.lagging)} lagging, ${String(count.different)} different`,
    `${String(events.confirmed)} events confirmed, ${String(events.delivered)} found, ${String(events.lost)} to be sent again`,
  ].join('; ');

function cells({ open_cells: open }: WholeRun): readonly string[] {
  if (open.length === 0) return [];
  const rows = open.map((cell) => [
    cell.hour,
    cell.customer,
    cell.event_name,
    cell.verdict,
    cell.ledger,
    cell.stripe,
    cell.reasons.map(({ reason, value }) => `${reason} ${value}`).join(', '),
  ]);
  return ['', ...table(['HOUR', 'CUSTOMER', 'METER', 'VERDICT', 'LEDGER', 'STRIPE', 'WHY'], rows)];
}
