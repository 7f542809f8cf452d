/**
 * What is known of customers: whether Stripe has them, and what its webhooks told. Each fact is kept with its place in
 * the order of (Stripe's seconds, arrival), and only a later one replaces it, so any delivery order ends the same.
 */
import { raisingVersion } from './accounts.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { CustomerFact, CustomerState, Ledger, Statement } from './ledger.ts';
import { FACT_WANTED } from './readings.ts';
import { wordOrNull } from './rows.ts';

/** Keeps the answer of a look-up. */
const REMEMBER_CUSTOMER = `
  INSERT INTO customers (id, state, looked_up_at_ms) VALUES (?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET state = excluded.state, looked_up_at_ms = excluded.looked_up_at_ms`;

/** What a look-up or a deletion said; a deletion stands above any look-up. */
const READ_CUSTOMER = `
  SELECT CASE WHEN deleted_s IS NULL THEN state ELSE 'missing' END AS state FROM customers WHERE id = ?`;

/** Records a webhook's event once and gives it the next place in the order of arrival. */
const RECORD_WEBHOOK = `
  INSERT INTO webhook_events (id, type, created_s, received_at_ms, seq, applied_by)
  SELECT ?, ?, ?, ?, COALESCE(MAX(seq), 0) + 1, ? FROM webhook_events WHERE 1 = 1
  ON CONFLICT (id) DO NOTHING RETURNING id`;

/** The alert's latest trigger. Like all facts, written only by the batch that recorded the event. */
const FACT_TRIGGERED = `
  INSERT INTO customer_alerts (customer, alert, title, triggered_s, triggered_seq)
  SELECT ?, ?, ?, created_s, seq FROM webhook_events WHERE id = ? AND applied_by = ?
  ON CONFLICT (customer, alert) DO UPDATE
    SET title = excluded.title, triggered_s = excluded.triggered_s, triggered_seq = excluded.triggered_seq
    WHERE (excluded.triggered_s, excluded.triggered_seq)
      > (customer_alerts.triggered_s, customer_alerts.triggered_seq)`;

/** The alert's latest recovery. */
const FACT_RECOVERED = `
  INSERT INTO customer_alerts (customer, alert, recovered_s, recovered_seq)
  SELECT ?, ?, created_s, seq FROM webhook_events WHERE id = ? AND applied_by = ?
  ON CONFLICT (customer, alert) DO UPDATE
    SET recovered_s = excluded.recovered_s, recovered_seq = excluded.recovered_seq
    WHERE (excluded.recovered_s, excluded.recovered_seq)
      > (customer_alerts.recovered_s, customer_alerts.recovered_seq)`;

/** The latest moment that lifted every alert of the customer: the event's own, or an earlier one that it names. */
const FACT_LIFTED = `
  INSERT INTO customers (id, lifted_why, lifted_s, lifted_seq)
  SELECT ?, ?, COALESCE(CAST(? AS BIGINT), created_s), seq FROM webhook_events WHERE id = ? AND applied_by = ?
  ON CONFLICT (id) DO UPDATE
    SET lifted_why = excluded.lifted_why, lifted_s = excluded.lifted_s, lifted_seq = excluded.lifted_seq
    WHERE (excluded.lifted_s, excluded.lifted_seq) > (customers.lifted_s, customers.lifted_seq)`;

/** A deletion, for good: Stripe has no way back from it. */
const FACT_DELETED = `
  INSERT INTO customers (id, deleted_s)
  SELECT ?, created_s FROM webhook_events WHERE id = ? AND applied_by = ?
  ON CONFLICT (id) DO UPDATE SET deleted_s = excluded.deleted_s
    WHERE customers.deleted_s IS NULL OR excluded.deleted_s < customers.deleted_s`;

export function createCustomers({
  database,
  stamp,
}: LedgerParts): Pick<Ledger, 'rememberCustomer' | 'customer' | 'apply'> {
  return {
    async rememberCustomer(customer, state, nowMs) {
      await database.batch([
        { sql: REMEMBER_CUSTOMER, params: [customer, state, nowMs] },
        ...(state === 'missing' ? [raisingVersion(customer)] : []),
      ]);
    },
    async customer(customer) {
      const [rows] = await database.batch([{ sql: READ_CUSTOMER, params: [customer] }]);
      const row = rows?.[0];
      return row === undefined ? undefined : (wordOrNull<CustomerState>(row, 'state') ?? undefined);
    },
    async apply({ eventId, type, createdS, receivedAtMs, reading }, facts) {
      const mark = stamp();
      const [recorded] = await database.batch([
        { sql: RECORD_WEBHOOK, params: [eventId, type, createdS, receivedAtMs, mark] },
        ...facts.map((fact) => factStatement(fact, eventId, mark)),
        ...facts.filter(mayBlock).map(({ customer }) => raisingVersion(customer)),
        ...(reading === undefined ? [] : [{ sql: FACT_WANTED, params: [reading, eventId, mark] }]),
      ]);
      return recorded?.length === 1 ? 'applied' : 'seen';
    },
  };
}

/** A call that is opened by his account is not asked again whether he is blocked: see `Guard`. */
const mayBlock = ({ kind }: CustomerFact): boolean => kind === 'alert_triggered' || kind === 'deleted';

function factStatement(fact: CustomerFact, eventId: string, mark: string): Statement {
  const { customer } = fact;
  switch (fact.kind) {
    case 'alert_triggered':
      return { sql: FACT_TRIGGERED, params: [customer, fact.alert, fact.title, eventId, mark] };
    case 'alert_recovered':
      return { sql: FACT_RECOVERED, params: [customer, fact.alert, eventId, mark] };
    case 'alerts_lifted':
      return { sql: FACT_LIFTED, params: [customer, fact.why, fact.beforeS ?? null, eventId, mark] };
    case 'deleted':
      return { sql: FACT_DELETED, params: [customer, eventId, mark] };
  }
}
