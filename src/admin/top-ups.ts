/** The operator's routes about credit that customers buy, under `/admin/v1`; opened by `src/admin/admin.ts`. */
import { Hono } from 'hono';
import { z } from 'zod';
import { isoTime, usd } from '../billing/reads/money-json.ts';
import type { TopUpLinks } from '../billing/top-ups/links.ts';
import type { ToppingUp } from '../billing/top-ups/top-ups.ts';
import { Refusal } from '../errors.ts';
import type { NewTopUp, TopUp, TopUpRule } from '../ledger/top-ups.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { autoTopUp } from '../config/top-up.ts';
import { formatCents, parseCents } from '../usage/money.ts';
import { named, refused, sent } from './request.ts';

export interface TopUpAdminOptions {
  readonly ledger: Pick<Ledger, 'topUps' | 'topUpRule' | 'setTopUpRule'>;
  readonly topUps: Pick<ToppingUp, 'charge' | 'ruled' | 'touched'>;
  readonly links: Pick<TopUpLinks, 'checkout'>;
}

const ID = /^top_[0-9a-z]{26}$/;
const CENTS_MIN = 50;
const CENTS_MAX = 10_000_000;

const wantedSchema = z.strictObject({
  amount_usd: z.union([z.string(), z.number()]).optional(),
  charge: z.boolean().default(false),
});
const ruleSchema = z.strictObject({ rule: z.union([autoTopUp, z.null().transform(() => undefined)]) });

export function createTopUpRoutes({ ledger, topUps, links }: TopUpAdminOptions): Hono {
  const admin = new Hono();
  admin.get('/customers/:customer/top-ups', async (c) => {
    const customer = named(c.req.param('customer'));
    const { cursor, limit = '100' } = c.req.query();
    if (!/^\d{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > 1_000)
      throw refused('limit', 'limit must be a whole number from 1 to 1000.');
    if (cursor !== undefined && !ID.test(cursor))
      throw refused('cursor', '"cursor" must be what the page before said in next_cursor.');
    const page = await ledger.topUps(customer, { cursor, limit: Number(limit) });
    const rule = await ledger.topUpRule(customer);
    return c.json({ data: page.data.map(topUpJson), next_cursor: page.nextCursor, rule: ruleJson(rule) });
  });
  admin.post('/customers/:customer/top-ups', async (c) => {
    const customer = named(c.req.param('customer'));
    const { amount_usd: amount, charge } = await sent(c.req.raw, wantedSchema, {});
    if (!charge) {
      const opened = await links.checkout(customer, amount === undefined ? null : centsOf(amount));
      if (opened.kind === 'open')
        return c.json({ customer, url: opened.url, expires_at: isoTime(opened.expiresAtMs) }, 201);
      throw new Refusal(opened.kind === 'refused' ? 'invalid_request' : 'upstream_error', opened.message);
    }
    if (amount === undefined) throw refused('amount_usd', 'Say how much is to be charged.');
    const made = await topUps.charge(customer, centsOf(amount));
    if (made === undefined) throw refused('charge', `A charge of ${customer} is under way already.`);
    return c.json(newJson(made), 202);
  });
  admin.post('/customers/:customer/auto-top-up', async (c) => {
    const customer = named(c.req.param('customer'));
    const { rule } = await sent(c.req.raw, ruleSchema, {});
    const stored = rule == null ? rule : { ...rule, belowPico: rule.belowPico.toString() };
    await ledger.setTopUpRule(customer, stored);
    topUps.ruled();
    topUps.touched(customer);
    return c.json({ customer, rule: ruleJson(await ledger.topUpRule(customer)) });
  });
  return admin;
}

/** Null: as for his plan. */
const ruleJson = (rule: TopUpRule | null | undefined): object | string | null => {
  if (rule === undefined) return null;
  if (rule === null) return 'off';
  return {
    below_usd: usd(rule.belowPico),
    amount_usd: formatCents(rule.cents),
    max_per_day: rule.perDayMax,
    cool_down_seconds: rule.coolDownMs / 1_000,
  };
};

const newJson = ({ id, customer, kind, cents, createdAtMs }: NewTopUp): object => ({
  id,
  customer,
  kind,
  amount_usd: formatCents(cents),
  created_at: isoTime(createdAtMs),
});

const topUpJson = (topUp: TopUp): object => ({
  ...newJson(topUp),
  state: topUp.state,
  payment: topUp.payment,
  credit_grant: topUp.creditGrant,
  failure: topUp.failure,
  last_error: topUp.lastError,
  paid_at: isoTime(topUp.paidAtMs),
  ended_at: isoTime(topUp.endedAtMs),
});

function centsOf(amount: string | number): number {
  const cents = parseCents(String(amount)) ?? -1;
  if (cents >= CENTS_MIN && cents <= CENTS_MAX) return cents;
  throw refused('amount_usd', 'Credit is bought in whole cents, 0.50 to 100000.00 USD.');
}
