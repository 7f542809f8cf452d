/** The history of comparisons with Stripe's sums. */
import type { LedgerParts } from './create-ledger.ts';
import type { Row } from './ledger.ts';
import type { Comparing, RunCell, RunState, RunVerdict, RunView } from './reconcile-port.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf, wordOrNull } from './rows.ts';

/** A nightly run for over a year. */
const RUNS_KEPT_MAX = 400;

const FAIL_LEFT = `
  UPDATE reconciliations SET state = 'failed', finished_at_ms = ?, error = 'It was interrupted: the process ended.'
  WHERE state = 'running'`;
const BEGIN_RUN = `
  INSERT INTO reconciliations (id, cause, customer, from_ms, to_ms, started_at_ms, state)
  VALUES (?, ?, ?, ?, ?, ?, 'running')`;
const RECORD_CELL = `
  INSERT INTO reconciliation_cells (run, customer, event_name, hour_ms, verdict, ledger, stripe, reasons_json)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, customer, event_name, hour_ms) DO NOTHING`;
const END_RUN = `
  UPDATE reconciliations SET finished_at_ms = ?, state = ?, verdict = ?, error = ?, equal_cells = ?, lagging_cells = ?,
    different_cells = ?, confirmed = ?, delivered = ?, lost = ?, unread = ?, notes_json = ?
  WHERE id = ? AND state = 'running'`;
const OLD_RUNS = `
  SELECT id FROM reconciliations ORDER BY id DESC LIMIT 1000 OFFSET ${RUNS_KEPT_MAX}`;
const FORGET_CELLS = `DELETE FROM reconciliation_cells WHERE run IN (${OLD_RUNS})`;
const FORGET_RUNS = `DELETE FROM reconciliations WHERE id IN (${OLD_RUNS})`;
const READ_RUNS = (where: string): string => `
  SELECT id, cause, customer, from_ms, to_ms, started_at_ms, finished_at_ms, state, verdict, error, equal_cells,
    lagging_cells, different_cells, confirmed, delivered, lost, unread, notes_json
  FROM reconciliations ${where} ORDER BY id DESC LIMIT CAST(? AS BIGINT)`;
const READ_CELLS = `
  SELECT customer, event_name, hour_ms, verdict, ledger, stripe, reasons_json FROM reconciliation_cells
  WHERE run = ? ORDER BY verdict, hour_ms DESC, customer, event_name LIMIT CAST(? AS BIGINT)`;

type OfRuns = Pick<Comparing, 'beginRun' | 'recordCells' | 'endRun' | 'runs' | 'runCells'>;

/** Ids sort by the time they were made in. */
export function createReconciliations({ database }: LedgerParts): OfRuns {
  return {
    async beginRun({ id, cause, customer, fromMs, toMs, startedAtMs }) {
      await database.batch([
        { sql: FAIL_LEFT, params: [startedAtMs] },
        { sql: BEGIN_RUN, params: [id, cause, customer, fromMs, toMs, startedAtMs] },
      ]);
    },
    async recordCells(run, cells) {
      if (cells.length === 0) return;
      await database.batch(cells.map((cell) => ({ sql: RECORD_CELL, params: cellParams(run, cell) })));
    },
    async endRun(run, end) {
      const { finishedAtMs, verdict, error, equal, lagging, different, confirmed, delivered, lost } = end;
      const state = error === null ? 'finished' : 'failed';
      const counts = [equal, lagging, different, confirmed, delivered, lost, end.unread];
      const params = [finishedAtMs, state, verdict, error, ...counts, JSON.stringify(end.notes), run];
      await database.batch([
        { sql: END_RUN, params },
        { sql: FORGET_CELLS, params: [] },
        { sql: FORGET_RUNS, params: [] },
      ]);
    },
    async runs({ id, cursor, limit }) {
      const where = id === undefined ? (cursor === undefined ? '' : 'WHERE id < ?') : 'WHERE id = ?';
      const params = [...[id ?? cursor].filter((one) => one !== undefined), limit + 1];
      const [rows = []] = await database.batch([{ sql: READ_RUNS(where), params }]);
      const data = rows.slice(0, limit).map(runView);
      return { data, nextCursor: rows.length > limit ? (data.at(-1)?.id ?? null) : null };
    },
    async runCells(run, limit) {
      const [rows = []] = await database.batch([{ sql: READ_CELLS, params: [run, limit] }]);
      return rows.map(runCell);
    },
  };
}

const cellParams = (
  run: string,
  { customer, eventName, hourMs, verdict, ledger, stripe, reasons }: RunCell,
): (string | number)[] => [
  run,
  customer,
  eventName,
  hourMs,
  verdict,
  ledger,
  stripe,
  JSON.stringify(reasons),
];

const runView = (row: Row): RunView => ({
  id: textOf(row, 'id'),
  cause: textOf(row, 'cause'),
  customer: textOrNull(row, 'customer'),
  fromMs: numberOrNull(row, 'from_ms'),
  toMs: numberOf(row, 'to_ms'),
  startedAtMs: numberOf(row, 'started_at_ms'),
  finishedAtMs: numberOrNull(row, 'finished_at_ms'),
  state: wordOf<RunState>(row, 'state'),
  verdict: wordOrNull<RunVerdict>(row, 'verdict'),
  error: textOrNull(row, 'error'),
  equal: numberOf(row, 'equal_cells'),
  lagging: numberOf(row, 'lagging_cells'),
  different: numberOf(row, 'different_cells'),
  confirmed: numberOf(row, 'confirmed'),
  delivered: numberOf(row, 'delivered'),
  lost: numberOf(row, 'lost'),
  unread: numberOf(row, 'unread'),
  notes: JSON.parse(textOf(row, 'notes_json')) as readonly string[],
});

const runCell = (row: Row): RunCell => ({
  customer: textOf(row, 'customer'),
  eventName: textOf(row, 'event_name'),
  hourMs: numberOf(row, 'hour_ms'),
  verdict: wordOf<RunVerdict>(row, 'verdict'),
  ledger: textOf(row, 'ledger'),
  stripe: textOf(row, 'stripe'),
  reasons: JSON.parse(textOf(row, 'reasons_json')) as RunCell['reasons'],
});
