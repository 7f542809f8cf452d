/** The part of the configuration's schema about credit that customers buy: by themselves, or when it runs low. */
import { z } from 'zod';
import { parseCents } from '../usage/money.ts';
import { PICO_DIGITS, parseDecimal } from './decimal.ts';
import { duration } from './duration.ts';

/** Stripe charges a card from 50 cents on. */
const CENTS_MIN = 50;
/** A slip of the pen is not to charge anybody a fortune; who sells more at once sends an invoice. */
const CENTS_MAX = 10_000_000;
/** One an hour and a half: past this the amount is too small, not the number. */
const PER_DAY_MAX = 16;
const COOL_DOWN_MS_MIN = 60_000;
const COOL_DOWN_MS_MAX = 604_800_000;

const AMOUNT = 'must be an amount in USD of whole cents, 0.50 to 100000.00, such as "10.00"';
const cents = z
  .union([z.string(), z.number()], { error: AMOUNT })
  .transform((value) => parseCents(String(value)) ?? -1)
  .refine((value) => value >= CENTS_MIN && value <= CENTS_MAX, { error: AMOUNT });

const BELOW = 'must be an amount in USD, such as "2.00"';
const below = z
  .union([z.string(), z.number().nonnegative({ error: BELOW })], { error: BELOW })
  .transform((value) => parseDecimal(String(value), PICO_DIGITS) ?? -1n)
  .refine((value) => value >= 0n, { error: BELOW });

const perDay = z
  .int({ error: `must be a whole number from 1 to ${String(PER_DAY_MAX)}` })
  .min(1, { error: 'must be 1 or more' })
  .max(PER_DAY_MAX, { error: `must be ${String(PER_DAY_MAX)} or less` });

const rule = z
  .strictObject({
    below,
    amount: cents,
    max_per_day: perDay.default(3),
    cool_down: duration(COOL_DOWN_MS_MIN, COOL_DOWN_MS_MAX, '1m to 7d').prefault('1h'),
  })
  .transform(({ below: belowPico, amount, max_per_day: perDayMax, cool_down: coolDownMs }) => ({
    belowPico,
    cents: amount,
    perDayMax,
    coolDownMs,
  }));

/** Null: off. */
export const autoTopUp = z.union([z.literal('off').transform(() => null), rule], {
  error: 'must be off or { below: "2.00", amount: "10.00", max_per_day: 3, cool_down: 1h }',
});
export type AutoTopUp = NonNullable<z.output<typeof autoTopUp>>;

const page = z.url({ protocol: /^https?$/, error: 'must be an http(s) address' }).nullable();

export const topUpLink = z
  .strictObject({
    base_url: page
      .default(null)
      .describe("This gateway as customers reach it: turns the links on. They lead to Stripe's checkout."),
    amount: cents.prefault('10.00').describe('What a link buys unless it says otherwise.'),
    amount_max: cents.prefault('500.00').describe('What ?amount= may say at most.'),
    return_url: page.default(null).describe('Where the customer comes out; null is a page of the gateway.'),
  })
  .refine(({ amount, amount_max: max }) => amount <= max, {
    path: ['amount'],
    error: 'must be at most amount_max',
  });

/** What is said where both are on. */
export const NOT_WITH_OVERAGE =
  'is not for customers on overage: their usage goes to the invoice, so the balance says nothing. Leave one of the two out';
