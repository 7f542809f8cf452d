/** What Stripe says afterwards of events it had taken; and how far delivery is behind. */
import type { LedgerParts } from './create-ledger.ts';
import type { Ledger } from './ledger.ts';
import { numberOf, numberOrNull, textOf } from './rows.ts';

/** Once for each piece of news; the count of matches comes after. */
const RECORD_VERDICT = `
  INSERT INTO late_verdicts (id, type, message, error_count, matched, received_at_ms)
  VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT (id) DO NOTHING RETURNING id`;
const COUNT_MATCHES = `UPDATE late_verdicts SET matched = ? WHERE id = ?`;

/**
 * Stripe had taken it and will not count it: also where its answer has not come yet, or was lost, or a later attempt was
 * put off or refused. That ends the doubt, since Stripe drops what it has seen before. An event that was never sent, or is
 * cancelled, is left as it is; so is one whose attempts all began after Stripe had looked, which are of a later sending.
 */
const REFUSE_LATE = `
  UPDATE meter_events SET state = 'refused', late = 1, unsure = 0, accepted_at_ms = NULL, last_error = ?
  WHERE identifier = ? AND COALESCE(first_attempt_at_ms, 0) <= CAST(? AS BIGINT)
    AND (state IN ('accepted', 'sending', 'ambiguous', 'quarantined')
      OR (state = 'pending' AND unsure = 1) OR (state = 'refused' AND unsure = 1 AND late = 0))
  RETURNING identifier`;
/** Two clocks are compared. An event that was taken for lost is sent again after hours. */
const CLOCKS_MS = 3_600_000;

const OLDEST_EVENT = `
  SELECT MIN(timestamp_ms) AS oldest_ms FROM meter_events
  WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous'`;
const OLDEST_CALL = `SELECT MIN(ended_at_ms) AS oldest_ms FROM calls WHERE sealed = 0`;
/** As the index of parked events has it: with fewer states, every event would be read. */
const COUNT_PARKED = `
  SELECT state, COUNT(*) AS count FROM meter_events
  WHERE state = 'refused' OR state = 'quarantined' OR state = 'expired' OR state = 'cancelled' GROUP BY state`;
const COUNT_UNMATCHED = `
  SELECT COALESCE(SUM(error_count - matched), 0) AS unmatched FROM late_verdicts WHERE error_count > matched`;

const MESSAGE_CHARS_MAX = 500;

export function createVerdicts({ database }: LedgerParts): Pick<Ledger, 'applyVerdict' | 'backlog'> {
  return {
    async applyVerdict(verdict) {
      const { id, type, message, errorCount, refused, receivedAtMs, matchedElsewhere = 0 } = verdict;
      const untilMs = verdict.validatedUntilMs + CLOCKS_MS;
      const text = message.slice(0, MESSAGE_CHARS_MAX);
      const [recorded, ...refusals] = await database.batch([
        { sql: RECORD_VERDICT, params: [id, type, text, errorCount, receivedAtMs] },
        // Refusing twice changes nothing, so a repeat may run them again.
        ...refused.map(({ identifier, error }) => ({
          sql: REFUSE_LATE,
          params: [error.slice(0, MESSAGE_CHARS_MAX), identifier, untilMs],
        })),
      ]);
      const matched = refusals.flat().length + matchedElsewhere;
      if (recorded?.length !== 1) return { kind: 'seen', matched };
      if (matched > 0) await database.batch([{ sql: COUNT_MATCHES, params: [matched, id] }]);
      return { kind: 'applied', matched };
    },
    async backlog() {
      const [event, call, parked = [], unmatched] = await database.batch(
        [OLDEST_EVENT, OLDEST_CALL, COUNT_PARKED, COUNT_UNMATCHED].map((sql) => ({ sql, params: [] })),
      );
      const times = [event?.[0], call?.[0]]
        .map((row) => (row === undefined ? null : numberOrNull(row, 'oldest_ms')))
        .filter((ms) => ms !== null);
      return {
        oldestMs: times.length === 0 ? null : Math.min(...times),
        parked: Object.fromEntries(
          parked
            .map((row) => [textOf(row, 'state'), numberOf(row, 'count')] as const)
            .filter(([state]) => state !== 'cancelled'),
        ),
        unmatchedVerdicts: unmatched?.[0] === undefined ? 0 : numberOf(unmatched[0], 'unmatched'),
      };
    },
  };
}
