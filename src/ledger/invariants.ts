/** What must hold of any ledger at any moment, as queries that answer what breaks it. */
import type { Database, Row } from './ledger.ts';

export interface Violation {
  /** The invariant, as a sentence. */
  readonly invariant: string;
  /** Up to ten of the offending rows. */
  readonly rows: readonly Row[];
}

/** The invariants that do not hold; empty when the ledger is sound. Reads every row. */
export async function violations(database: Database): Promise<readonly Violation[]> {
  const names = Object.entries(INVARIANTS);
  const answers = await database.batch(names.map(([, sql]) => ({ sql: `${sql} LIMIT 10`, params: [] })));
  return names.flatMap(([invariant], at) => {
    const rows = answers[at] ?? [];
    return rows.length === 0 ? [] : [{ invariant, rows }];
  });
}

const CREDIT_AT = (
  at: string,
): string => `COALESCE((SELECT SUM(g.balance_pico - g.burned_pico) FROM credit_grants g
  WHERE g.customer = a.customer AND g.applies = 1 AND g.voided_at_ms IS NULL AND g.balance_pico > g.burned_pico
    AND g.effective_at_ms <= ${at} AND (g.expires_at_ms IS NULL OR g.expires_at_ms > ${at})), 0)`;

const INVARIANTS = {
  'A settled call has an outcome, a usage source and lines; an open call has none of them.': `
    SELECT id FROM calls WHERE (ended_at_ms IS NULL) <> (outcome IS NULL)
      OR (ended_at_ms IS NULL) <> (usage_source IS NULL) OR (ended_at_ms IS NULL) <> (lines_json IS NULL)
      OR (ended_at_ms IS NULL) <> (line_count IS NULL) OR (ended_at_ms IS NULL) <> (tokens IS NULL)
      OR (ended_at_ms IS NULL) <> (sealed IS NULL)`,
  'An open call that goes on in the background names the response that is waited for.': `
    SELECT b.call FROM background_responses b LEFT JOIN calls c ON c.id = b.call
    WHERE c.id IS NULL OR (c.ended_at_ms IS NULL AND (c.response_id IS NULL OR c.endpoint <> 'responses'))`,
  'A settled call keeps no checkpoint.': `
    SELECT id FROM calls WHERE ended_at_ms IS NOT NULL AND checkpoint_json IS NOT NULL`,
  'A call has tokens exactly when it has lines, and none without usage.': `
    SELECT id FROM calls WHERE (line_count = 0) <> (tokens = 0) OR (usage_source = 'none' AND tokens <> 0)`,
  'Every sealed line belongs to a settled call.': `
    SELECT l.call, l.model, l.token_type FROM lines l LEFT JOIN calls c ON c.id = l.call
    WHERE c.ended_at_ms IS NULL`,
  'A call is sealed when each of its lines is in an event, and not before.': `
    SELECT c.id, c.sealed, c.line_count, c.tokens FROM calls c
    WHERE c.line_count > 0 AND (c.sealed = 1) <> (
      EXISTS (SELECT 1 FROM lines l WHERE l.call = c.id)
      AND NOT EXISTS (
        SELECT 1 FROM lines l WHERE l.call = c.id GROUP BY l.destination
        HAVING COUNT(*) <> c.line_count OR SUM(l.tokens) <> c.tokens))`,
  'A destination has all lines of a sealed call or none, and no more than there are.': `
    SELECT c.id, l.destination FROM calls c JOIN lines l ON l.call = c.id
    GROUP BY c.id, c.sealed, c.line_count, c.tokens, l.destination
    HAVING COUNT(*) > CASE WHEN c.line_count = 0 AND l.destination = 'cost' THEN 1 ELSE c.line_count END OR SUM(l.tokens) > c.tokens
      OR (c.sealed = 1 AND COUNT(*) < c.line_count)`,
  'A sealed line names an event that exists.': `
    SELECT l.call, l.event FROM lines l LEFT JOIN meter_events e ON e.identifier = l.event
    WHERE e.identifier IS NULL`,
  "An event's value is the sum of its lines.": `
    SELECT e.identifier, CAST(e.value AS TEXT) AS value,
      (SELECT CAST(SUM(l.tokens) AS TEXT) FROM lines l WHERE l.event = e.identifier) AS lines
    FROM meter_events e
    WHERE e.destination <> 'cost' AND e.model <> '' AND e.value <> COALESCE((SELECT SUM(l.tokens) FROM lines l WHERE l.event = e.identifier), 0)`,
  "A line's model, token type and customer are its event's.": `
    SELECT l.call, e.identifier FROM lines l JOIN meter_events e ON e.identifier = l.event
      JOIN calls c ON c.id = l.call
    WHERE l.destination <> e.destination OR c.customer <> e.customer
      OR (e.destination <> 'cost' AND (l.model <> e.model OR l.token_type <> e.token_type))`,
  "A customer's cost is what its cost events bill and what is carried on.": `
    SELECT k.customer FROM cost_carries k
    WHERE k.pico < 0 OR k.pico >= 1000000 OR k.pico - k.dropped_pico <> (
      SELECT COALESCE(SUM(l.pico / 1000000), 0) - (
          SELECT COALESCE(SUM(e.value), 0) FROM meter_events e
          WHERE e.destination = 'cost' AND e.customer = k.customer)
      FROM lines l JOIN calls c ON c.id = l.call
      WHERE l.destination = 'cost' AND c.customer = k.customer) * 1000000 + (
      SELECT COALESCE(SUM(l.pico % 1000000), 0) FROM lines l JOIN calls c ON c.id = l.call
      WHERE l.destination = 'cost' AND c.customer = k.customer)`,
  'An event has an acceptance time exactly when Stripe has accepted it.': `
    SELECT identifier, state FROM meter_events
    WHERE (state IN ('accepted', 'confirmed')) <> (accepted_at_ms IS NOT NULL) AND state <> 'cancelled'`,
  'An event that is not pending has been tried, and one in doubt knows since when.': `
    SELECT identifier, state FROM meter_events
    WHERE (attempts = 0 AND unsure = 0 AND state NOT IN ('pending', 'cancelled', 'expired'))
      OR (state IN ('sending', 'ambiguous') AND first_attempt_at_ms IS NULL)`,
  'Burns are of settled calls, and a guarded call of an account is burned for what it cost.': `
    SELECT c.id FROM calls c LEFT JOIN (SELECT call, SUM(pico) AS pico FROM credit_burns GROUP BY call) b ON b.call = c.id
    WHERE b.pico IS NOT NULL AND (c.ended_at_ms IS NULL OR b.pico <> c.cost_pico)
    UNION ALL SELECT b.call FROM credit_burns b LEFT JOIN calls c ON c.id = b.call WHERE c.id IS NULL`,
  'A grant has burned what its burns since the last finalised invoice say.': `
    SELECT g.id FROM credit_grants g JOIN accounts a ON a.customer = g.customer
    WHERE g.burned_pico <> COALESCE((SELECT SUM(b.pico) FROM credit_burns b WHERE b.customer = g.customer
      AND b.credit_grant = g.id AND b.ended_at_ms >= a.finalised_through_ms), 0)`,
  "What is kept of an account's credit is what its grants have left, all the time that it is kept for.": `
    SELECT a.customer FROM accounts a
    WHERE a.credit_from_ms < a.credit_until_ms
      AND (a.credit_pico <> ${CREDIT_AT('a.credit_from_ms')} OR a.credit_pico <> ${CREDIT_AT('a.credit_until_ms - 1')}
        OR EXISTS (SELECT 1 FROM credit_grants g WHERE g.customer = a.customer AND g.applies = 1 AND g.voided_at_ms IS NULL
          AND (g.expires_at_ms IS NULL OR g.expires_at_ms > g.effective_at_ms)
          AND ((g.effective_at_ms > a.credit_from_ms AND g.effective_at_ms < a.credit_until_ms)
            OR (g.expires_at_ms > a.credit_from_ms AND g.expires_at_ms < a.credit_until_ms))))`,
  "An account's sums are those of its burns since the last finalised invoice.": `
    SELECT a.customer FROM accounts a
    WHERE a.unbilled_pico <> COALESCE((SELECT SUM(b.pico) FROM credit_burns b
        WHERE b.customer = a.customer AND b.ended_at_ms >= a.finalised_through_ms), 0)
      OR a.overdrawn_pico <> COALESCE((SELECT SUM(b.pico) FROM credit_burns b WHERE b.customer = a.customer
        AND b.credit_grant = '' AND b.ended_at_ms >= a.finalised_through_ms), 0)`,
  'A purchase of credit that was granted has a payment and a grant of its own; one that has ended waits for nothing.': `
    SELECT id FROM top_ups
    WHERE (state = 'granted' AND (payment IS NULL OR credit_grant IS NULL))
      OR (ended_at_ms IS NULL) <> (not_before_ms IS NOT NULL)
      OR (ended_at_ms IS NOT NULL) <> (state IN ('granted', 'failed', 'expired'))
    UNION ALL SELECT MIN(id) AS id FROM top_ups WHERE payment IS NOT NULL GROUP BY payment HAVING COUNT(*) > 1
    UNION ALL SELECT MIN(id) AS id FROM top_ups WHERE credit_grant IS NOT NULL
    GROUP BY credit_grant HAVING COUNT(*) > 1`,
  'An open call of a key with a budget counts among what the key holds.': `
    SELECT c.id FROM calls c JOIN budgets b ON b.scope = 'key' AND b.subject = c.key_id
    WHERE c.ended_at_ms IS NULL AND c.guarded_key IS NULL`,
  'An open call of an account holds something, be it nothing.': `
    SELECT c.id FROM calls c JOIN accounts a ON a.customer = c.customer
    WHERE c.ended_at_ms IS NULL AND c.hold_pico IS NULL`,
} as const;
