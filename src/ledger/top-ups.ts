/** Credit that customers buy: every purchase on record before Stripe is asked, and what holds for single customers. */
import type { LedgerParts } from './create-ledger.ts';
import type { Page, Row } from './ledger.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf } from './rows.ts';

/** `charging`: the card is to be charged. `waiting`: for the customer, at a checkout. `paid`: the grant is to be made. */
export type TopUpState = 'charging' | 'waiting' | 'paid' | 'granted' | 'failed' | 'expired';

export interface NewTopUp {
  readonly id: string;
  readonly customer: string;
  /** The balance fell; by the operator's hand; a checkout that the customer opens himself. */
  readonly kind: 'auto' | 'operator' | 'link';
  readonly cents: number;
  readonly createdAtMs: number;
}
/** A checkout is not looked at while whoever makes it is still at it. */
const MAKING_MS = 60_000;

export interface TopUp extends NewTopUp {
  readonly state: TopUpState;
  /** Chosen before the card is charged, and not again: a repeated request must be the same. */
  readonly paymentMethod: string | null;
  /** The payment intent or the checkout session. */
  readonly payment: string | null;
  /** Where the customer pays. */
  readonly url: string | null;
  readonly creditGrant: string | null;
  /** Looks and requests since it entered its state. */
  readonly attempts: number;
  /** Answers of Stripe's that said neither that the grant was made nor that it was not. */
  readonly grantTries: number;
  /** Why it failed, a word. */
  readonly failure: string | null;
  readonly lastError: string | null;
  readonly expiresAtMs: number | null;
  readonly paidAtMs: number | null;
  readonly endedAtMs: number | null;
  /** When it is looked at next; null once it has ended. */
  readonly notBeforeMs: number | null;
}

/** Amounts are picodollars as text, and cents. */
export interface TopUpRule {
  readonly belowPico: string;
  readonly cents: number;
  readonly perDayMax: number;
  readonly coolDownMs: number;
}

export interface TopUps {
  /** False where a charge of the customer's is under way already. */
  openTopUp(topUp: NewTopUp): Promise<boolean>;
  /** Writes what changed, unless it has ended. */
  saveTopUp(topUp: TopUp): Promise<void>;
  topUp(id: string): Promise<TopUp | undefined>;
  /** Latest first. */
  topUps(customer: string, page: { cursor?: string | undefined; limit: number }): Promise<Page<TopUp>>;
  /** The latest charges, and checkouts that were granted, latest first: what the next charge depends on. */
  recentTopUps(customer: string): Promise<readonly TopUp[]>;
  dueTopUps(nowMs: number, limit: number): Promise<readonly TopUp[]>;
  /** When the next is to be looked at; undefined when none is under way. */
  nextTopUpMs(): Promise<number | undefined>;
  /** It is to be looked at, at once: Stripe told of it. False where there is none, or it has ended. */
  hastenTopUp(id: string, nowMs: number): Promise<boolean>;
  /** Null: it is off for him. Undefined: his plan's holds. */
  topUpRule(customer: string): Promise<TopUpRule | null | undefined>;
  setTopUpRule(customer: string, rule: TopUpRule | null | undefined): Promise<void>;
  /** Whether a rule of a single customer's turns it on. */
  hasTopUpRules(): Promise<boolean>;
}

const ERROR_CHARS_MAX = 500;
/** More than are made in a day, and than failures in a row that lengthen the pause. */
const RECENT_MAX = 64;

const COLUMNS = `id, customer, kind, cents, state, payment_method, payment, url, credit_grant, attempts, grant_tries,
  failure, last_error, created_at_ms, expires_at_ms, paid_at_ms, ended_at_ms, not_before_ms`;
const OPEN = `
  INSERT INTO top_ups (id, customer, kind, cents, state, created_at_ms, not_before_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO NOTHING RETURNING id`;
const SAVE = `
  UPDATE top_ups SET state = ?, payment_method = ?, payment = ?, url = ?, credit_grant = ?, attempts = ?,
    grant_tries = ?, failure = ?, last_error = ?, expires_at_ms = ?, paid_at_ms = ?, ended_at_ms = ?, not_before_ms = ?
  WHERE id = ? AND ended_at_ms IS NULL`;
const READ = `SELECT ${COLUMNS} FROM top_ups WHERE id = ?`;
const LIST = `
  SELECT ${COLUMNS} FROM top_ups WHERE customer = ? AND (created_at_ms, id) < (?, ?)
  ORDER BY created_at_ms DESC, id DESC LIMIT CAST(? AS BIGINT)`;
const RECENT = `
  SELECT ${COLUMNS} FROM top_ups WHERE customer = ? AND (kind <> 'link' OR state = 'granted')
  ORDER BY created_at_ms DESC, id DESC LIMIT CAST(? AS BIGINT)`;
const DUE = `
  SELECT ${COLUMNS} FROM top_ups WHERE not_before_ms IS NOT NULL AND not_before_ms <= ?
  ORDER BY not_before_ms, id LIMIT CAST(? AS BIGINT)`;
const NEXT = `SELECT not_before_ms FROM top_ups WHERE not_before_ms IS NOT NULL ORDER BY not_before_ms LIMIT 1`;
const HASTEN = `UPDATE top_ups SET not_before_ms = ? WHERE id = ? AND ended_at_ms IS NULL RETURNING id`;
const READ_RULE = `
  SELECT CAST(below_pico AS TEXT) AS below_pico, cents, per_day, cool_down_ms FROM top_up_settings WHERE customer = ?`;
const PUT_RULE = `
  INSERT INTO top_up_settings (customer, below_pico, cents, per_day, cool_down_ms)
  VALUES (?, CAST(? AS BIGINT), ?, ?, ?)
  ON CONFLICT (customer) DO UPDATE SET below_pico = excluded.below_pico, cents = excluded.cents,
    per_day = excluded.per_day, cool_down_ms = excluded.cool_down_ms`;
const DROP_RULE = `DELETE FROM top_up_settings WHERE customer = ?`;
const ANY_RULE = `SELECT customer FROM top_up_settings WHERE cents IS NOT NULL LIMIT 1`;

export function createTopUps({ database }: LedgerParts): TopUps {
  const run = async (sql: string, ...params: (string | number | null)[]): Promise<readonly Row[]> => {
    const [rows = []] = await database.batch([{ sql, params }]);
    return rows;
  };
  return {
    async openTopUp({ id, customer, kind, cents, createdAtMs }) {
      const state = kind === 'link' ? 'waiting' : 'charging';
      const dueAtMs = kind === 'link' ? createdAtMs + MAKING_MS : createdAtMs;
      const made = await run(OPEN, id, customer, kind, cents, state, createdAtMs, dueAtMs);
      return made.length === 1;
    },
    async saveTopUp(topUp) {
      const made = [topUp.state, topUp.paymentMethod, topUp.payment, topUp.url, topUp.creditGrant];
      const tries = [topUp.attempts, topUp.grantTries, topUp.failure];
      const error = topUp.lastError?.slice(0, ERROR_CHARS_MAX) ?? null;
      const times = [topUp.expiresAtMs, topUp.paidAtMs, topUp.endedAtMs, topUp.notBeforeMs];
      await run(SAVE, ...made, ...tries, error, ...times, topUp.id);
    },
    async topUp(id) {
      const [row] = await run(READ, id);
      return row === undefined ? undefined : topUpFrom(row);
    },
    async topUps(customer, { cursor, limit }) {
      const before = cursor === undefined ? undefined : await run(READ, cursor);
      const at = before?.[0] === undefined ? Number.MAX_SAFE_INTEGER : numberOf(before[0], 'created_at_ms');
      const rows = await run(LIST, customer, at, cursor ?? '', limit + 1);
      const data = rows.slice(0, limit).map(topUpFrom);
      return { data, nextCursor: rows.length > limit ? (data.at(-1)?.id ?? null) : null };
    },
    recentTopUps: async (customer) => (await run(RECENT, customer, RECENT_MAX)).map(topUpFrom),
    dueTopUps: async (nowMs, limit) => (await run(DUE, nowMs, limit)).map(topUpFrom),
    async nextTopUpMs() {
      const [row] = await run(NEXT);
      return row === undefined ? undefined : numberOf(row, 'not_before_ms');
    },
    hastenTopUp: async (id, nowMs) => (await run(HASTEN, nowMs, id)).length === 1,
    async topUpRule(customer) {
      const [row] = await run(READ_RULE, customer);
      if (row === undefined) return undefined;
      if (row['cents'] === null) return null;
      return {
        belowPico: textOf(row, 'below_pico'),
        cents: numberOf(row, 'cents'),
        perDayMax: numberOf(row, 'per_day'),
        coolDownMs: numberOf(row, 'cool_down_ms'),
      };
    },
    async setTopUpRule(customer, rule) {
      if (rule === undefined) await run(DROP_RULE, customer);
      else if (rule === null) await run(PUT_RULE, customer, null, null, null, null);
      else await run(PUT_RULE, customer, rule.belowPico, rule.cents, rule.perDayMax, rule.coolDownMs);
    },
    hasTopUpRules: async () => (await run(ANY_RULE)).length > 0,
  };
}

const topUpFrom = (row: Row): TopUp => ({
  id: textOf(row, 'id'),
  customer: textOf(row, 'customer'),
  kind: wordOf(row, 'kind'),
  cents: numberOf(row, 'cents'),
  state: wordOf(row, 'state'),
  paymentMethod: textOrNull(row, 'payment_method'),
  payment: textOrNull(row, 'payment'),
  url: textOrNull(row, 'url'),
  creditGrant: textOrNull(row, 'credit_grant'),
  attempts: numberOf(row, 'attempts'),
  grantTries: numberOf(row, 'grant_tries'),
  failure: textOrNull(row, 'failure'),
  lastError: textOrNull(row, 'last_error'),
  createdAtMs: numberOf(row, 'created_at_ms'),
  expiresAtMs: numberOrNull(row, 'expires_at_ms'),
  paidAtMs: numberOrNull(row, 'paid_at_ms'),
  endedAtMs: numberOrNull(row, 'ended_at_ms'),
  notBeforeMs: numberOrNull(row, 'not_before_ms'),
});
