/**
 * The tables, as numbered steps that are only ever appended to. The same text runs on node:sqlite, Durable Object SQLite
 * and Postgres: TEXT and BIGINT only (SQLite gives any name with INT in it integer affinity; Postgres' INTEGER has 32
 * bits, too few for milliseconds), times in milliseconds unless a name says seconds, money in picodollars.
 */
import { type Database, LedgerUnavailable } from './ledger.ts';
import { ATTEMPTS_MIGRATION } from './migrations/002-attempts-and-idempotency-keys.ts';
import { BACKGROUND_MIGRATION } from './migrations/003-background-responses.ts';
import { BUDGETS_MIGRATION } from './migrations/004-budgets.ts';
import { READINGS_MIGRATION } from './migrations/005-keys-and-stripe-readings.ts';
import { DESTINATIONS_MIGRATION } from './migrations/006-destinations.ts';
import { RECONCILIATIONS_MIGRATION } from './migrations/007-reconciliations.ts';
import { NOTICES_MIGRATION } from './migrations/009-notices.ts';
import { COSTS_WITHOUT_LINES_MIGRATION } from './migrations/012-costs-without-lines.ts';
import { CUSTOMER_OBJECTS_MIGRATION } from './migrations/013-customer-objects.ts';
import { IMPORTS_MIGRATION } from './migrations/017-imports.ts';
import { TOP_UPS_MIGRATION } from './migrations/018-top-ups.ts';
import { NARROW_EVENT_INDEXES_MIGRATION } from './migrations/022-narrow-event-indexes.ts';
import { FEWER_HOLD_INDEXES_MIGRATION } from './migrations/023-fewer-hold-indexes.ts';
import { CREDIT_KEPT_MIGRATION } from './migrations/024-credit-kept.ts';
import { ACCOUNTS_BY_CUSTOMER_MIGRATION } from './migrations/025-accounts-by-customer.ts';
import { numberOf } from './rows.ts';

interface Migration {
  readonly version: number;
  readonly purpose: string;
  readonly statements: readonly string[];
}

const CREATE_VERSIONS = `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)`;
const READ_VERSIONS = `SELECT version FROM schema_version ORDER BY version`;
const RECORD_VERSION = `INSERT INTO schema_version (version) VALUES (?)`;

/**
 * Brings the database to this program's schema: each step in a batch of its own, with its version.
 *
 * @throws {LedgerUnavailable} when a newer program has been there: its tables may mean other things.
 */
export async function migrate(database: Database): Promise<void> {
  const [, rows = []] = await database.batch([
    { sql: CREATE_VERSIONS, params: [] },
    { sql: READ_VERSIONS, params: [] },
  ]);
  const done = new Set(rows.map((row) => numberOf(row, 'version')));
  const unknown = [...done].find((version) => !MIGRATIONS.some((step) => step.version === version));
  if (unknown !== undefined)
    throw new LedgerUnavailable(
      `The ledger has schema version ${unknown}, this program knows up to ${MIGRATIONS.at(-1)?.version ?? 0}: run the newer program.`,
    );
  for (const step of MIGRATIONS.filter(({ version }) => !done.has(version)))
    await database.batch([
      ...step.statements.map((sql) => ({ sql, params: [] })),
      { sql: RECORD_VERSION, params: [step.version] },
    ]);
}

/**
 * A call is open while `ended_at_ms` is null; `opened_by` is the boot that opened it. Its usage is settled into
 * `lines_json`, with `line_count` and `tokens` to check by; rows in `lines` come when they are sealed. `sealed` is null
 * while open, 0 while lines wait for it, 1 after.
 *
 * Both the rows of lines and the index by customer are thus written off the request path, where many calls share a page:
 * on it they cost 14 and 12 of 50 us a call, since every customer's part of the index is a page of its own.
 */
const CALLS = [
  `CREATE TABLE calls (
    id TEXT NOT NULL PRIMARY KEY, customer TEXT NOT NULL, key_id TEXT NOT NULL, endpoint TEXT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL, stream BIGINT NOT NULL, opened_at_ms BIGINT NOT NULL,
    opened_by TEXT NOT NULL, checkpoint_json TEXT, ended_at_ms BIGINT, outcome TEXT, status BIGINT,
    usage_source TEXT, usage_json TEXT, cost_pico BIGINT, response_id TEXT, lines_json TEXT, line_count BIGINT,
    tokens BIGINT, sealed BIGINT)`,
  `CREATE INDEX calls_open ON calls (customer, id) WHERE ended_at_ms IS NULL`,
  `CREATE INDEX calls_unsealed ON calls (ended_at_ms, id) WHERE sealed = 0`,
  `CREATE INDEX calls_sealed ON calls (customer, id) WHERE sealed = 1`,
];

/** A sealed line, in the one meter event that carries it. */
const LINES = [
  `CREATE TABLE lines (
    call TEXT NOT NULL REFERENCES calls (id), attempt BIGINT NOT NULL, model TEXT NOT NULL, token_type TEXT NOT NULL,
    tokens BIGINT NOT NULL CHECK (tokens > 0), event TEXT NOT NULL,
    PRIMARY KEY (call, attempt, model, token_type))`,
  `CREATE INDEX lines_by_event ON lines (event)`,
];

/**
 * `not_before_ms` is when an event may be taken next: the end of a pause, or of the lease it is under. `unsure` is 1 once
 * an attempt ended without a clear answer; `first_attempt_at_ms` is the earliest attempt Stripe may have acted on.
 */
const EVENTS = [
  `CREATE TABLE meter_events (
    identifier TEXT NOT NULL PRIMARY KEY, event_name TEXT NOT NULL, customer TEXT NOT NULL, model TEXT NOT NULL,
    token_type TEXT NOT NULL, value BIGINT NOT NULL CHECK (value > 0), timestamp_ms BIGINT NOT NULL,
    state TEXT NOT NULL, attempts BIGINT NOT NULL, unsure BIGINT NOT NULL, first_attempt_at_ms BIGINT,
    not_before_ms BIGINT NOT NULL, accepted_at_ms BIGINT, last_error TEXT)`,
  `CREATE INDEX meter_events_by_time ON meter_events (timestamp_ms, identifier)`,
  `CREATE INDEX meter_events_by_customer ON meter_events (customer, timestamp_ms, identifier)`,
  `CREATE INDEX meter_events_due ON meter_events (not_before_ms, timestamp_ms, identifier)
    WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous'`,
  `CREATE INDEX meter_events_parked ON meter_events (timestamp_ms, identifier)
    WHERE state = 'refused' OR state = 'quarantined' OR state = 'expired' OR state = 'cancelled'`,
];

/**
 * What Stripe told is kept as facts, each with its place in the order of (Stripe's seconds, arrival); (0, 0) means never.
 * Whether a customer is blocked is not stored: the view `blocks` reads it off the facts, so arrival order cannot matter.
 */
const CUSTOMERS = [
  `CREATE TABLE customers (
    id TEXT NOT NULL PRIMARY KEY, state TEXT, looked_up_at_ms BIGINT, deleted_s BIGINT,
    lifted_s BIGINT NOT NULL DEFAULT 0, lifted_seq BIGINT NOT NULL DEFAULT 0, lifted_why TEXT)`,
  `CREATE TABLE customer_alerts (
    customer TEXT NOT NULL, alert TEXT NOT NULL, title TEXT NOT NULL DEFAULT '',
    triggered_s BIGINT NOT NULL DEFAULT 0, triggered_seq BIGINT NOT NULL DEFAULT 0,
    recovered_s BIGINT NOT NULL DEFAULT 0, recovered_seq BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (customer, alert))`,
  `CREATE TABLE webhook_events (
    id TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL, created_s BIGINT NOT NULL, received_at_ms BIGINT NOT NULL,
    seq BIGINT NOT NULL UNIQUE, applied_by TEXT NOT NULL)`,
  `CREATE VIEW blocks AS
    SELECT id AS customer, 'missing' AS code, id AS source FROM customers
      WHERE deleted_s IS NOT NULL OR state = 'missing'
    UNION ALL
    SELECT a.customer AS customer, 'alert_triggered' AS code,
      CASE WHEN a.title = '' THEN a.alert ELSE a.title END AS source
      FROM customer_alerts a LEFT JOIN customers c ON c.id = a.customer
      WHERE (a.triggered_s, a.triggered_seq) > (a.recovered_s, a.recovered_seq)
        AND (a.triggered_s, a.triggered_seq) > (COALESCE(c.lifted_s, 0), COALESCE(c.lifted_seq, 0))`,
];

const API_KEYS = [
  `CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL UNIQUE, customer TEXT, label TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL, expires_at_ms BIGINT, revoked_at_ms BIGINT, last4 TEXT NOT NULL)`,
];

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    purpose: 'calls, lines, meter events, customers, webhooks, keys',
    statements: [...CALLS, ...LINES, ...EVENTS, ...CUSTOMERS, ...API_KEYS],
  },
  ATTEMPTS_MIGRATION,
  BACKGROUND_MIGRATION,
  BUDGETS_MIGRATION,
  READINGS_MIGRATION,
  DESTINATIONS_MIGRATION,
  RECONCILIATIONS_MIGRATION,
  NOTICES_MIGRATION,
  COSTS_WITHOUT_LINES_MIGRATION,
  CUSTOMER_OBJECTS_MIGRATION,
  IMPORTS_MIGRATION,
  TOP_UPS_MIGRATION,
  NARROW_EVENT_INDEXES_MIGRATION,
  FEWER_HOLD_INDEXES_MIGRATION,
  CREDIT_KEPT_MIGRATION,
  ACCOUNTS_BY_CUSTOMER_MIGRATION,
];

/** The versions this program knows, ascending. */
export const MIGRATION_VERSIONS: readonly number[] = MIGRATIONS.map(({ version }) => version);
