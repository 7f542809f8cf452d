/** Calls and events for people to read, newest first, a page at a time. */
import { attemptView, readAttempts } from './attempts.ts';
import type { LedgerParts } from './create-ledger.ts';
import type {
  CallFilter,
  CallView,
  EventFilter,
  EventState,
  EventView,
  Ledger,
  Outcome,
  Page,
  Row,
  Statement,
  UsageSource,
} from './ledger.ts';
import { linesFromJson } from './lines.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf, wordOrNull } from './rows.ts';

/** Rows on one page, whatever was asked: a page is held in memory, and holds up the writer while it is read. */
const PAGE_ROWS_MAX = 1000;

interface Where {
  readonly sql: string;
  readonly params: readonly (string | number)[];
}

const CALL_COLUMNS = `id, customer, key_id, endpoint, provider, model, stream, opened_at_ms, ended_at_ms, outcome,
  status, usage_source, usage_json, CAST(cost_pico AS TEXT) AS cost_pico, response_id, lines_json`;
const EVENT_COLUMNS = `identifier, destination, event_name, customer, model, token_type, CAST(value AS TEXT) AS value, timestamp_ms,
  state, attempts, not_before_ms, accepted_at_ms, last_error, transport, replaces`;

/** The ids of one page of calls. The conditions are the fixed ones below, chosen by the filter. */
const callPage = (where: string): string =>
  `SELECT id FROM calls WHERE ${where} ORDER BY id DESC LIMIT CAST(? AS BIGINT)`;
/**
 * The same where calls are few among many: those open, and one customer's in each of the three states. Each has an index
 * of its own, which SQLite would pass over to read every call in the order of `id`; of `id || ''` it has no order to read.
 */
const openPage = (where: string): string =>
  `SELECT id || '' AS id FROM calls WHERE ended_at_ms IS NULL AND ${where} ORDER BY 1 DESC LIMIT CAST(? AS BIGINT)`;
const customerPage = (where: string): string => `
  SELECT id FROM calls WHERE sealed = 1 AND ${where}
  UNION ALL SELECT id || '' AS id FROM calls WHERE sealed = 0 AND ${where}
  UNION ALL SELECT id || '' AS id FROM calls WHERE ended_at_ms IS NULL AND ${where}
  ORDER BY 1 DESC LIMIT CAST(? AS BIGINT)`;
const eventPage = (where: string): string =>
  `SELECT identifier FROM meter_events WHERE ${where} ORDER BY timestamp_ms DESC, identifier DESC LIMIT CAST(? AS BIGINT)`;

const READ_CALLS = (page: string): string =>
  `SELECT ${CALL_COLUMNS} FROM calls WHERE id IN (${page}) ORDER BY id DESC`;
const READ_EVENTS = (page: string): string =>
  `SELECT ${EVENT_COLUMNS} FROM meter_events WHERE identifier IN (${page})
   ORDER BY timestamp_ms DESC, identifier DESC`;
const READ_EVENT_CALLS = (page: string): string =>
  `SELECT DISTINCT event, call FROM lines WHERE event IN (${page}) ORDER BY event, call`;
/** The events that the lines of a page of calls went into. */
const eventsOfCalls = (page: string): string => `SELECT event FROM lines WHERE call IN (${page})`;

export function createViews({ database }: LedgerParts): Pick<Ledger, 'calls' | 'events'> {
  return {
    async calls(filter) {
      const limit = pageRows(filter.limit);
      const where = callConditions(filter);
      const { sql: page, params } = callPageOf(filter, where, limit + 1);
      const read = (sql: string): Statement => ({ sql, params });
      const [calls = [], attempts = [], events = [], eventCalls = []] = await database.batch([
        read(READ_CALLS(page)),
        read(readAttempts(page)),
        read(READ_EVENTS(eventsOfCalls(page))),
        read(READ_EVENT_CALLS(eventsOfCalls(page))),
      ]);
      return pageOf(callViews(calls, attempts, eventViews(events, eventCalls)), limit, (call) => call.id);
    },
    async events(filter) {
      const limit = pageRows(filter.limit);
      const where = eventConditions(filter);
      const page = eventPage(where.sql);
      const params = [...where.params, limit + 1];
      const [events = [], eventCalls = []] = await database.batch([
        { sql: READ_EVENTS(page), params },
        { sql: READ_EVENT_CALLS(page), params },
      ]);
      return pageOf(
        eventViews(events, eventCalls),
        limit,
        (event) => `${event.timestampMs}.${event.identifier}`,
      );
    },
  };
}

function callPageOf({ state, customer }: CallFilter, { sql, params }: Where, rows: number): Where {
  if (state === 'open') return { sql: openPage(sql), params: [...params, rows] };
  if (customer === undefined) return { sql: callPage(sql), params: [...params, rows] };
  return { sql: customerPage(sql), params: [...params, ...params, ...params, rows] };
}

function callConditions({ customer, id, state, cursor }: CallFilter): Where {
  return conditions([
    ['customer = ?', customer],
    ['id = ?', id],
    [state === 'open' ? 'ended_at_ms IS NULL' : 'ended_at_ms IS NOT NULL', state && []],
    ['id < ?', cursor],
  ]);
}

/** Spelled out, so that the indexes of few states can serve them. */
const STATE_IS: Readonly<Record<EventState, string>> = {
  pending: "state = 'pending'",
  sending: "state = 'sending'",
  accepted: "state = 'accepted'",
  confirmed: "state = 'confirmed'",
  refused: "state = 'refused'",
  ambiguous: "state = 'ambiguous'",
  quarantined: "state = 'quarantined'",
  expired: "state = 'expired'",
  cancelled: "state = 'cancelled'",
};

function eventConditions({ customer, call, identifier, state, cursor }: EventFilter): Where {
  return conditions([
    ['customer = ?', customer],
    ['identifier = ?', identifier],
    [STATE_IS[state ?? 'pending'], state && []],
    ['identifier IN (SELECT event FROM lines WHERE call = ?)', call],
    ['(timestamp_ms, identifier) < (?, ?)', cursor === undefined ? undefined : eventCursor(cursor)],
  ]);
}

/** Joins the conditions whose values are given. */
function conditions(
  wanted: readonly (readonly [string, string | readonly (string | number)[] | undefined])[],
): Where {
  const given = wanted.filter(([, value]) => value !== undefined);
  return {
    sql: ['1 = 1', ...given.map(([sql]) => sql)].join(' AND '),
    params: given.flatMap(([, value]) => value ?? []),
  };
}

function eventCursor(cursor: string): [number, string] {
  const dot = cursor.indexOf('.');
  const timestampMs = Number(cursor.slice(0, Math.max(dot, 0)));
  if (dot < 1 || !Number.isSafeInteger(timestampMs))
    throw new RangeError(`Not a cursor of events: ${cursor}.`);
  return [timestampMs, cursor.slice(dot + 1)];
}

function pageRows(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new RangeError(`A page has one row or more, not ${limit}.`);
  return Math.min(limit, PAGE_ROWS_MAX);
}

/** One row more than the page was read: its presence is what says that a next page exists. */
function pageOf<T>(rows: readonly T[], limit: number, cursorOf: (row: T) => string): Page<T> {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  return { data, nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null };
}

function callViews(
  calls: readonly Row[],
  attempts: readonly Row[],
  events: readonly EventView[],
): CallView[] {
  const attemptsByCall = Map.groupBy(attempts, (row) => textOf(row, 'call'));
  const eventsByCall = new Map<string, EventView[]>();
  for (const event of events)
    for (const call of event.calls) eventsByCall.set(call, [...(eventsByCall.get(call) ?? []), event]);
  return calls.map((row) => {
    const id = textOf(row, 'id');
    return callView(row, attemptsByCall.get(id) ?? [], eventsByCall.get(id) ?? []);
  });
}

const callView = (row: Row, attempts: readonly Row[], events: readonly EventView[]): CallView => ({
  id: textOf(row, 'id'),
  customer: textOf(row, 'customer'),
  keyId: textOf(row, 'key_id'),
  endpoint: textOf(row, 'endpoint'),
  provider: textOf(row, 'provider'),
  model: textOf(row, 'model'),
  stream: numberOf(row, 'stream') === 1,
  openedAtMs: numberOf(row, 'opened_at_ms'),
  state: row['ended_at_ms'] === null ? 'open' : 'settled',
  endedAtMs: numberOrNull(row, 'ended_at_ms'),
  outcome: wordOrNull<Outcome>(row, 'outcome'),
  status: numberOrNull(row, 'status'),
  usageSource: wordOrNull<UsageSource>(row, 'usage_source'),
  lines: linesFromJson(textOrNull(row, 'lines_json')),
  usageJson: textOrNull(row, 'usage_json'),
  costPico: textOrNull(row, 'cost_pico'),
  responseId: textOrNull(row, 'response_id'),
  events,
  attempts: attempts.map(attemptView),
});

function eventViews(events: readonly Row[], eventCalls: readonly Row[]): EventView[] {
  const callsByEvent = Map.groupBy(eventCalls, (row) => textOf(row, 'event'));
  return events.map((row) => ({
    identifier: textOf(row, 'identifier'),
    destination: textOf(row, 'destination'),
    eventName: textOf(row, 'event_name'),
    customer: textOf(row, 'customer'),
    model: textOf(row, 'model'),
    tokenType: textOf(row, 'token_type'),
    value: textOf(row, 'value'),
    timestampMs: numberOf(row, 'timestamp_ms'),
    state: wordOf<EventState>(row, 'state'),
    attempts: numberOf(row, 'attempts'),
    notBeforeMs: numberOf(row, 'not_before_ms'),
    acceptedAtMs: numberOrNull(row, 'accepted_at_ms'),
    lastError: textOrNull(row, 'last_error'),
    transport: textOrNull(row, 'transport'),
    replaces: textOrNull(row, 'replaces'),
    calls: (callsByEvent.get(textOf(row, 'identifier')) ?? []).map((line) => textOf(line, 'call')),
  }));
}
