/** Usage records from elsewhere, as billable lines: each row is taken whole or not at all, and once by its identifier. */
import type { Ledger } from '../../ledger/ledger.ts';
import type { ImportRecord } from '../../ledger/bulk-port.ts';
import type { EventState } from '../../ledger/ledger.ts';
import type { Crypto } from '../../runtime.ts';
import { callIdOf } from '../reads/call-ids.ts';
import { isDay } from '../reads/days.ts';
import { CUSTOMER_ID } from '../../customer-id.ts';
import { parseUsd } from '../../usage/money.ts';
import { usageToJson } from '../../usage/usage-json.ts';
import { type Usage, ZERO_TOKENS } from '../../usage/usage.ts';
import { csvCells, readRow } from './bulk-rows.ts';
import { eventNameOf, type Layout, type LayoutOptions } from '../delivery/layouts.ts';

export interface ImporterOptions {
  readonly ledger: Pick<Ledger, 'importRecord'>;
  readonly crypto: Pick<Crypto, 'sha256'>;
  readonly now: () => number;
  /** The layout that usage delivered elsewhere is put down to. */
  readonly layout: Layout;
  readonly names: LayoutOptions;
  readonly costPico: (usage: Usage, billedModel: string) => bigint | null;
  /** Told when there is something to deliver. */
  readonly recorded: () => void;
}

export interface ImportRequest {
  readonly format: 'jsonl' | 'csv';
  /** Whole lines; of CSV the first names the columns. */
  readonly text: string;
  /** The number of the first of them in its file, the line of names not counted. */
  readonly firstLine: number;
  readonly dryRun: boolean;
}
export interface ImportReport {
  imported: number;
  /** Were there before, the same. */
  already: number;
  readonly errors: { readonly line: number; readonly message: string }[];
}

/** What is 34 days old is not sent any more; an hour is left for the sending. */
const AGE_MS = 2_934_000_000;
const AHEAD_MS = 300_000;
export const IMPORT_ROWS_MAX = 1_000;

export type Importer = (request: ImportRequest) => Promise<ImportReport>;

/** Rejects with a `RangeError` for a text that has no rows of its format at all. */
export function createImporter(options: ImporterOptions): Importer {
  return async ({ format, text, firstLine, dryRun }) => {
    const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
    const header = format === 'csv' ? headerOf(lines.shift() ?? '') : null;
    if (lines.length > IMPORT_ROWS_MAX + 1)
      throw new RangeError(
        `At most ${String(IMPORT_ROWS_MAX)} lines at once: send the rest in another request.`,
      );
    const nowMs = options.now();
    const report: ImportReport = { imported: 0, already: 0, errors: [] };
    const toSend = await Promise.all(
      lines.map(async (line, at) => {
        if (line.trim() === '') return false;
        try {
          return await importLine(options, { line, header, nowMs, dryRun }, report);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          report.errors.push({ line: firstLine + at, message: error.message });
          return false;
        }
      }),
    );
    report.errors.sort((a, b) => a.line - b.line);
    if (!dryRun && toSend.includes(true)) options.recorded();
    return report;
  };
}

interface Row {
  readonly line: string;
  readonly header: readonly string[] | null;
  readonly nowMs: number;
  readonly dryRun: boolean;
}

/** Whether there is something to send now. */
async function importLine(options: ImporterOptions, row: Row, report: ImportReport): Promise<boolean> {
  const record = recordOf(options, readRow(row.line, row.header), row.nowMs);
  const outcome = await options.ledger.importRecord(record, row);
  if (outcome === 'differs')
    throw new RangeError(
      `Another record was imported under the identifier "${record.identifier}": it stays.`,
    );
  report[outcome] += 1;
  return outcome === 'imported' && (record.event === null || record.event.state === 'pending');
}

function headerOf(line: string): readonly string[] {
  const header = csvCells(line.trim());
  const missing = ['identifier', 'timestamp', 'payload_stripe_customer_id', 'payload_value'].filter(
    (name) => !header.includes(name),
  );
  const twice = header.find((name, at) => header.indexOf(name) !== at);
  if (twice !== undefined) throw new RangeError(`The first line of CSV names the column "${twice}" twice.`);
  if (missing.length === 0) return header;
  throw new RangeError(`The first line of CSV names the columns: ${missing.join(', ')} is missing.`);
}

type Cells = ReadonlyMap<string, string>;

function recordOf(options: ImporterOptions, cells: Cells, nowMs: number): ImportRecord {
  const identifier = matched(
    cells,
    'identifier',
    /^[\x21-\x7e]{1,100}$/,
    '1 to 100 characters without spaces',
  );
  const customer = matched(cells, 'payload_stripe_customer_id', CUSTOMER_ID, 'a Stripe customer id, cus_...');
  const value = matched(cells, 'payload_value', /^[1-9]\d{0,14}$/, 'whole, 1 or more, 15 digits at most');
  const timestampMs = timeOf(cells.get('timestamp') ?? '');
  const state = stateOf(cells.get('faregate_state') ?? '');
  if (timestampMs > nowMs + AHEAD_MS)
    throw new RangeError('"timestamp" is in the future: at most 5 minutes are taken.');
  if (state === 'pending' && timestampMs < nowMs - AGE_MS)
    throw new RangeError(
      '"timestamp" is 34 days ago, or will be within the hour, and Stripe takes no such usage: bill it by an invoice item, or import it with "faregate_state" expired.',
    );
  const model = cells.get('payload_model') ?? '';
  const tokenType = cells.get('payload_token_type') ?? '';
  const isUnit = model === '' && tokenType === '';
  const content = JSON.stringify([
    customer,
    timestampMs,
    value,
    model,
    tokenType,
    ...billedBy(cells, isUnit),
  ]);
  const origin = { call: cells.get('faregate_call') ?? '', event: cells.get('faregate_event') ?? '' };
  const contentHash = options.crypto.sha256(content);
  const made = { identifier, customer, timestampMs, value, contentHash, origin };
  if (isUnit) return { ...made, usage: null, event: unitEvent(options, cells, { identifier, value, state }) };
  const usage = usageOf(options, cells, { identifier, timestampMs, value, model, tokenType });
  return { ...made, usage, event: lineEvent(options, cells, { identifier, value, state, usage }) };
}

/** What else the bill depends on: a unit's meter; of tokens the cost, where it is given. */
function billedBy(cells: Cells, isUnit: boolean): readonly string[] {
  if (isUnit) return [cells.get('event_name') ?? ''];
  const given = cells.get('faregate_cost_usd') ?? '';
  return given === '' ? [] : [costOf(given)];
}

function usageOf(
  { crypto, costPico }: ImporterOptions,
  cells: Cells,
  row: { identifier: string; timestampMs: number; value: string; model: string; tokenType: string },
): NonNullable<ImportRecord['usage']> {
  const { identifier, timestampMs, value, model, tokenType } = row;
  if (!/^[a-z0-9][a-z0-9._-]{0,63}\/[\x21-\x7e]{1,200}$/.test(model))
    throw new RangeError('"payload_model" must be provider/model, as it is billed.');
  const tokens = countsOf(tokenType, Number(value));
  if (tokens === undefined)
    throw new RangeError(`"payload_token_type" must be one of ${Object.keys(CLASSES).join(', ')}.`);
  const given = cells.get('faregate_cost_usd') ?? '';
  return {
    call: callIdOf(timestampMs, crypto.sha256(`import ${identifier}`)),
    provider: model.slice(0, model.indexOf('/')),
    model,
    tokenType,
    usageJson: usageToJson([{ ...tokens, servedModel: null }]),
    costPico: given === '' ? (costPico(tokens, model)?.toString() ?? null) : costOf(given),
  };
}

function costOf(text: string): string {
  const pico = parseUsd(text);
  if (pico < 0n || pico > 9_000_000_000_000_000_000n)
    throw new RangeError('"faregate_cost_usd" must be an amount from 0 to 9 million.');
  return pico.toString();
}

/** Undelivered usage is sealed and sent like any other; what was delivered gets an event that is never sent. */
function lineEvent(
  { crypto, layout, names }: ImporterOptions,
  cells: Cells,
  row: {
    readonly identifier: string;
    readonly value: string;
    readonly state: EventState;
    readonly usage: NonNullable<ImportRecord['usage']>;
  },
): ImportRecord['event'] {
  if (row.state === 'pending') return null;
  const given = cells.get('event_name') ?? '';
  const value = layout === 'cost' ? String(BigInt(row.usage.costPico ?? '0') / 1_000_000n) : row.value;
  return {
    identifier: `fg_imp_${crypto.sha256(row.identifier)}`,
    destination: layout,
    eventName: given === '' ? eventNameOf(layout, row.usage, names) : given,
    value,
    // As when it is sealed here: of nothing, nothing is sent, and nothing can be in doubt.
    state: value === '0' ? 'cancelled' : row.state,
  };
}

function unitEvent(
  { crypto }: ImporterOptions,
  cells: Cells,
  { identifier, value, state }: { identifier: string; value: string; state: EventState },
): ImportRecord['event'] {
  const eventName = matched(
    cells,
    'event_name',
    /^[\x21-\x7e]{1,100}$/,
    'the event name of a meter, for a unit without payload_model and payload_token_type',
  );
  return {
    identifier: `fg_imp_${crypto.sha256(identifier)}`,
    destination: 'dimensions',
    eventName,
    value,
    state,
  };
}

function matched(cells: Cells, name: string, form: RegExp, meaning: string): string {
  const text = cells.get(name) ?? '';
  if (form.test(text)) return text;
  throw new RangeError(`"${name}" must be ${meaning}${text === '' ? '' : `, not "${text.slice(0, 40)}"`}.`);
}

function timeOf(text: string): number {
  const ms = /^\d{9,10}$/.test(text)
    ? Number(text) * 1000
    : /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text)
      ? Date.parse(text)
      : NaN;
  if (Number.isSafeInteger(ms) && ms > 0 && isDay(text)) return ms;
  throw new RangeError('"timestamp" must be seconds, or a moment such as 2026-11-21T06:00:00Z.');
}

/** Usage that was perhaps sent is for reconciliation to find; what was not is to be sent. */
const STATES: Readonly<Record<string, EventState>> = {
  '': 'pending',
  unsent: 'pending',
  pending: 'pending',
  sending: 'quarantined',
  ambiguous: 'quarantined',
  quarantined: 'quarantined',
  accepted: 'accepted',
  confirmed: 'confirmed',
  refused: 'refused',
  expired: 'expired',
  cancelled: 'cancelled',
};
function stateOf(text: string): EventState {
  const state = Object.hasOwn(STATES, text) ? STATES[text] : undefined;
  if (state !== undefined) return state;
  throw new RangeError(`"faregate_state" must be one of ${Object.keys(STATES).slice(1).join(', ')}.`);
}

const CLASSES = {
  input: 'uncachedInput',
  output: 'textOutput',
  cached_input: 'cacheRead',
  cache_write: 'cacheWrite',
  reasoning: 'reasoning',
} as const;

function countsOf(tokenType: string, tokens: number): Usage | undefined {
  const name = Object.entries(CLASSES).find(([type]) => type === tokenType)?.[1];
  return name === undefined ? undefined : { ...ZERO_TOKENS, [name]: tokens };
}
