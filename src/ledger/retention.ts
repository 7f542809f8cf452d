/**
 * Deletes what is old and done with, a little at a time. Calls and events that share lines go together or stay together,
 * so that every sum left on record is still the sum of its lines.
 */
import type { LedgerParts } from './create-ledger.ts';
import type { Row, Statement } from './ledger.ts';
import { KEEP_UNIT } from './recording.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';

export interface Dropped {
  readonly calls: number;
  readonly events: number;
  /** Where to go on; null when all that is old was looked at. */
  readonly nextCursor: string | null;
}
export interface Retention {
  /** Looks at the next old calls, and deletes those that are done with, with their lines and events. */
  dropCalls(query: { readonly beforeMs: number; readonly cursor: string | null }): Promise<Dropped>;
  /** The same for events that no call made. */
  dropUnits(query: { readonly beforeMs: number; readonly cursor: string | null }): Promise<Dropped>;
}

/** Looked at in one batch: some 5 ms of the writer's time. */
const CALLS_AT_ONCE_MAX = 200;
const HOUR_MS = 3_600_000;

const PAGE = `SELECT id FROM calls WHERE id > ? ORDER BY id LIMIT ${CALLS_AT_ONCE_MAX}`;
/** The page's calls, and those that share an event with one of them, however far that goes: sums are of 500 lines at most. */
const REACH = `
  WITH RECURSIVE page (id) AS (SELECT id FROM (${PAGE}) AS first_ones),
    reach (id) AS (
      SELECT id FROM page
      UNION SELECT other.call FROM reach JOIN lines own ON own.call = reach.id JOIN lines other ON other.event = own.event)`;
const READ_PAGE = `SELECT id, opened_at_ms FROM calls WHERE id IN (${PAGE}) ORDER BY id`;
/** `burning` is 1 while a burn of the call is on no finalised invoice. */
const READ_CALLS = `${REACH}
  SELECT c.id, c.customer, c.ended_at_ms, c.sealed,
    CASE WHEN EXISTS (SELECT 1 FROM background_responses r WHERE r.call = c.id) OR EXISTS (
      SELECT 1 FROM credit_burns b LEFT JOIN accounts a ON a.customer = b.customer
      WHERE b.call = c.id AND b.ended_at_ms >= COALESCE(a.finalised_through_ms, 0)) THEN 1 ELSE 0 END AS burning
  FROM calls c WHERE c.id IN (SELECT id FROM reach)`;
/** Nothing more will become of it. Other places than Stripe have no sums to confirm by. */
const IS_DONE = `(e.state IN ('confirmed', 'cancelled') OR (e.state = 'accepted' AND e.destination LIKE 'sink:%'))`;
/** While one event of an hour is open, reconciliation needs the others to find out about it. */
const IS_FREE = `CASE WHEN ${IS_DONE} AND NOT EXISTS (
    SELECT 1 FROM meter_events o WHERE o.customer = e.customer AND o.event_name = e.event_name
      AND o.timestamp_ms >= e.timestamp_ms - e.timestamp_ms % ${HOUR_MS}
      AND o.timestamp_ms < e.timestamp_ms - e.timestamp_ms % ${HOUR_MS} + ${HOUR_MS}
      AND o.state NOT IN ('confirmed', 'cancelled') AND o.destination NOT LIKE 'sink:%') THEN 1 ELSE 0 END AS free`;
const READ_LINES = `${REACH}
  SELECT l.call, l.event, e.timestamp_ms, e.customer, e.destination, CAST(e.value AS TEXT) AS value,
    CAST(l.pico AS TEXT) AS pico, ${IS_FREE}
  FROM lines l JOIN meter_events e ON e.identifier = l.event WHERE l.call IN (SELECT id FROM reach)`;

const READ_UNITS = `
  SELECT identifier, timestamp_ms, ${IS_FREE},
    CASE WHEN EXISTS (SELECT 1 FROM lines WHERE event = e.identifier) THEN 1 ELSE 0 END AS has_lines
  FROM meter_events e WHERE (timestamp_ms, identifier) > (?, ?) AND timestamp_ms < ?
  ORDER BY timestamp_ms, identifier LIMIT ${CALLS_AT_ONCE_MAX}`;

const OF_CALL = ['lines', 'attempts', 'credit_burns'].map((table) => `DELETE FROM ${table} WHERE call = ?`);
const DROP_CALL = `DELETE FROM calls WHERE id = ?`;
const DROP_EVENT = `DELETE FROM meter_events WHERE identifier = ?`;
const KEEP_CARRY = `UPDATE cost_carries SET dropped_pico = dropped_pico + CAST(? AS BIGINT) WHERE customer = ?`;

export function createRetention({ database }: LedgerParts): Retention {
  return {
    async dropCalls({ beforeMs, cursor }) {
      const params = [cursor ?? ''];
      const [page = [], calls = [], lines = []] = await database.batch([
        { sql: READ_PAGE, params },
        { sql: READ_CALLS, params },
        { sql: READ_LINES, params },
      ]);
      const gone = components(calls, lines).filter((one) => isDoneWith(one, beforeMs));
      const statements = gone.flatMap(dropping);
      if (statements.length > 0) await database.batch(statements);
      const last = page.at(-1);
      const isOver =
        last === undefined || page.length < CALLS_AT_ONCE_MAX || numberOf(last, 'opened_at_ms') >= beforeMs;
      return {
        calls: gone.reduce((sum, one) => sum + one.calls.length, 0),
        events: gone.reduce((sum, one) => sum + eventsOf(one).size, 0),
        nextCursor: isOver ? null : textOf(last, 'id'),
      };
    },
    async dropUnits({ beforeMs, cursor }) {
      const dot = cursor?.indexOf('.') ?? 0;
      const after = cursor === null ? [-1, ''] : [Number(cursor.slice(0, dot)), cursor.slice(dot + 1)];
      const [page = []] = await database.batch([{ sql: READ_UNITS, params: [...after, beforeMs] }]);
      const gone = page.filter((row) => numberOf(row, 'free') === 1 && numberOf(row, 'has_lines') === 0);
      if (gone.length > 0)
        await database.batch(
          gone.flatMap((row) =>
            [KEEP_UNIT, DROP_EVENT].map((sql) => ({ sql, params: [textOf(row, 'identifier')] })),
          ),
        );
      const last = page.at(-1);
      const isMore = last !== undefined && page.length === CALLS_AT_ONCE_MAX;
      const next = isMore ? `${numberOf(last, 'timestamp_ms')}.${textOf(last, 'identifier')}` : null;
      return { calls: 0, events: gone.length, nextCursor: next };
    },
  };
}

/** Calls and lines that hang together by their events. */
interface Component {
  readonly calls: Row[];
  readonly lines: Row[];
}

function components(calls: readonly Row[], lines: readonly Row[]): readonly Component[] {
  const parent = new Map<string, string>();
  const rootOf = (name: string): string => {
    let at = name;
    for (let up = parent.get(at); up !== undefined && up !== at; up = parent.get(at)) at = up;
    return at;
  };
  for (const row of lines) {
    const [call, event] = [rootOf(`call ${textOf(row, 'call')}`), rootOf(`event ${textOf(row, 'event')}`)];
    if (call !== event) parent.set(call, event);
  }
  const found = new Map<string, Component>();
  const componentOf = (call: string): Component => {
    const root = rootOf(`call ${call}`);
    const component = found.get(root) ?? { calls: [], lines: [] };
    found.set(root, component);
    return component;
  };
  for (const row of calls) componentOf(textOf(row, 'id')).calls.push(row);
  for (const row of lines) componentOf(textOf(row, 'call')).lines.push(row);
  return [...found.values()];
}

const isDoneWith = ({ calls, lines }: Component, beforeMs: number): boolean =>
  calls.every(
    (row) =>
      (numberOrNull(row, 'ended_at_ms') ?? Infinity) < beforeMs &&
      numberOrNull(row, 'sealed') === 1 &&
      numberOf(row, 'burning') === 0,
  ) && lines.every((row) => numberOf(row, 'free') === 1 && numberOf(row, 'timestamp_ms') < beforeMs);

const eventsOf = ({ lines }: Component): Map<string, Row> =>
  new Map(lines.map((row) => [textOf(row, 'event'), row]));

function dropping(component: Component): Statement[] {
  const calls = component.calls.map((row) => textOf(row, 'id'));
  const events = eventsOf(component);
  return [
    ...carried(component, events),
    ...calls.flatMap((call) => OF_CALL.map((sql) => ({ sql, params: [call] }))),
    ...calls.map((call) => ({ sql: DROP_CALL, params: [call] })),
    ...[...events.keys()].map((event) => ({ sql: DROP_EVENT, params: [event] })),
  ];
}

/** What the lines cost beyond what their events billed was carried on: it stays in the customer's account of it. */
function carried({ lines }: Component, events: ReadonlyMap<string, Row>): Statement[] {
  const byCustomer = new Map<string, bigint>();
  const add = (row: Row, pico: bigint): void => {
    const customer = textOf(row, 'customer');
    byCustomer.set(customer, (byCustomer.get(customer) ?? 0n) + pico);
  };
  for (const row of lines) if (isCost(row)) add(row, BigInt(textOrNull(row, 'pico') ?? '0'));
  for (const row of events.values()) if (isCost(row)) add(row, -BigInt(textOf(row, 'value')) * 1_000_000n);
  return [...byCustomer]
    .filter(([, pico]) => pico !== 0n)
    .map(([customer, pico]) => ({ sql: KEEP_CARRY, params: [String(pico), customer] }));
}

const isCost = (row: Row): boolean => textOf(row, 'destination') === 'cost';
