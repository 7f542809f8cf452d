/** Accounts and credit grants: what Stripe and the operator said of a customer's money, and what is left of it. */
import type { Account, Accounts, Balance, Grant, GrantFact, GrantsReading } from './accounts-port.ts';
import type { LedgerParts } from './create-ledger.ts';
import type { Row, Statement } from './ledger.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf, wordOrNull } from './rows.ts';

/**
 * Sums of one customer are kept in 64 bits, which end at 9.2 million dollars; each of their parts stays below half. Of the
 * credit that a reading tells of, no more than this counts: less than he has, never more.
 */
export const BALANCE_PICO_MAX = 4_000_000_000_000_000_000n;

const ACCOUNT_COLUMNS = `customer, version, plan, mode, on_empty, CAST(grace_pico AS TEXT) AS grace_pico, no_credit,
  has_had_grant, frozen_at_ms, frozen_why, subscription, subscription_state, payment_block_at_ms, payment_block_why,
  period_start_ms, period_end_ms, finalised_through_ms, CAST(unbilled_pico AS TEXT) AS unbilled_pico,
  CAST(overdrawn_pico AS TEXT) AS overdrawn_pico, CAST(stripe_available_pico AS TEXT) AS stripe_available_pico,
  CAST(stripe_ledger_pico AS TEXT) AS stripe_ledger_pico, stripe_read_at_ms`;
export const READ_ACCOUNT = `SELECT ${ACCOUNT_COLUMNS} FROM accounts WHERE customer = ?`;
const READ_ACCOUNTS = `SELECT ${ACCOUNT_COLUMNS} FROM accounts WHERE customer > ? ORDER BY customer LIMIT CAST(? AS BIGINT)`;

const OPEN_ACCOUNT = `INSERT INTO accounts (customer, created_at_ms) VALUES (?, ?) ON CONFLICT (customer) DO NOTHING`;

const RAISE_VERSION = `UPDATE accounts SET version = version + 1 WHERE customer = ?`;
/** What was judged by the account, if there is one, is to be judged again. */
export const raisingVersion = (customer: string): Statement => ({ sql: RAISE_VERSION, params: [customer] });

/** Calls that run while the account is made are counted when they end, although nothing was held for them. */
const GUARD_OPEN_CALLS = `
  UPDATE calls SET hold_pico = 0 WHERE customer = ? AND ended_at_ms IS NULL AND hold_pico IS NULL`;

/** Columns that a change may name. The names are written here alone; nothing of a caller's becomes SQL. */
const SETTING_COLUMNS = {
  plan: 'plan',
  mode: 'mode',
  onEmpty: 'on_empty',
  gracePico: 'grace_pico',
  noCredit: 'no_credit',
} as const;
const setSetting = (column: string): string =>
  `UPDATE accounts SET ${column} = ${column === 'grace_pico' ? 'CAST(? AS BIGINT)' : '?'}, version = version + 1
   WHERE customer = ?`;
const SET_FROZEN = `UPDATE accounts SET frozen_at_ms = ?, frozen_why = ?, version = version + 1 WHERE customer = ?`;

/** A reading of the subscription, unless a later one is on record. */
const SET_SUBSCRIPTION = `
  UPDATE accounts SET subscription = ?, subscription_state = ?, payment_block_at_ms = ?, payment_block_why = ?,
    period_start_ms = ?, period_end_ms = ?, subscription_read_at_ms = ?, version = version + 1
  WHERE customer = ? AND subscription_read_at_ms <= ? RETURNING customer`;

/** One grant as Stripe has it. What was read earlier never replaces what was read later. */
const PUT_GRANT = `
  INSERT INTO credit_grants (id, customer, name, category, priority, amount_pico, balance_pico, applies, effective_at_ms,
    expires_at_ms, created_at_ms, voided_at_ms, read_at_ms)
  VALUES (?, ?, ?, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET name = excluded.name, category = excluded.category, priority = excluded.priority,
    amount_pico = excluded.amount_pico, balance_pico = excluded.balance_pico, applies = excluded.applies,
    effective_at_ms = excluded.effective_at_ms, expires_at_ms = excluded.expires_at_ms,
    created_at_ms = excluded.created_at_ms, voided_at_ms = excluded.voided_at_ms, read_at_ms = excluded.read_at_ms
  WHERE credit_grants.read_at_ms <= excluded.read_at_ms`;

/** The reading's moment, and Stripe's own sums. */
const SET_READING = `
  UPDATE accounts SET version = version + 1, has_had_grant = CASE WHEN has_had_grant = 1 THEN 1 ELSE ? END,
    finalised_through_ms =
      CASE WHEN finalised_through_ms < CAST(? AS BIGINT) THEN CAST(? AS BIGINT) ELSE finalised_through_ms END,
    stripe_available_pico = COALESCE(CAST(? AS BIGINT), stripe_available_pico),
    stripe_ledger_pico = COALESCE(CAST(? AS BIGINT), stripe_ledger_pico),
    stripe_read_at_ms = CASE WHEN CAST(? AS BIGINT) = 1 THEN CAST(? AS BIGINT) ELSE stripe_read_at_ms END
  WHERE customer = ?`;

/**
 * What is left of the credit at that moment, and from when until when it is that: an assignment for an UPDATE of accounts,
 * for whatever has changed a grant. A change by time alone ends the time it is good for.
 */
export const COUNT_CREDIT = (at: string): string => `(credit_pico, credit_from_ms, credit_until_ms) = (
    SELECT COALESCE(SUM(CASE WHEN g.balance_pico > g.burned_pico AND g.effective_at_ms <= ${at}
        AND (g.expires_at_ms IS NULL OR g.expires_at_ms > ${at}) THEN g.balance_pico - g.burned_pico ELSE 0 END), 0),
      COALESCE(MAX(CASE WHEN g.expires_at_ms <= ${at} THEN g.expires_at_ms
        WHEN g.effective_at_ms <= ${at} THEN g.effective_at_ms END), 0),
      COALESCE(MIN(CASE WHEN g.effective_at_ms > ${at} THEN g.effective_at_ms
        WHEN g.expires_at_ms > ${at} THEN g.expires_at_ms END), 9007199254740991)
    FROM credit_grants g WHERE g.customer = accounts.customer AND g.applies = 1 AND g.voided_at_ms IS NULL)`;

/** The counters anew, from the burns since the last finalised invoice. */
const RECOUNT_GRANTS = `
  UPDATE credit_grants SET burned_pico = COALESCE((SELECT SUM(b.pico) FROM credit_burns b
    WHERE b.customer = credit_grants.customer AND b.credit_grant = credit_grants.id AND b.ended_at_ms >=
      (SELECT a.finalised_through_ms FROM accounts a WHERE a.customer = credit_grants.customer)), 0)
  WHERE customer = ?`;
const RECOUNT_ACCOUNT = `
  UPDATE accounts SET ${COUNT_CREDIT('CAST(?2 AS BIGINT)')},
    overdrawn_pico = COALESCE((SELECT SUM(b.pico) FROM credit_burns b WHERE b.customer = accounts.customer
      AND b.credit_grant = '' AND b.ended_at_ms >= accounts.finalised_through_ms), 0),
    unbilled_pico = COALESCE((SELECT SUM(b.pico) FROM credit_burns b WHERE b.customer = accounts.customer
      AND b.ended_at_ms >= accounts.finalised_through_ms), 0)
  WHERE customer = ?1`;

/** The order Stripe applies grants in: priority, then what expires first, promotional first, effective, created. */
export const BURN_ORDER = `priority, COALESCE(expires_at_ms, 9007199254740991),
  CASE category WHEN 'promotional' THEN 0 ELSE 1 END, effective_at_ms, created_at_ms, id`;
const READ_GRANTS = `
  SELECT id, customer, name, category, priority, CAST(amount_pico AS TEXT) AS amount_pico,
    CAST(balance_pico AS TEXT) AS balance_pico, CAST(burned_pico AS TEXT) AS burned_pico, applies, effective_at_ms,
    expires_at_ms, created_at_ms, voided_at_ms
  FROM credit_grants WHERE customer = ? ORDER BY ${BURN_ORDER}`;
const READ_HELD = `
  SELECT CAST(COALESCE(SUM(hold_pico), 0) AS TEXT) AS held FROM calls
  WHERE customer = ? AND ended_at_ms IS NULL AND hold_pico IS NOT NULL`;

type AccountPart = Omit<Accounts, 'putBudget' | 'passOnBudget' | 'removeBudget' | 'budgets' | 'shrinkHold'>;

export function createAccounts({ database }: LedgerParts): AccountPart {
  const account: Accounts['account'] = async (customer) => {
    const [rows] = await database.batch([{ sql: READ_ACCOUNT, params: [customer] }]);
    return rows?.[0] === undefined ? undefined : accountFrom(rows[0]);
  };
  return {
    account,
    async accounts({ cursor, limit }) {
      const [rows = []] = await database.batch([{ sql: READ_ACCOUNTS, params: [cursor ?? '', limit] }]);
      return rows.map(accountFrom);
    },
    async changeAccount(customer, change, nowMs) {
      const answers = await database.batch([
        ...opening(customer, nowMs),
        ...changes(customer, change, nowMs),
        { sql: READ_ACCOUNT, params: [customer] },
      ]);
      const row = answers.at(-1)?.[0];
      if (row === undefined) throw new Error(`The account of ${customer} was not made.`);
      return accountFrom(row);
    },
    async recordGrants(reading) {
      await database.batch(recording(reading));
    },
    async recordSubscription({ customer, readAtMs, subscription, paymentBlock, period }) {
      const facts = [subscription?.id ?? null, subscription?.state ?? null];
      const block = [paymentBlock?.atMs ?? null, paymentBlock?.why ?? null];
      const times = [period?.startMs ?? null, period?.endMs ?? null, readAtMs];
      const [, , written] = await database.batch([
        ...opening(customer, readAtMs),
        { sql: SET_SUBSCRIPTION, params: [...facts, ...block, ...times, customer, readAtMs] },
      ]);
      return written?.length === 1 ? 'recorded' : 'stale';
    },
    async balance(customer, nowMs) {
      const [accounts, grants = [], held] = await database.batch([
        { sql: READ_ACCOUNT, params: [customer] },
        { sql: READ_GRANTS, params: [customer] },
        { sql: READ_HELD, params: [customer] },
      ]);
      const overdrawn = accounts?.[0] === undefined ? '0' : textOf(accounts[0], 'overdrawn_pico');
      const heldPico = held?.[0] === undefined ? '0' : textOf(held[0], 'held');
      return balanceOf(grants.map(grantFrom), { overdrawn, heldPico, nowMs });
    },
  };
}

/** Makes the account where there is none; two statements. */
export const opening = (customer: string, nowMs: number): Statement[] => [
  { sql: OPEN_ACCOUNT, params: [customer, nowMs] },
  { sql: GUARD_OPEN_CALLS, params: [customer] },
];

function changes(
  customer: string,
  { frozen, ...settings }: Parameters<Accounts['changeAccount']>[1],
  nowMs: number,
): Statement[] {
  const statements: Statement[] = [];
  for (const [name, column] of Object.entries(SETTING_COLUMNS)) {
    const value = settings[name as keyof typeof SETTING_COLUMNS];
    if (value !== undefined) statements.push({ sql: setSetting(column), params: [value, customer] });
  }
  if (frozen !== undefined)
    statements.push({
      sql: SET_FROZEN,
      params: [frozen === null ? null : nowMs, frozen?.why ?? null, customer],
    });
  return statements;
}

function recording({ customer, readAtMs, grants, ...more }: GrantsReading): Statement[] {
  const through = more.finalisedThroughMs ?? 0;
  const sums = [more.availablePico, more.ledgerPico].map((pico) =>
    pico === undefined ? null : capped(pico),
  );
  const told = more.availablePico === undefined ? 0 : 1;
  const hasGrants = grants.length > 0 ? 1 : 0;
  return [
    ...opening(customer, readAtMs),
    ...bounded(grants, readAtMs).map((grant) => grantStatement(customer, grant, readAtMs)),
    { sql: SET_READING, params: [hasGrants, through, through, ...sums, told, readAtMs, customer] },
    { sql: RECOUNT_GRANTS, params: [customer] },
    { sql: RECOUNT_ACCOUNT, params: [customer, readAtMs] },
  ];
}

const capped = (pico: string, max = BALANCE_PICO_MAX): string => (BigInt(pico) > max ? String(max) : pico);

/** The grants with no more than the bound between them: none has more than Stripe says, and what pays now goes first. */
function bounded(grants: readonly GrantFact[], atMs: number): readonly GrantFact[] {
  let left = BALANCE_PICO_MAX;
  const cut: GrantFact[] = [];
  for (const grant of grants.toSorted((a, b) => turnOf(a, atMs) - turnOf(b, atMs))) {
    const balancePico = capped(grant.balancePico, left);
    if (BigInt(balancePico) > 0n) left -= BigInt(balancePico);
    cut.push({ ...grant, amountPico: capped(grant.amountPico), balancePico });
  }
  return cut;
}

/** In effect, then to come, then over. */
function turnOf(grant: GrantFact, atMs: number): number {
  if (isInEffect(grant, atMs)) return 0;
  return grant.voidedAtMs === null && grant.effectiveAtMs > atMs ? 1 : 2;
}

function grantStatement(customer: string, grant: GrantFact, readAtMs: number): Statement {
  const { id, name, category, priority, amountPico, balancePico, applies } = grant;
  const kind = [id, customer, name, category, priority, amountPico, balancePico, applies ? 1 : 0];
  const times = [grant.effectiveAtMs, grant.expiresAtMs, grant.createdAtMs, grant.voidedAtMs, readAtMs];
  return { sql: PUT_GRANT, params: [...kind, ...times] };
}

/** Whether a grant may be burned at that moment. */
export const isInEffect = (grant: GrantFact, atMs: number): boolean =>
  grant.applies &&
  grant.voidedAtMs === null &&
  grant.effectiveAtMs <= atMs &&
  (grant.expiresAtMs === null || grant.expiresAtMs > atMs);

function balanceOf(
  grants: readonly Grant[],
  { overdrawn, heldPico, nowMs }: { overdrawn: string; heldPico: string; nowMs: number },
): Balance {
  let credit = 0n;
  for (const grant of grants) {
    const left = BigInt(grant.balancePico) - BigInt(grant.burnedPico);
    if (left > 0n && isInEffect(grant, nowMs)) credit += left;
  }
  return {
    creditPico: String(credit),
    heldPico,
    overdrawnPico: overdrawn,
    availablePico: String(credit - BigInt(overdrawn) - BigInt(heldPico)),
    grants,
  };
}

export function accountFrom(row: Row): Account {
  const frozenAt = numberOrNull(row, 'frozen_at_ms');
  const blockAt = numberOrNull(row, 'payment_block_at_ms');
  const subscription = textOrNull(row, 'subscription');
  const [startMs, endMs] = [numberOrNull(row, 'period_start_ms'), numberOrNull(row, 'period_end_ms')];
  const readAtMs = numberOrNull(row, 'stripe_read_at_ms');
  return {
    customer: textOf(row, 'customer'),
    version: numberOf(row, 'version'),
    plan: textOrNull(row, 'plan'),
    mode: wordOrNull(row, 'mode'),
    onEmpty: wordOrNull(row, 'on_empty'),
    gracePico: textOrNull(row, 'grace_pico'),
    noCredit: wordOrNull(row, 'no_credit'),
    hasHadGrant: numberOf(row, 'has_had_grant') === 1,
    frozen: frozenAt === null ? null : { atMs: frozenAt, why: textOrNull(row, 'frozen_why') ?? '' },
    paymentBlock:
      blockAt === null ? null : { atMs: blockAt, why: textOrNull(row, 'payment_block_why') ?? '' },
    subscription:
      subscription === null
        ? null
        : { id: subscription, state: textOrNull(row, 'subscription_state') ?? 'unknown' },
    period: startMs === null || endMs === null ? null : { startMs, endMs },
    finalisedThroughMs: numberOf(row, 'finalised_through_ms'),
    unbilledPico: textOf(row, 'unbilled_pico'),
    overdrawnPico: textOf(row, 'overdrawn_pico'),
    stripe:
      readAtMs === null
        ? null
        : {
            availablePico: textOrNull(row, 'stripe_available_pico') ?? '0',
            ledgerPico: textOrNull(row, 'stripe_ledger_pico') ?? '0',
            readAtMs,
          },
  };
}

const grantFrom = (row: Row): Grant => ({
  id: textOf(row, 'id'),
  customer: textOf(row, 'customer'),
  name: textOrNull(row, 'name'),
  category: wordOf(row, 'category'),
  priority: numberOf(row, 'priority'),
  amountPico: textOf(row, 'amount_pico'),
  balancePico: textOf(row, 'balance_pico'),
  burnedPico: textOf(row, 'burned_pico'),
  applies: numberOf(row, 'applies') === 1,
  effectiveAtMs: numberOf(row, 'effective_at_ms'),
  expiresAtMs: numberOrNull(row, 'expires_at_ms'),
  createdAtMs: numberOf(row, 'created_at_ms'),
  voidedAtMs: numberOrNull(row, 'voided_at_ms'),
});
