/** Reads the ledger from end to end, a page at a time, so that neither memory nor the writer's time depend on its size. */
import type { Bulk, ExportedCall, ExportedEvent, ExportedLine, ExportPage } from './bulk-port.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { EventState, Line, Row } from './ledger.ts';
import { lineName, linesFromJson } from './lines.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf } from './rows.ts';

/** Rows looked at for one page: about 10 ms of the writer's time. */
const PAGE_ROWS_MAX = 2_000;

const READ_EVENTS = (own: string): string => `
  SELECT identifier, event_name, customer, model, token_type, CAST(value AS TEXT) AS value, timestamp_ms, state
  FROM meter_events
  WHERE destination IN ('dimensions', 'per_type', 'cost') AND (timestamp_ms, identifier) > (?, ?)
    AND timestamp_ms >= ? AND timestamp_ms < ? ${own}
  ORDER BY timestamp_ms, identifier LIMIT CAST(? AS BIGINT)`;

/** Every call of the page, whether it is asked for or not: what is skipped costs one page's time at most. */
const PAGE = `FROM calls WHERE id > ? ORDER BY id LIMIT CAST(? AS BIGINT)`;
const READ_CALLS = `
  SELECT id, customer, key_id, endpoint, provider, model, outcome, status, usage_source, opened_at_ms, ended_at_ms,
    CAST(cost_pico AS TEXT) AS cost_pico, response_id, lines_json ${PAGE}`;
const READ_LINES = `
  SELECT l.call, l.attempt, l.model, l.token_type, l.event, e.event_name, e.state
  FROM lines l JOIN meter_events e ON e.identifier = l.event
  WHERE l.destination = ? AND l.call IN (SELECT id ${PAGE})`;

export function createExport({ database }: LedgerParts): Pick<Bulk, 'exportEvents' | 'exportCalls'> {
  return {
    async exportEvents({ customer, fromMs, toMs, cursor, limit, unitsOnly = false }) {
      const rows = Math.min(limit, PAGE_ROWS_MAX);
      const after = eventCursor(cursor);
      const own = `${customer === undefined ? '' : 'AND customer = ?'} ${unitsOnly ? "AND model = '' AND token_type = ''" : ''}`;
      const params = [...after, fromMs, toMs, ...(customer === undefined ? [] : [customer]), rows];
      const [events = []] = await database.batch([{ sql: READ_EVENTS(own), params }]);
      const data = events.map(exportedEvent);
      const last = data.at(-1);
      const isMore = last !== undefined && data.length === rows;
      return { data, nextCursor: isMore ? `${last.timestampMs}.${last.identifier}` : null };
    },
    async exportCalls({ customer, fromMs, toMs, cursor = '', limit, destination }) {
      const rows = Math.min(limit, PAGE_ROWS_MAX);
      const [calls = [], lines = []] = await database.batch([
        { sql: READ_CALLS, params: [cursor, rows] },
        { sql: READ_LINES, params: [destination, cursor, rows] },
      ]);
      return callPage(calls, lines, { customer, fromMs, toMs, rows });
    },
  };
}

function callPage(
  calls: readonly Row[],
  lines: readonly Row[],
  wanted: { customer: string | undefined; fromMs: number; toMs: number; rows: number },
): ExportPage<ExportedCall> {
  const sealed = new Map(lines.map((row) => [`${textOf(row, 'call')} ${lineName(keyOf(row))}`, row]));
  const data = calls.flatMap((row) => {
    const endedAtMs = numberOrNull(row, 'ended_at_ms');
    if (endedAtMs === null || endedAtMs < wanted.fromMs || endedAtMs >= wanted.toMs) return [];
    if (wanted.customer !== undefined && textOf(row, 'customer') !== wanted.customer) return [];
    return [exportedCall(row, sealed)];
  });
  const last = calls.at(-1);
  return { data, nextCursor: last !== undefined && calls.length === wanted.rows ? textOf(last, 'id') : null };
}

const exportedCall = (row: Row, sealed: ReadonlyMap<string, Row>): ExportedCall => ({
  id: textOf(row, 'id'),
  customer: textOf(row, 'customer'),
  keyId: textOf(row, 'key_id'),
  endpoint: textOf(row, 'endpoint'),
  provider: textOf(row, 'provider'),
  model: textOf(row, 'model'),
  outcome: textOf(row, 'outcome'),
  status: numberOrNull(row, 'status'),
  usageSource: textOf(row, 'usage_source'),
  openedAtMs: numberOf(row, 'opened_at_ms'),
  endedAtMs: numberOf(row, 'ended_at_ms'),
  costPico: textOrNull(row, 'cost_pico'),
  responseId: textOrNull(row, 'response_id'),
  lines: linesFromJson(textOrNull(row, 'lines_json')).map((line) =>
    exportedLine(line, sealed.get(`${textOf(row, 'id')} ${lineName(line)}`)),
  ),
});

const exportedLine = ({ attempt, model, tokenType, tokens }: Line, row: Row | undefined): ExportedLine => ({
  attempt,
  model,
  tokenType,
  tokens,
  event: row === undefined ? null : textOf(row, 'event'),
  eventName: row === undefined ? null : textOf(row, 'event_name'),
  state: row === undefined ? null : wordOf<EventState>(row, 'state'),
});

const keyOf = (row: Row): Omit<Line, 'tokens'> => ({
  attempt: numberOf(row, 'attempt'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
});

const exportedEvent = (row: Row): ExportedEvent => ({
  identifier: textOf(row, 'identifier'),
  eventName: textOf(row, 'event_name'),
  customer: textOf(row, 'customer'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
  value: textOf(row, 'value'),
  timestampMs: numberOf(row, 'timestamp_ms'),
  state: wordOf<EventState>(row, 'state'),
});

function eventCursor(cursor: string | undefined): [number, string] {
  if (cursor === undefined) return [-1, ''];
  const dot = cursor.indexOf('.');
  return [Number(cursor.slice(0, dot)), cursor.slice(dot + 1)];
}
