/** Lists for the operator: customers with what blocks them, and the webhooks that were applied. */
import type { LedgerParts } from './create-ledger.ts';
import type { Page } from './ledger.ts';
import { numberOf, textOf } from './rows.ts';

export interface CustomerRow {
  readonly id: string;
  /** Deleted, or not there, by Stripe. */
  readonly missing: boolean;
  /** The alerts that block him, by title. */
  readonly alerts: readonly string[];
}
export interface WebhookRow {
  readonly id: string;
  readonly type: string;
  /** Stripe's `created`, seconds. */
  readonly createdS: number;
  readonly receivedAtMs: number;
}
interface PageRequest {
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface People {
  /** Everyone looked up, blocked or with an account, by id. */
  customers(page: PageRequest): Promise<Page<CustomerRow>>;
  customerRow(id: string): Promise<CustomerRow>;
  /** Latest first. */
  webhookEvents(page: PageRequest): Promise<Page<WebhookRow>>;
}

const LIST_ROWS_MAX = 1_000;

const READ_IDS = `
  SELECT id FROM customers WHERE id > ? UNION SELECT customer AS id FROM accounts WHERE customer > ?
  UNION SELECT customer AS id FROM customer_alerts WHERE customer > ? ORDER BY id LIMIT CAST(? AS BIGINT)`;
const READ_BLOCKS = `SELECT code, source FROM blocks WHERE customer = ? ORDER BY code, source LIMIT 100`;
const READ_WEBHOOKS = `
  SELECT id, type, created_s, received_at_ms, seq FROM webhook_events WHERE seq < ? ORDER BY seq DESC LIMIT CAST(? AS BIGINT)`;

export function createPeople({ database }: LedgerParts): People {
  const rowsOf = async (ids: readonly string[]): Promise<readonly CustomerRow[]> => {
    if (ids.length === 0) return [];
    const blocks = await database.batch(ids.map((id) => ({ sql: READ_BLOCKS, params: [id] })));
    return ids.map((id, at) => {
      const rows = blocks[at] ?? [];
      const alerts = rows.filter((row) => textOf(row, 'code') === 'alert_triggered');
      return {
        id,
        missing: rows.some((row) => textOf(row, 'code') === 'missing'),
        alerts: alerts.map((row) => textOf(row, 'source')),
      };
    });
  };
  return {
    async customers({ cursor = '', limit }) {
      const size = Math.min(limit, LIST_ROWS_MAX);
      const [rows = []] = await database.batch([
        { sql: READ_IDS, params: [cursor, cursor, cursor, size + 1] },
      ]);
      const ids = rows.map((row) => textOf(row, 'id'));
      const shown = ids.slice(0, size);
      return { data: await rowsOf(shown), nextCursor: ids.length > size ? (shown.at(-1) ?? null) : null };
    },
    async customerRow(id) {
      const [row] = await rowsOf([id]);
      return row ?? { id, missing: false, alerts: [] };
    },
    async webhookEvents({ cursor, limit }) {
      const size = Math.min(limit, LIST_ROWS_MAX);
      const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
      const [rows = []] = await database.batch([{ sql: READ_WEBHOOKS, params: [before, size + 1] }]);
      const shown = rows.slice(0, size);
      const last = shown.at(-1);
      return {
        data: shown.map((row) => ({
          id: textOf(row, 'id'),
          type: textOf(row, 'type'),
          createdS: numberOf(row, 'created_s'),
          receivedAtMs: numberOf(row, 'received_at_ms'),
        })),
        nextCursor: rows.length > size && last !== undefined ? String(numberOf(last, 'seq')) : null,
      };
    },
  };
}
