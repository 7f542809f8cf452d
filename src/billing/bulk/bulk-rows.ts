/**
 * Usage as lines of a file: JSON lines or CSV, in the shape in which Stripe takes meter events in bulk. What only
 * Faregate needs stands beside it, under `faregate`, and can be left out.
 */
import type { EventState } from '../../ledger/ledger.ts';

export type BulkFormat = 'jsonl' | 'csv';

export interface BulkRow {
  readonly identifier: string;
  /** Seconds. */
  readonly timestamp: string;
  readonly eventName: string;
  readonly customer: string;
  readonly value: string;
  /** Empty for a unit that is no token. */
  readonly model: string;
  readonly tokenType: string;
  readonly state: EventState | 'unsent' | '';
  /** Exact decimal text; empty where it is unknown, or counted with another line of the call. */
  readonly costUsd: string;
  readonly call: string;
  readonly event: string;
}

/** Stripe's columns first, ours after. */
const STRIPES = [
  ['identifier', 'identifier'],
  ['timestamp', 'timestamp'],
  ['event_name', 'eventName'],
  ['payload_stripe_customer_id', 'customer'],
  ['payload_value', 'value'],
  ['payload_model', 'model'],
  ['payload_token_type', 'tokenType'],
] as const;
const OURS = [
  ['faregate_state', 'state'],
  ['faregate_cost_usd', 'costUsd'],
  ['faregate_call', 'call'],
  ['faregate_event', 'event'],
] as const;

export const csvHeader = (plain: boolean): string =>
  (plain ? STRIPES : [...STRIPES, ...OURS]).map(([column]) => column).join(',');

export function rowText(row: BulkRow, { format, plain }: { format: BulkFormat; plain: boolean }): string {
  if (format === 'csv')
    return (plain ? STRIPES : [...STRIPES, ...OURS]).map(([, name]) => csvCell(row[name])).join(',');
  const { identifier, timestamp, eventName: event_name, customer: stripe_customer_id, value, model } = row;
  const dimensions = model === '' ? {} : { model, token_type: row.tokenType };
  const own = { state: row.state, cost_usd: row.costUsd, call: row.call, event: row.event };
  return JSON.stringify({
    identifier,
    timestamp: Number(timestamp),
    event_name,
    payload: { stripe_customer_id, value, ...dimensions },
    ...(plain ? {} : { faregate: own }),
  });
}

export const csvCell = (text: string): string =>
  /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

/** What stands in a line, as text by Stripe's and our own column names. Throws a `RangeError` that says what is wrong. */
export function readRow(line: string, header: readonly string[] | null): ReadonlyMap<string, string> {
  return header === null ? readJson(line) : readCsv(line, header);
}

function readCsv(line: string, header: readonly string[]): ReadonlyMap<string, string> {
  const cells = csvCells(line);
  if (cells.length !== header.length)
    throw new RangeError(
      `It has ${String(cells.length)} cells, the first line names ${String(header.length)}.`,
    );
  return new Map(header.map((name, at) => [name, cells[at] ?? '']));
}

/** The cells of one line. Throws a `RangeError` for a quote that is not closed in it. */
export function csvCells(line: string): readonly string[] {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/.exec(line.slice(at));
    if (match === null) throw new RangeError(`Its quotes do not fit, from character ${String(at + 1)}.`);
    const [whole, quoted, bare = '', end] = match;
    cells.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end !== ',') return cells;
    at += whole.length;
  }
}

function readJson(line: string): ReadonlyMap<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new RangeError(`It is no JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  if (!isRecord(parsed)) throw new RangeError('It is no JSON object.');
  const cells = new Map<string, string>();
  const put = (name: string, value: unknown): void => {
    if (cells.has(name)) throw new RangeError(`"${name}" is said twice.`);
    cells.set(name, cellOf(name, value));
  };
  for (const [name, value] of Object.entries(parsed)) {
    if (!isRecord(value)) put(name, value);
    else for (const [inner, one] of Object.entries(value)) put(`${name}_${inner}`, one);
  }
  return cells;
}

function cellOf(name: string, value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  throw new RangeError(`"${name}" is neither text nor a number.`);
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
