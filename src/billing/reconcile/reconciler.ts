/**
 * Compares the ledger with Stripe's sums: customer by customer, meter by meter. What was decided is written at once, a
 * step at a time and each for good, so a run may die anywhere and the next one goes on.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { BookedCell, RunCell, RunCounts, RunEnd, RunView } from '../../ledger/reconcile-port.ts';
import type { Restored } from '../../ledger/restore.ts';
import type { Runtime } from '../../runtime.ts';
import { StripeUnreachable } from '../ports.ts';
import { type Cell, judge, type Reason, type Verdict } from './reconcile.ts';
import { settleCell } from './settle-cell.ts';
import { type MeterInfo, NoSums, type StripeSums } from './summaries.ts';

export interface ReconcilerOptions {
  readonly ledger: Ledger;
  readonly sums: StripeSums;
  readonly runtime: Pick<Runtime, 'now' | 'id' | 'log' | 'after'>;
  /** The event name that is meant to be told apart by model and token type; null without that layout. */
  readonly dimensionsEventName: string | null;
  /** Usage older than that may have been deleted, and is not compared; without, all is kept. */
  readonly keptMs?: number | undefined;
  /** Told when events are due again. */
  readonly resent: () => void;
  /** Waits; a test need not. */
  readonly pause?: ((ms: number) => Promise<void>) | undefined;
}

export interface ReconcileScope {
  readonly cause: 'command' | 'nightly';
  readonly customer?: string | undefined;
  /** Rounded to whole hours. Without: where each customer's unconfirmed usage begins, three days ago at least. */
  readonly fromMs?: number | undefined;
  /** Now, unless given. */
  readonly toMs?: number | undefined;
}

export interface Reconciler {
  /** Begins a run; `id` is its own at once, `done` when it is over, whatever came of it. Null while one is running. */
  begin(scope: ReconcileScope): Promise<{ readonly id: string; readonly done: Promise<RunView> } | null>;
}

export const HOUR_MS = 3_600_000;
/** Stripe's sums are eventually consistent and no bound is stated: what is younger may lag, what is older must be there. */
export const LAG_MS = 3_600_000;
/** An event can be taken back for 24 hours; then Stripe's sums get their time to follow. */
const WITHDRAWN_MS = 90_000_000;
/** Usage may be so far ahead of the clock; of what is to come there are no books. */
const AHEAD_MS = 300_000;
/** Looked at again every time, to see what others send; older hours only until they are confirmed. */
const LOOK_BACK_MS = 3 * 86_400_000;
/** Stripe takes usage for 35 days: what is unconfirmed after that can be told, but not mended. */
const OLDEST_MS = 35 * 86_400_000;
/** A customer's books are read in slices, so that no read holds up the ledger's writer for long. */
const SLICE_MS = 6 * HOUR_MS;
const ASK_TRIES = 3;
const RETRY_MS = 2_000;
/** Customers in a row that Stripe gave no sums of: then it is away, and the run ends. */
const UNREAD_MAX = 3;
/** Of one run, that were not equal and are kept. */
const CELLS_KEPT_MAX = 10_000;

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { ledger, runtime } = options;
  let running = false;
  const whole = async (id: string, scope: Run['scope']) => {
    const run = newRun(options, id, scope);
    let error: string | null = null;
    try {
      await compareAll(run);
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure);
    }
    const end = endOf(run, error, runtime.now());
    try {
      await ledger.endRun(id, end);
    } finally {
      running = false;
    }
    if (run.isResending) options.resent();
    tell(options, id, end);
    const [view] = (await ledger.runs({ id, limit: 1 })).data;
    if (view === undefined) throw new Error(`The run ${id} is not on record.`);
    return view;
  };
  return {
    async begin(scope) {
      if (running) return null;
      running = true;
      const startedAtMs = runtime.now();
      const id = `rcn_${runtime.id()}`;
      const toMs = ceilHour(Math.min(scope.toMs ?? startedAtMs + 1, startedAtMs + AHEAD_MS));
      const { cause, customer = null } = scope;
      const fromMs = scope.fromMs === undefined ? null : floorHour(scope.fromMs);
      try {
        await ledger.beginRun({ id, cause, customer, fromMs, toMs, startedAtMs });
      } catch (error) {
        running = false;
        throw error;
      }
      return { id, done: whole(id, { ...scope, toMs }) };
    },
  };
}

type Counts = { -readonly [name in keyof RunCounts]: RunCounts[name] };

interface Run extends ReconcilerOptions {
  readonly id: string;
  readonly scope: ReconcileScope & { readonly toMs: number };
  readonly counts: Counts;
  readonly notes: Set<string>;
  meters: ReadonlyMap<string, MeterInfo>;
  unsealed: ReadonlyMap<string, ReadonlyMap<number, string>>;
  kept: number;
  isResending: boolean;
}

const newRun = (options: ReconcilerOptions, id: string, scope: Run['scope']): Run => ({
  ...options,
  id,
  scope,
  counts: { equal: 0, lagging: 0, different: 0, confirmed: 0, delivered: 0, lost: 0, unread: 0 },
  notes: new Set(),
  meters: new Map(),
  unsealed: new Map(),
  kept: 0,
  isResending: false,
});

async function compareAll(run: Run): Promise<void> {
  const { ledger, scope, sums } = run;
  run.meters = await asked(run, () => sums.meters());
  run.unsealed = await ledger.unsealedHours();
  const restored = await ledger.restoration();
  if (restored !== null && scope.toMs - restored.atMs < OLDEST_MS) run.notes.add(restoredNote(restored));
  if (scope.customer !== undefined) return void (await compareCustomer(run, scope.customer));
  let inARow = 0;
  for (let at = await ledger.customerAfter(''); at !== undefined; at = await ledger.customerAfter(at)) {
    const isAnswered = await compareCustomer(run, at);
    inARow = isAnswered ? 0 : inARow + 1;
    if (inARow >= UNREAD_MAX)
      throw new StripeUnreachable(`Stripe gave no sums of ${String(UNREAD_MAX)} customers in a row.`);
  }
}

const restoredNote = ({ atMs, backupAtMs }: Restored): string =>
  `The ledger was restored at ${new Date(atMs).toISOString()} from a backup whose latest event is of ${
    backupAtMs === null ? 'no time' : new Date(backupAtMs).toISOString()
  }: what was used in between is at Stripe and not on record, and shows as foreign in those hours.`;

/** Whether Stripe answered, be it that it gives no sums of this customer. */
async function compareCustomer(run: Run, customer: string): Promise<boolean> {
  let isAnswered = true;
  const fromMs = await beginning(run, customer);
  const { toMs } = run.scope;
  const booksMs = run.runtime.now();
  const before = await readBooks(run, customer, { fromMs, toMs });
  const names = [...new Set(before.map(({ eventName }) => eventName))].toSorted();
  for (const eventName of names) {
    const cells = before.filter((cell) => cell.eventName === eventName);
    try {
      await compareMeter(run, { customer, eventName, fromMs, toMs, booksMs }, cells);
    } catch (error) {
      if (!(error instanceof StripeUnreachable) && !(error instanceof NoSums)) throw error;
      isAnswered &&= error instanceof NoSums;
      run.counts.unread += 1;
      run.notes.add(error instanceof NoSums ? `${customer}, ${eventName}: ${error.message}` : error.message);
    }
  }
  return isAnswered;
}

async function beginning(
  { ledger, runtime, scope, keptMs = Infinity }: Run,
  customer: string,
): Promise<number> {
  const nowMs = runtime.now();
  // The hour in which deletion stopped may be there in part.
  const kept = (ms: number): number => floorHour(Math.max(ms, nowMs - keptMs + HOUR_MS));
  if (scope.fromMs !== undefined) return kept(scope.fromMs);
  const oldestMs = await ledger.oldestUnconfirmedMs(customer, nowMs - OLDEST_MS);
  return kept(Math.min(oldestMs ?? nowMs, nowMs - LOOK_BACK_MS, scope.toMs - LOOK_BACK_MS));
}

interface MeterScope {
  readonly customer: string;
  readonly eventName: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Before the books were read. */
  readonly booksMs: number;
}

/**
 * The books are read before Stripe is asked, and once more after where the two do not agree: what was taken in between
 * is then on both sides, or known to be recent.
 */
async function compareMeter(run: Run, scope: MeterScope, before: readonly BookedCell[]): Promise<void> {
  const meter = run.meters.get(scope.eventName);
  const trouble = troubleOf(meter);
  const sums =
    meter === undefined || trouble !== undefined
      ? undefined
      : await sumsOf(run, scope, [meter.id, ...(meter.former ?? [])]);
  if (meter !== undefined && !meter.hasDimensions && scope.eventName === run.dimensionsEventName)
    run.notes.add(
      `The meter ${meter.id} (${scope.eventName}) shows no dimensions: its sums are compared, but Stripe adds all models and token types into one number and cannot price them apart.`,
    );
  const readMs = run.runtime.now();
  const judged = (books: readonly BookedCell[]): Map<number, Verdict> =>
    new Map(
      hoursOf(books, sums).map((hourMs) => {
        const cell = cellOf(
          books.find((one) => one.hourMs === hourMs),
          run.unsealed.get(scope.customer)?.get(hourMs),
        );
        const verdict = judge(cell, sums?.get(hourMs) ?? 0n, readMs);
        return [hourMs, sums === undefined ? withTrouble(verdict, trouble ?? 'no_customer') : verdict];
      }),
    );
  let verdicts = judged(before);
  let acceptedMs = scope.booksMs;
  if ([...verdicts.values()].some(({ kind }) => kind !== 'equal')) {
    const again = await readBooks(run, scope.customer, scope);
    verdicts = judged(again.filter(({ eventName }) => eventName === scope.eventName));
    acceptedMs = readMs;
  }
  // In the millisecond itself more may have been taken after the look.
  await settle(run, scope, { verdicts, acceptedMs: acceptedMs - 1 });
}

/** Of all the meters that had the event name, since what one of them has counted must not be sent to the next. */
async function sumsOf(
  run: Run,
  scope: MeterScope,
  meters: readonly string[],
): Promise<ReadonlyMap<number, bigint> | undefined> {
  const total = new Map<number, bigint>();
  for (const meter of meters) {
    const sums = await asked(run, () => run.sums.hours({ meter, ...scope }));
    if (sums === undefined) return undefined;
    for (const [hourMs, sum] of sums) total.set(hourMs, (total.get(hourMs) ?? 0n) + sum);
  }
  return total;
}

async function settle(
  run: Run,
  { customer, eventName }: MeterScope,
  { verdicts, acceptedMs }: { verdicts: ReadonlyMap<number, Verdict>; acceptedMs: number },
): Promise<void> {
  const kept: RunCell[] = [];
  for (const [hourMs, verdict] of verdicts) {
    run.counts[verdict.kind] += 1;
    const done = await settleCell(run, { customer, eventName, hourMs, acceptedMs }, verdict);
    run.counts.confirmed += done.confirmed;
    run.counts.delivered += done.delivered;
    run.counts.lost += done.lost;
    run.isResending ||= done.lost > 0;
    if (verdict.kind !== 'equal') kept.push(cellView({ customer, eventName, hourMs }, verdict));
  }
  const room = Math.max(0, CELLS_KEPT_MAX - run.kept);
  run.kept += kept.length;
  await run.ledger.recordCells(run.id, kept.slice(0, room));
}

function troubleOf(meter: MeterInfo | undefined): 'no_meter' | 'not_summed' | undefined {
  if (meter === undefined) return 'no_meter';
  return meter.isSum ? undefined : 'not_summed';
}

/** Without sums nothing is settled, and what the sums would have shown is not known. */
function withTrouble(verdict: Verdict, reason: Reason['reason']): Verdict {
  const known = verdict.reasons.filter((one) => !OF_SUMS.has(one.reason));
  const reasons = [{ reason, value: verdict.ledger }, ...known];
  return { ...verdict, kind: 'different', reasons, isConfirmed: false, findings: [] };
}

const OF_SUMS: ReadonlySet<Reason['reason']> = new Set<Reason['reason']>([
  'missing',
  'recent',
  'undecided',
  'foreign',
]);

/** Of usage that is in no event yet nobody knows the event name: it is told where the hour has events. */
const hoursOf = (
  books: readonly BookedCell[],
  sums: ReadonlyMap<number, bigint> | undefined,
): readonly number[] =>
  [...new Set([...books.map(({ hourMs }) => hourMs), ...(sums?.keys() ?? [])])].sort((a, b) => a - b);

function cellOf(books: BookedCell | undefined, unsealed: string | undefined): Cell {
  const sum = (name: keyof BookedCell['sums']): bigint => BigInt(books?.sums[name] ?? '0');
  return {
    counted: sum('counted'),
    recent: sum('recent'),
    waiting: sum('waiting'),
    refused: sum('refused'),
    expired: sum('expired'),
    withdrawn: sum('withdrawn'),
    unsealed: BigInt(unsealed ?? '0'),
    doubts: (books?.doubts ?? []).map((doubt) => ({
      identifier: doubt.identifier,
      value: BigInt(doubt.value),
      kind: JSON.stringify([doubt.model, doubt.tokenType]),
      isParked: doubt.state === 'quarantined',
      isRefused: doubt.state === 'refused',
      quietSinceMs: doubt.notBeforeMs,
    })),
  };
}

/** In slices, one after the other. */
async function readBooks(
  { ledger, runtime }: Run,
  customer: string,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): Promise<readonly BookedCell[]> {
  const cells: BookedCell[] = [];
  const nowMs = runtime.now();
  for (let at = fromMs; at < toMs; at += SLICE_MS) {
    const slice = { customer, fromMs: at, toMs: Math.min(toMs, at + SLICE_MS) };
    const when = { countedMs: nowMs - LAG_MS, withdrawnMs: nowMs - WITHDRAWN_MS };
    cells.push(...(await ledger.books({ ...slice, ...when })));
  }
  return cells;
}

/** Asks a few times: a limit, or a bad moment, is no reason to leave a customer out. */
async function asked<T>({ runtime, pause }: Run, question: () => Promise<T>): Promise<T> {
  const wait =
    pause ?? ((ms: number) => new Promise<void>((resolve) => void runtime.after(ms, () => resolve())));
  for (let left = ASK_TRIES; ; left -= 1) {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof StripeUnreachable) || left <= 1) throw error;
      await wait(RETRY_MS);
    }
  }
}

function endOf({ counts, notes, kept }: Run, error: string | null, finishedAtMs: number): RunEnd {
  const cut =
    kept > CELLS_KEPT_MAX ? [`Only ${String(CELLS_KEPT_MAX)} of ${String(kept)} cells are kept.`] : [];
  const verdict = counts.different > 0 ? 'different' : counts.lagging > 0 ? 'lagging' : 'equal';
  const unread = counts.unread > 0 ? `${String(counts.unread)} could not be read` : null;
  const isWhole = error === null && unread === null;
  return {
    ...counts,
    finishedAtMs,
    verdict: isWhole || counts.different > 0 ? verdict : null,
    error: error ?? unread,
    notes: [...notes, ...cut].slice(0, 20),
  };
}

function tell({ runtime }: ReconcilerOptions, id: string, end: RunEnd): void {
  const { equal, lagging, different, confirmed, delivered, lost, unread, error } = end;
  const level = different > 0 || error !== null ? 'error' : 'info';
  const counts = { equal, lagging, different, confirmed, delivered, lost, unread };
  runtime.log(level, 'reconciled', { run: id, verdict: end.verdict, ...counts, error });
}

const cellView = (
  at: Pick<RunCell, 'customer' | 'eventName' | 'hourMs'>,
  { kind, ledger, stripe, reasons }: Verdict,
): RunCell => ({
  ...at,
  verdict: kind,
  ledger: String(ledger),
  stripe: String(stripe),
  reasons: reasons.map(({ reason, value }) => ({ reason, value: String(value) })),
});

const floorHour = (ms: number): number => ms - (ms % HOUR_MS);
const ceilHour = (ms: number): number => floorHour(ms + HOUR_MS - 1);
