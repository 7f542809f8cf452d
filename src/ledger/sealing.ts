/** From settled lines to sealed meter events, which never change again. */
import type { LedgerParts } from './create-ledger.ts';
import type {
  Ledger,
  Line,
  Row,
  Seal,
  SealingFacts,
  SealingScope,
  Statement,
  UnsealedLine,
} from './ledger.ts';
import { GROUP_MARKS, inGroups } from './in-groups.ts';
import { lineName, linesFromJson } from './lines.ts';
import { numberOf, numberOrNull, textOf, textOrNull } from './rows.ts';

/** Where usage goes unless more is configured. */
export const DEFAULT_DESTINATIONS: readonly string[] = ['dimensions'];

/** The oldest calls with something to seal: lines, or a cost that was to be billed when they were settled. */
const UNSEALED_CALLS = `FROM calls WHERE sealed = 0 AND ended_at_ms < ? ORDER BY ended_at_ms, id LIMIT CAST(? AS BIGINT)`;
const READ_UNSEALED_CALLS = `
  SELECT id, customer, ended_at_ms, lines_json, CAST(cost_pico AS TEXT) AS cost_pico ${UNSEALED_CALLS}`;

/** The lines of those calls that are sealed already, where a call's lines were sealed in parts. */
const READ_PARTLY_SEALED = `
  SELECT call, attempt, model, token_type, destination FROM lines WHERE call IN (SELECT id ${UNSEALED_CALLS})`;

/** A settled call's lines: written once, so they can be read before the batch that seals them. */
const READ_LINES = `
  SELECT id, lines_json, CAST(cost_pico AS TEXT) AS cost_pico FROM calls
  WHERE id IN (${GROUP_MARKS}) AND ended_at_ms IS NOT NULL`;

/** Binds a free line to an event that is about to be written; an event that exists takes no more lines. */
const BIND_LINE = `
  INSERT INTO lines (call, attempt, model, token_type, destination, tokens, pico, event)
  SELECT ?, ?, ?, ?, ?, ?, CAST(? AS BIGINT), ? WHERE NOT EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)
  ON CONFLICT (call, attempt, model, token_type, destination) DO NOTHING`;

/** Writes an event if the lines just bound to it are all it was made from: their sum is its value. */
const INSERT_EVENT = (condition: string): string => `
  INSERT INTO meter_events (identifier, destination, event_name, customer, model, token_type, value, timestamp_ms,
    state, attempts, unsure, not_before_ms, last_error)
  SELECT ?, ?, ?, ?, ?, ?, CAST(? AS BIGINT), ?, ?, 0, 0, 0, ? WHERE ${condition}
  ON CONFLICT (identifier) DO NOTHING`;
const INSERT_TOKENS = INSERT_EVENT(`(SELECT SUM(tokens) FROM lines WHERE event = ?) = CAST(? AS BIGINT)`);
/** The cost of its lines, with what was carried to it, is what it bills and what it carries on. */
const INSERT_COST = INSERT_EVENT(
  `(SELECT SUM(pico) FROM lines WHERE event = ?) + (SELECT pico FROM cost_carries WHERE customer = ?) = CAST(? AS BIGINT)`,
);
const OPEN_CARRY = `INSERT INTO cost_carries (customer, pico, event) VALUES (?, 0, '') ON CONFLICT (customer) DO NOTHING`;
/** Once for each event: a repeat finds its own name. */
const MOVE_CARRY = `
  UPDATE cost_carries SET pico = CAST(? AS BIGINT), event = ?
  WHERE customer = ? AND pico = CAST(? AS BIGINT) AND event <> ?
    AND EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)`;

/** Frees the lines of events that were not written. */
const FREE_LINES = `
  DELETE FROM lines
  WHERE event IN (${GROUP_MARKS}) AND NOT EXISTS (SELECT 1 FROM meter_events e WHERE e.identifier = lines.event)`;

/** Takes a call off the list once all its lines are in events, for every destination; one without lines, once its cost is. */
const SEAL_CALL = (destinations: readonly string[]): string => `
  UPDATE calls SET sealed = 1
  WHERE id = ? AND sealed = 0 AND CASE WHEN line_count = 0 THEN 1 ELSE line_count * ${destinations.length} END =
    (SELECT COUNT(*) FROM lines WHERE call = ? AND (destination IN (${marks(destinations)}) OR (line_count = 0 AND destination = 'cost')))`;

const READ_CARRIES = (customers: readonly string[]): string =>
  `SELECT customer, CAST(pico AS TEXT) AS pico FROM cost_carries WHERE customer IN (${marks(customers)})`;
const READ_PERIODS = (customers: readonly string[]): string => `
  SELECT customer, period_start_ms, period_end_ms FROM accounts WHERE customer IN (${marks(customers)})`;

const marks = (values: readonly string[]): string => values.map(() => '?').join(', ');

/** A cost event below the smallest unit has nothing to say. */
const NOTHING_TO_SEND = 'Less than a millionth of a dollar: carried to the next event.';

export function createSealing({ database }: LedgerParts): Pick<Ledger, 'unsealed' | 'seal' | 'sealingFacts'> {
  /** The calls read last, to be sealed next: a settled call never changes, so they need not be read again. */
  let lately: ReadonlyMap<string, Row> = new Map();
  return {
    async unsealed(limit, scope) {
      const [calls = [], sealed = []] = await database.batch(readUnsealed(limit, scope));
      lately = new Map(calls.map((row) => [textOf(row, 'id'), row]));
      return unsealedLines(calls, sealed, scope?.destinations);
    },
    async sealingFacts(customers) {
      if (customers.length === 0) return new Map();
      const [carries = [], periods = []] = await database.batch([
        { sql: READ_CARRIES(customers), params: customers },
        { sql: READ_PERIODS(customers), params: customers },
      ]);
      return factsOf(customers, carries, periods);
    },
    async seal(seals, destinations = DEFAULT_DESTINATIONS) {
      const calls = [...new Set(seals.flatMap(({ members }) => members.map(({ call }) => call)))];
      if (calls.length === 0) return;
      const known = lately;
      const others = calls.filter((call) => !known.has(call));
      const read = others.length === 0 ? [] : await database.batch(inGroups(others, READ_LINES));
      const rows = [...calls.map((call) => known.get(call)), ...read.flat()].filter(
        (row) => row !== undefined,
      );
      const lines = new Map(rows.flatMap(namedLines));
      const sealCall = SEAL_CALL(destinations);
      await database.batch([
        ...seals.flatMap((seal) => sealing(seal, lines)),
        ...inGroups(
          seals.map(({ event }) => event.identifier),
          FREE_LINES,
        ),
        ...calls.map((call) => ({ sql: sealCall, params: [call, call, ...destinations] })),
      ]);
    },
  };
}

/** Reads the oldest `calls` calls that have something to seal; `unsealedLines` makes sense of the two answers. */
export const readUnsealed = (calls: number, { beforeMs }: SealingScope = {}): Statement[] => {
  const params = [beforeMs ?? Number.MAX_SAFE_INTEGER, calls];
  return [
    { sql: READ_UNSEALED_CALLS, params },
    { sql: READ_PARTLY_SEALED, params },
  ];
};

/**
 * Every line that is in no event of a destination, once for each such destination; a call's lines together. The cost of a call
 * without lines is owed to the cost layout, though that be configured no more: the call was served when it was.
 */
export function unsealedLines(
  calls: readonly Row[],
  sealed: readonly Row[],
  destinations: readonly string[] = DEFAULT_DESTINATIONS,
): UnsealedLine[] {
  const taken = new Set(
    sealed.map((row) => `${textOf(row, 'destination')} ${memberName(textOf(row, 'call'), keyOf(row))}`),
  );
  return calls.flatMap((row) => {
    const call = textOf(row, 'id');
    const [customer, endedAtMs] = [textOf(row, 'customer'), numberOf(row, 'ended_at_ms')];
    const { lines, cost } = pricedLines(row);
    const owed = cost.length === 0 ? destinations : ['cost'];
    return owed.flatMap((destination) =>
      [...lines, ...cost]
        .filter((line) => !taken.has(`${destination} ${memberName(call, line)}`))
        .map((line) => Object.assign({ call, customer, endedAtMs, destination }, line)),
    );
  });
}

type PricedLine = Line & { readonly pico: string };

interface PricedLines {
  /** The first carries the whole cost, and an unknown cost is none. */
  readonly lines: readonly PricedLine[];
  /** What carries the cost of a call without lines, in the cost layout. */
  readonly cost: readonly PricedLine[];
}

function pricedLines(row: Row): PricedLines {
  const pico = textOrNull(row, 'cost_pico') ?? '0';
  const lines = linesFromJson(textOrNull(row, 'lines_json')).map(
    ({ attempt, model, tokenType, tokens }, at) => ({
      attempt,
      model,
      tokenType,
      tokens,
      pico: at === 0 ? pico : '0',
    }),
  );
  if (pico === '0' || lines.length > 0) return { lines, cost: [] };
  return { lines, cost: [{ attempt: 0, model: '', tokenType: 'cost', tokens: 0, pico }] };
}

function namedLines(row: Row): (readonly [string, PricedLine])[] {
  const call = textOf(row, 'id');
  const { lines, cost } = pricedLines(row);
  return [...lines, ...cost].map((line) => [memberName(call, line), line] as const);
}

function sealing({ event, members, carry }: Seal, lines: ReadonlyMap<string, PricedLine>): Statement[] {
  const { identifier, destination, eventName, customer, model, tokenType, value, timestampMs } = event;
  const binds = members.map((member) => {
    const line = lines.get(memberName(member.call, member));
    if (line === undefined)
      throw new Error(
        `Event ${identifier} cannot be sealed: call ${member.call} has no ${lineName(member)}.`,
      );
    const key = [member.call, line.attempt, line.model, line.tokenType, destination];
    const pico = carry === undefined ? null : line.pico;
    return { sql: BIND_LINE, params: [...key, line.tokens, pico, identifier, identifier] };
  });
  const fate = value === '0' ? ['cancelled', NOTHING_TO_SEND] : ['pending', null];
  const payload = [
    identifier,
    destination,
    eventName,
    customer,
    model,
    tokenType,
    value,
    timestampMs,
    ...fate,
  ];
  if (carry === undefined) return [...binds, { sql: INSERT_TOKENS, params: [...payload, identifier, value] }];
  const { beforePico, afterPico } = carry;
  const total = String(BigInt(value) * PICO_PER_UNIT + BigInt(afterPico));
  return [
    { sql: OPEN_CARRY, params: [customer] },
    ...binds,
    { sql: INSERT_COST, params: [...payload, identifier, customer, total] },
    { sql: MOVE_CARRY, params: [afterPico, identifier, customer, beforePico, identifier, identifier] },
  ];
}

/** The cost layout's unit is a millionth of a dollar. */
const PICO_PER_UNIT = 1_000_000n;

function factsOf(
  customers: readonly string[],
  carries: readonly Row[],
  periods: readonly Row[],
): Map<string, SealingFacts> {
  const carryOf = new Map(carries.map((row) => [textOf(row, 'customer'), textOf(row, 'pico')]));
  const boundariesOf = new Map(
    periods.map((row) => [
      textOf(row, 'customer'),
      [numberOrNull(row, 'period_start_ms'), numberOrNull(row, 'period_end_ms')].filter((ms) => ms !== null),
    ]),
  );
  return new Map(
    customers.map((customer) => [
      customer,
      { carryPico: carryOf.get(customer) ?? '0', boundariesMs: boundariesOf.get(customer) ?? [] },
    ]),
  );
}

const keyOf = (row: Row): Omit<Line, 'tokens'> => ({
  attempt: numberOf(row, 'attempt'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
});

const memberName = (call: string, line: Omit<Line, 'tokens'>): string => `${call} ${lineName(line)}`;
