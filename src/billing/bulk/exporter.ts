/** The ledger as text, piece by piece: the next page is read when the reader has taken the one before. */
import type { Ledger } from '../../ledger/ledger.ts';
import type { ExportedCall, ExportedEvent, ExportPage, ExportQuery } from '../../ledger/bulk-port.ts';
import type { Crypto } from '../../runtime.ts';
import { formatUsd } from '../../usage/money.ts';
import { type BulkFormat, type BulkRow, csvCell, csvHeader, rowText } from './bulk-rows.ts';

export const EXPORT_KINDS = ['events', 'lines', 'calls'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

export interface ExportRequest {
  readonly kind: ExportKind;
  readonly format: BulkFormat;
  /** Stripe's own members only. */
  readonly plain: boolean;
  readonly customer?: string | undefined;
  readonly fromMs: number;
  readonly toMs: number;
}
export interface ExporterOptions {
  readonly ledger: Pick<Ledger, 'exportEvents' | 'exportCalls'>;
  readonly crypto: Pick<Crypto, 'sha256'>;
  /** The destination whose events lines are told with. */
  readonly destination: string;
  /** For lines that are in no event yet. */
  readonly eventName: string;
}

const PAGE_ROWS = 1_000;

export async function* exportText(options: ExporterOptions, request: ExportRequest): AsyncGenerator<string> {
  if (request.format === 'csv')
    yield `${request.kind === 'calls' ? CALL_COLUMNS.join(',') : csvHeader(request.plain)}\n`;
  if (request.kind === 'events') yield* eventText(options, request, false);
  else yield* callText(options, request);
  // What was recorded without a call is a line too.
  if (request.kind === 'lines') yield* eventText(options, request, true);
}

async function* eventText(
  { ledger }: ExporterOptions,
  request: ExportRequest,
  unitsOnly: boolean,
): AsyncGenerator<string> {
  const read = (query: ExportQuery) => ledger.exportEvents({ ...query, unitsOnly });
  for await (const events of pages(read, request))
    yield events.map((event) => `${rowText(eventRow(event), request)}\n`).join('');
}

async function* callText(options: ExporterOptions, request: ExportRequest): AsyncGenerator<string> {
  const { ledger, destination } = options;
  const read = (query: ExportQuery) => ledger.exportCalls({ ...query, destination });
  for await (const calls of pages(read, request)) {
    const texts =
      request.kind === 'calls'
        ? calls.map((call) => callLine(call, request.format))
        : calls.flatMap((call) => lineRows(call, options)).map((row) => rowText(row, request));
    if (texts.length > 0) yield `${texts.join('\n')}\n`;
  }
}

async function* pages<T>(
  read: (query: ExportQuery) => Promise<ExportPage<T>>,
  { customer, fromMs, toMs }: ExportRequest,
): AsyncGenerator<readonly T[]> {
  let cursor: string | undefined;
  do {
    const page = await read({ customer, fromMs, toMs, cursor, limit: PAGE_ROWS });
    if (page.data.length > 0) yield page.data;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

const seconds = (ms: number): string => String(Math.floor(ms / 1000));

const eventRow = (event: ExportedEvent): BulkRow => ({
  identifier: event.identifier,
  timestamp: seconds(event.timestampMs),
  eventName: event.eventName,
  customer: event.customer,
  value: event.value,
  model: event.model,
  tokenType: event.tokenType,
  state: event.state,
  costUsd: '',
  call: '',
  event: event.identifier,
});

/** The call's cost stands with its first line: a call has one price, not one for each token type. */
function lineRows(call: ExportedCall, { crypto, eventName }: ExporterOptions): readonly BulkRow[] {
  const cost = call.costPico === null ? '' : formatUsd(BigInt(call.costPico));
  return call.lines.map((line, at) => ({
    identifier: `ln_${crypto.sha256(JSON.stringify([call.id, line.attempt, line.model, line.tokenType]))}`,
    timestamp: seconds(call.endedAtMs),
    eventName: line.eventName ?? eventName,
    customer: call.customer,
    value: String(line.tokens),
    model: line.model,
    tokenType: line.tokenType,
    state: line.state ?? 'unsent',
    costUsd: at === 0 || cost === '' ? cost : '0.00',
    call: call.id,
    event: line.event ?? '',
  }));
}

const CALL_COLUMNS = [
  'id',
  'customer',
  'key_id',
  'endpoint',
  'provider',
  'model',
  'outcome',
  'status',
  'usage_source',
  'opened_at',
  'ended_at',
  'tokens',
  'cost_usd',
  'response_id',
] as const;

function callLine(call: ExportedCall, format: BulkFormat): string {
  const row: Record<(typeof CALL_COLUMNS)[number], string | number | null> = {
    id: call.id,
    customer: call.customer,
    key_id: call.keyId,
    endpoint: call.endpoint,
    provider: call.provider,
    model: call.model,
    outcome: call.outcome,
    status: call.status,
    usage_source: call.usageSource,
    opened_at: new Date(call.openedAtMs).toISOString(),
    ended_at: new Date(call.endedAtMs).toISOString(),
    tokens: call.lines.reduce((sum, line) => sum + line.tokens, 0),
    cost_usd: call.costPico === null ? null : formatUsd(BigInt(call.costPico)),
    response_id: call.responseId,
  };
  if (format === 'csv') return CALL_COLUMNS.map((name) => csvCell(String(row[name] ?? ''))).join(',');
  const lines = call.lines.map(({ attempt, model, tokenType, tokens, event, state }) => ({
    attempt,
    model,
    token_type: tokenType,
    tokens,
    event,
    state,
  }));
  return JSON.stringify({ ...row, lines });
}
