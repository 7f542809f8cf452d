/** `/admin/v1/reconciliations`: the ledger compared with Stripe's sums, now and before. */
import { Hono } from 'hono';
import { z } from 'zod';
import { isDay } from '../billing/reads/days.ts';
import type { ReconcileScope, Reconciler } from '../billing/reconcile/reconciler.ts';
import type { RestoreReport } from '../billing/bulk/restore.ts';
import { isCustomerId } from '../customer-id.ts';
import { Refusal } from '../errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { RunCell, RunView } from '../ledger/reconcile-port.ts';
import type { Runtime } from '../runtime.ts';
import { sent, sentNothing } from './request.ts';

export interface BooksRoutesOptions {
  readonly ledger: Pick<Ledger, 'runs' | 'runCells'>;
  readonly runtime: Pick<Runtime, 'defer'>;
  readonly reconciler: Reconciler;
}

/** Cells shown with a run. */
const CELLS_SHOWN_MAX = 1_000;

export function createBooksRoutes({ ledger, runtime, reconciler }: BooksRoutesOptions): Hono {
  const admin = new Hono();
  admin.get('/reconciliations', async (c) => {
    const { cursor, limit } = c.req.query();
    const page = await ledger.runs({ cursor: runCursor(cursor), limit: pageRows(limit) });
    return c.json({ data: page.data.map(runJson), next_cursor: page.nextCursor });
  });
  admin.get('/reconciliations/:id', async (c) => {
    const [run] = (await ledger.runs({ id: c.req.param('id'), limit: 1 })).data;
    if (run === undefined) throw new Refusal('not_found', `There is no reconciliation ${c.req.param('id')}.`);
    const cells = await ledger.runCells(run.id, CELLS_SHOWN_MAX);
    return c.json({ ...runJson(run), open_cells: cells.map(cellJson) });
  });
  admin.post('/reconciliations', async (c) => {
    const run = await reconciler.begin(scopeOf(await sent(c.req.raw, scopeSchema, {})));
    if (run === null)
      throw new Refusal(
        'invalid_request',
        'A reconciliation is under way: look at GET /admin/v1/reconciliations, and ask again when it is finished.',
      );
    runtime.defer(run.done);
    return c.json({ id: run.id, state: 'running' }, 202);
  });
  return admin;
}

/** Undefined where a gateway runs: what it sends cannot be told from what was sent before the backup was put back. */
export function createRestoreRoute(restore: (() => Promise<RestoreReport>) | undefined): Hono {
  const admin = new Hono();
  admin.post('/restore', async (c) => {
    await sentNothing(c.req.raw);
    if (restore === undefined)
      throw new Refusal(
        'invalid_request',
        'A gateway is running on this ledger. Stop it, put the backup in place, run "faregate restore", and start it again.',
      );
    return c.json(await restore());
  });
  return admin;
}

const scopeSchema = z.strictObject({
  customer: z.unknown().optional(),
  from: z.unknown().optional(),
  to: z.unknown().optional(),
});

function scopeOf({ customer, from, to }: z.output<typeof scopeSchema>): ReconcileScope {
  const fromMs = momentOf(from, 'from');
  const toMs = momentOf(to, 'to');
  if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs)
    throw new Refusal('invalid_request', '"from" must be before "to".', { param: 'from' });
  if (customer !== undefined && !isCustomerId(customer))
    throw new Refusal('invalid_request', '"customer" must be a Stripe customer id, cus_....', {
      param: 'customer',
    });
  return { cause: 'command', customer, fromMs, toMs };
}

/** A day, a moment with its zone, or seconds. */
export function momentOf(value: unknown, param: string): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const text = String(value);
  const ms = /^\d{9,10}$/.test(text)
    ? Number(text) * 1000
    : /^\d{4}-\d\d-\d\d(T.*(Z|[+-]\d\d:\d\d))?$/.test(text)
      ? Date.parse(text)
      : NaN;
  if (Number.isFinite(ms) && ms >= 0 && isDay(text)) return ms;
  throw new Refusal(
    'invalid_request',
    `"${param}" must be a day (2026-11-21, midnight UTC), a moment (2026-11-21T06:00:00Z) or seconds, not "${text.slice(0, 40)}".`,
    { param },
  );
}

function runCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined || /^rcn_[0-9a-z]{1,40}$/.test(cursor)) return cursor;
  throw new Refusal('invalid_request', 'cursor must be the next_cursor of a page of this list.', {
    param: 'cursor',
  });
}

function pageRows(limit: string | undefined): number {
  const rows = Number(limit ?? 100);
  if (Number.isInteger(rows) && rows >= 1 && rows <= 1_000) return rows;
  throw new Refusal('invalid_request', `limit must be a whole number from 1 to 1000, not "${limit}".`, {
    param: 'limit',
  });
}

const runJson = (run: RunView): Record<string, unknown> => ({
  id: run.id,
  cause: run.cause,
  customer: run.customer,
  from: isoTime(run.fromMs),
  to: isoTime(run.toMs),
  started_at: isoTime(run.startedAtMs),
  finished_at: isoTime(run.finishedAtMs),
  state: run.state,
  verdict: run.verdict,
  error: run.error,
  cells: { equal: run.equal, lagging: run.lagging, different: run.different },
  events: { confirmed: run.confirmed, delivered: run.delivered, lost: run.lost },
  unread: run.unread,
  notes: run.notes,
});

const cellJson = (cell: RunCell): unknown => ({
  customer: cell.customer,
  event_name: cell.eventName,
  hour: isoTime(cell.hourMs),
  verdict: cell.verdict,
  ledger: cell.ledger,
  stripe: cell.stripe,
  reasons: cell.reasons,
});

const isoTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
