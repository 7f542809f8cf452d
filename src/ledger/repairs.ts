/** What the operator, or reconciliation, decides about an event. Each move is one step, and a repeat changes nothing. */
import type { LedgerParts } from './create-ledger.ts';
import type { Ledger, Statement } from './ledger.ts';

/** Added to the identifier of an event that Stripe refused after it had taken it: 69 of the 100 characters it takes. */
const RENAMED = '_r';

/**
 * The operator had what was wrong put right: a refused event is due again. Where an attempt before the refusal is in
 * doubt, the doubt stays, with its time: the event is not sent past the 23 hours.
 */
const RETRY_EVENT = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, attempts = 0,
    first_attempt_at_ms = CASE WHEN unsure = 0 THEN NULL ELSE first_attempt_at_ms END
  WHERE identifier = ? AND state = 'refused' AND late = 0 RETURNING identifier`;

/**
 * What Stripe took first and refused afterwards cannot go under its identifier again: Stripe would call it a duplicate
 * and count nothing. It gets a new one, once.
 */
const RENAME_LATE = `
  UPDATE meter_events SET identifier = ?, replaces = identifier, late = 0, state = 'pending', not_before_ms = ?,
    attempts = 0, unsure = 0, first_attempt_at_ms = NULL, transport = NULL
  WHERE identifier = ? AND state = 'refused' AND late = 1 RETURNING identifier`;
const RENAME_LINES = `
  UPDATE lines SET event = ? WHERE event = ? AND EXISTS (SELECT 1 FROM meter_events WHERE identifier = ?)`;

/** Stripe confirmed that it leaves the event out. */
const CANCEL_ACCEPTED = `
  UPDATE meter_events SET state = 'cancelled' WHERE identifier = ? AND state IN ('accepted', 'confirmed')
  RETURNING identifier`;
const CONFIRM_EVENT = `UPDATE meter_events SET state = 'confirmed' WHERE identifier = ? AND state = 'accepted'`;

/** The operator waives an event that Stripe surely has not: it is never sent. */
const CANCEL_EVENT = `
  UPDATE meter_events SET state = 'cancelled'
  WHERE identifier = ? AND state IN ('pending', 'refused', 'quarantined') AND unsure = 0 RETURNING identifier`;

/** The operator, or reconciliation, found the event in Stripe's sums. */
const RESOLVE_DELIVERED = `
  UPDATE meter_events SET state = 'accepted', accepted_at_ms = ?, last_error = NULL, unsure = 0
  WHERE identifier = ? AND state = 'quarantined' RETURNING identifier`;

/** They found that Stripe has it not: no attempt is in doubt any more. */
const RESOLVE_LOST = `
  UPDATE meter_events SET state = 'pending', not_before_ms = ?, attempts = 0, unsure = 0, first_attempt_at_ms = NULL
  WHERE identifier = ? AND state = 'quarantined' RETURNING identifier`;

export function createRepairs({
  database,
}: LedgerParts): Pick<
  Ledger,
  'retryEvent' | 'resolveEvent' | 'cancelEvent' | 'cancelAccepted' | 'confirmEvents'
> {
  const changed = async (statement: Statement): Promise<boolean> => {
    const [rows] = await database.batch([statement]);
    return rows?.length === 1;
  };
  return {
    async retryEvent(identifier, nowMs) {
      const renamed = `${identifier}${RENAMED}`;
      const [plain = [], late = []] = await database.batch([
        { sql: RETRY_EVENT, params: [nowMs, identifier] },
        { sql: RENAME_LATE, params: [renamed, nowMs, identifier] },
        { sql: RENAME_LINES, params: [renamed, identifier, renamed] },
      ]);
      return plain.length + late.length === 1;
    },
    cancelAccepted: (identifier) => changed({ sql: CANCEL_ACCEPTED, params: [identifier] }),
    async confirmEvents(identifiers) {
      if (identifiers.length === 0) return;
      await database.batch(identifiers.map((one) => ({ sql: CONFIRM_EVENT, params: [one] })));
    },
    resolveEvent: (identifier, found, nowMs) =>
      changed({
        sql: found === 'delivered' ? RESOLVE_DELIVERED : RESOLVE_LOST,
        params: [nowMs, identifier],
      }),
    cancelEvent: (identifier) => changed({ sql: CANCEL_EVENT, params: [identifier] }),
  };
}
