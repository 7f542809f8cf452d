/** From settled lines to sealed meter events, which never change again. */
import type { LedgerParts } from './create-ledger.ts';
import type { Ledger, Line, Row, Seal, Statement, UnsealedLine } from './ledger.ts';
import { lineName, linesFromJson } from './lines.ts';
import { numberOf, textOf, textOrNull } from './rows.ts';

/** The oldest calls with lines to seal. */
const READ_UNSEALED = `
  SELECT id, customer, ended_at_ms, lines_json FROM calls WHERE sealed = 0 ORDER BY ended_at_ms, id LIMIT ?`;

/** The lines of those calls that are sealed already, where a call's lines were sealed in parts. */
const READ_PARTLY_SEALED = `
  SELECT call, attempt, model, token_type FROM lines
  WHERE call IN (SELECT id FROM calls WHERE sealed = 0 ORDER BY ended_at_ms, id LIMIT ?)`;

/** A settled call's lines: written once, so they can be read before the batch that seals them. */
const READ_LINES = `SELECT id, lines_json FROM calls WHERE id = ? AND ended_at_ms IS NOT NULL`;

/** Binds a free line to an event that is about to be written; an event that exists takes no more lines. */
const BIND_LINE = `
  INSERT INTO lines (call, attempt, model, token_type, tokens, event)
  SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)
  ON CONFLICT (call, attempt, model, token_type) DO NOTHING`;

/** Writes an event if the lines just bound to it are all it was made from: their sum is its value. */
const INSERT_EVENT = `
  INSERT INTO meter_events (identifier, event_name, customer, model, token_type, value, timestamp_ms,
    state, attempts, unsure, not_before_ms)
  SELECT ?, ?, ?, ?, ?, CAST(? AS BIGINT), ?, 'pending', 0, 0, 0
  WHERE (SELECT SUM(tokens) FROM lines WHERE event = ?) = CAST(? AS BIGINT)
  ON CONFLICT (identifier) DO NOTHING`;

/** Frees the lines of an event that was not written. */
const FREE_LINES = `
  DELETE FROM lines WHERE event = ? AND NOT EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)`;

/** Takes a call off the list once all its lines are in events. */
const SEAL_CALL = `
  UPDATE calls SET sealed = 1
  WHERE id = ? AND sealed = 0 AND line_count = (SELECT COUNT(*) FROM lines WHERE call = ?)`;

export function createSealing({ database }: LedgerParts): Pick<Ledger, 'unsealed' | 'seal'> {
  return {
    async unsealed(limit) {
      const [calls = [], sealed = []] = await database.batch(readUnsealed(limit));
      return unsealedLines(calls, sealed).slice(0, limit);
    },
    async seal(seals) {
      const calls = [...new Set(seals.flatMap(({ members }) => members.map(({ call }) => call)))];
      if (calls.length === 0) return;
      const read = await database.batch(calls.map((call) => ({ sql: READ_LINES, params: [call] })));
      const lines = new Map(read.flat().flatMap(namedLines));
      await database.batch([
        ...seals.flatMap((seal) => sealing(seal, lines)),
        ...calls.map((call) => ({ sql: SEAL_CALL, params: [call, call] })),
      ]);
    },
  };
}

/** Reads the oldest `calls` calls that have lines to seal; `unsealedLines` makes sense of the two answers. */
export const readUnsealed = (calls: number): Statement[] => [
  { sql: READ_UNSEALED, params: [calls] },
  { sql: READ_PARTLY_SEALED, params: [calls] },
];

export function unsealedLines(calls: readonly Row[], sealed: readonly Row[]): UnsealedLine[] {
  const taken = new Set(sealed.map((row) => memberName(textOf(row, 'call'), keyOf(row))));
  return calls.flatMap((row) => {
    const call = textOf(row, 'id');
    const [customer, endedAtMs] = [textOf(row, 'customer'), numberOf(row, 'ended_at_ms')];
    return linesFromJson(textOrNull(row, 'lines_json'))
      .filter((line) => !taken.has(memberName(call, line)))
      .map(({ attempt, model, tokenType, tokens }) => ({
        call,
        customer,
        endedAtMs,
        attempt,
        model,
        tokenType,
        tokens,
      }));
  });
}

function namedLines(row: Row): (readonly [string, Line])[] {
  const call = textOf(row, 'id');
  return linesFromJson(textOrNull(row, 'lines_json')).map((line) => [memberName(call, line), line] as const);
}

function sealing({ event, members }: Seal, lines: ReadonlyMap<string, Line>): Statement[] {
  const { identifier, eventName, customer, model, tokenType, value, timestampMs } = event;
  const binds = members.map((member) => {
    const line = lines.get(memberName(member.call, member));
    if (line === undefined)
      throw new Error(
        `Event ${identifier} cannot be sealed: call ${member.call} has no ${lineName(member)}.`,
      );
    const key = [member.call, line.attempt, line.model, line.tokenType];
    return { sql: BIND_LINE, params: [...key, line.tokens, identifier, identifier] };
  });
  const payload = [identifier, eventName, customer, model, tokenType, value, timestampMs];
  return [
    ...binds,
    { sql: INSERT_EVENT, params: [...payload, identifier, value] },
    { sql: FREE_LINES, params: [identifier, identifier] },
  ];
}

const keyOf = (row: Row): Omit<Line, 'tokens'> => ({
  attempt: numberOf(row, 'attempt'),
  model: textOf(row, 'model'),
  tokenType: textOf(row, 'token_type'),
});

const memberName = (call: string, line: Omit<Line, 'tokens'>): string => `${call} ${lineName(line)}`;
