/** `/admin/v1/keys`: the keys callers use. */
import { Hono } from 'hono';
import { z } from 'zod';
import { CUSTOMER_ID } from '../customer-id.ts';
import { Refusal } from '../errors.ts';
import type { ApiKey, Keys } from '../keys/keys.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto } from '../runtime.ts';
import { budgetId } from './budget-id.ts';
import { sent } from './request.ts';

const LIMIT_RULE = 'must be a whole number of 1 or more, or null for no limit';
const limit = z.int(LIMIT_RULE).min(1, LIMIT_RULE).nullable().exactOptional();
const keySchema = z
  .strictObject({
    customer: z.string().regex(CUSTOMER_ID, 'must be a Stripe customer id, cus_...').optional(),
    service: z.boolean().optional(),
    label: z.string().default(''),
    limits: z.strictObject({ rpm: limit, tpm: limit, concurrency: limit }).default({}),
  })
  .refine(({ customer, service = false }) => (customer === undefined) === service, {
    error: 'give either "customer": "cus_..." for a bound key, or "service": true',
  });

/** A key lives on beside its successor for so long at most, seconds (10 years): a longer one is a mistake. */
const OVERLAP_S_MAX = 315_360_000;
const rotationSchema = z.strictObject({ overlap_seconds: z.int().min(0).max(OVERLAP_S_MAX).default(0) });

export interface KeyAdminOptions {
  readonly keys: Keys;
  readonly ledger: Pick<Ledger, 'budgets' | 'passOnBudget'>;
  readonly crypto: Pick<Crypto, 'sha256'>;
  readonly now: () => number;
}

export function createKeyRoutes(options: KeyAdminOptions): Hono {
  const { keys } = options;
  const admin = new Hono();
  admin.get('/keys', async (c) => {
    const list = await keys.list(c.req.query('customer'));
    return c.json({ data: list.map(keyJson), next_cursor: null });
  });
  admin.post('/keys', async (c) => {
    const { customer = null, label, limits } = await sent(c.req.raw, keySchema);
    const made = await keys.create({ customer, label, limits });
    return c.json({ key: keyJson(made.key), secret: made.secret }, 201);
  });
  admin.post('/keys/:id/rotate', async (c) => {
    const id = c.req.param('id');
    const { overlap_seconds: overlapS } = await sent(c.req.raw, rotationSchema, {});
    const made = await keys.rotate(id, overlapS * 1000);
    if (made === undefined) throw new Refusal('not_found', `There is no key ${id}.`);
    await passOnBudgets(options, id, made.key.id);
    return c.json({ key: keyJson(made.key), secret: made.secret }, 201);
  });
  admin.delete('/keys/:id', async (c) => {
    if (await keys.revoke(c.req.param('id'))) return c.json({ id: c.req.param('id'), revoked: true });
    throw new Refusal('not_found', `There is no key ${c.req.param('id')}, or it was revoked before.`);
  });
  return admin;
}

/** Whoever has the new secret is held to what the old one was. He is told it after this, so he cannot be ahead of it. */
async function passOnBudgets(
  { ledger, crypto, now }: KeyAdminOptions,
  from: string,
  key: string,
): Promise<void> {
  for (const { id, scope, span } of await ledger.budgets(from, now()))
    if (scope === 'key')
      await ledger.passOnBudget(id, { id: budgetId(crypto, { scope, subject: key, span }), key }, now());
}

const keyJson = (key: ApiKey): unknown => ({
  id: key.id,
  customer: key.customer,
  service: key.customer === null,
  label: key.label,
  last4: key.last4,
  limits: key.limits ?? {},
  created_at: isoTime(key.createdAtMs),
  expires_at: isoTime(key.expiresAtMs ?? null),
  revoked_at: isoTime(key.revokedAtMs),
});

const isoTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
