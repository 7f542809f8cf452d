/** What is asked of Stripe for people: a preview of the next invoice, and new credit. */
import { Stripe } from 'stripe';
import { Refusal } from '../../errors.ts';
import { realDeadline, within } from './deadline.ts';
import type { Deadline } from './deadline.ts';

export interface InvoicePreview {
  readonly currency: string;
  /** Cents, or the currency's smallest unit. */
  readonly subtotal: number;
  readonly total: number;
  readonly amount_due: number;
  readonly period: { readonly start: string; readonly end: string };
  readonly lines: readonly { readonly description: string | null; readonly amount: number }[];
}

export interface CreditWanted {
  readonly customer: string;
  readonly cents: number;
  readonly category: 'paid' | 'promotional';
  readonly name?: string | undefined;
  readonly priority?: number | undefined;
  readonly expiresAtS?: number | undefined;
  /** The same key makes the same grant: Stripe keeps it for 24 hours. */
  readonly idempotencyKey: string;
}

export interface StripeMoney {
  /** Null where no invoice is coming. Throws a `Refusal`, 502, when Stripe gives no answer. */
  preview(customer: string): Promise<InvoicePreview | null>;
  /** The new grant's id. Throws a `Refusal` with Stripe's own words. */
  grant(wanted: CreditWanted): Promise<string>;
}

const ASK_MS = 8_000;
const LINES_SHOWN_MAX = 20;
/** Whoever asks again sooner gets the same preview: callers must not use up the account's requests. */
const PREVIEW_KEPT_MS = 15_000;
const PREVIEWS_KEPT_MAX = 1_000;

export function createStripeMoney(options: {
  readonly stripe: Stripe;
  readonly now: () => number;
  readonly deadline?: Deadline | undefined;
}): StripeMoney {
  const { stripe, now, deadline = realDeadline } = options;
  const kept = new Map<
    string,
    { readonly untilMs: number; readonly preview: Promise<InvoicePreview | null> }
  >();
  const ask = <T>(work: Promise<T>): Promise<T> => within(work, deadline(ASK_MS)).catch(refuse);
  const fresh = async (customer: string): Promise<InvoicePreview | null> => {
    const request = { timeout: ASK_MS, maxNetworkRetries: 0 };
    const invoice = await ask(
      stripe.invoices.createPreview({ customer }, request).catch((error: unknown) => {
        if (isNone(error)) return undefined;
        throw error;
      }),
    );
    if (invoice === undefined) return null;
    if (!isInvoice(invoice)) return refuse(new Error('what came back is no invoice.'));
    return previewOf(invoice);
  };
  return {
    preview(customer) {
      const known = kept.get(customer);
      const nowMs = now();
      // Not one that is good for longer than any: the clock was set back since.
      if (known !== undefined && known.untilMs > nowMs && known.untilMs <= nowMs + PREVIEW_KEPT_MS)
        return known.preview;
      if (kept.size >= PREVIEWS_KEPT_MAX) kept.clear();
      const preview = fresh(customer);
      kept.set(customer, { untilMs: nowMs + PREVIEW_KEPT_MS, preview });
      return preview;
    },
    async grant({ customer, cents, category, name, priority, expiresAtS, idempotencyKey }) {
      const made = await ask(
        stripe.billing.creditGrants.create(
          {
            customer,
            category,
            amount: { type: 'monetary', monetary: { currency: 'usd', value: cents } },
            applicability_config: { scope: { price_type: 'metered' } },
            ...(name === undefined ? {} : { name }),
            ...(priority === undefined ? {} : { priority }),
            ...(expiresAtS === undefined ? {} : { expires_at: expiresAtS }),
          },
          { timeout: ASK_MS, maxNetworkRetries: 1, idempotencyKey },
        ),
      );
      const { id } = (made ?? {}) as { id?: unknown };
      if (typeof id !== 'string' || !id.startsWith('credgr_'))
        return refuse(new Error('what came back is no credit grant.'));
      return id;
    },
  };
}

/**
 * No subscription, none with an invoice to come, or no previews in this account: nothing that the caller did is wrong, since
 * all that is asked with is his id.
 */
const isNone = (error: unknown): boolean =>
  error instanceof Stripe.errors.StripeError && (error.statusCode === 400 || error.statusCode === 404);

function refuse(error: unknown): never {
  const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
  const text = error instanceof Error ? error.message : String(error);
  if (status === 400 || status === 404) throw new Refusal('invalid_request', `Stripe refuses it: ${text}`);
  throw new Refusal('upstream_error', `Stripe gave no answer: ${text}`);
}

/** A proxy on the way may answer 200 with JSON of its own: all that is shown is looked at first. */
function isInvoice(answer: unknown): answer is Stripe.Invoice {
  const { currency, lines, ...invoice } = membersOf(answer);
  const numbers = [invoice['subtotal'], invoice['total'], invoice['amount_due']];
  const times = [invoice['period_start'], invoice['period_end']];
  const { data } = membersOf(lines);
  return (
    typeof currency === 'string' &&
    numbers.every(Number.isFinite) &&
    times.every(isTime) &&
    Array.isArray(data) &&
    data.every((line) => Number.isFinite(membersOf(line)['amount']))
  );
}

/** Seconds that JavaScript can write as a date. */
const isTime = (seconds: unknown): boolean =>
  Number.isSafeInteger(seconds) && !Number.isNaN(new Date(Number(seconds) * 1_000).getTime());

const membersOf = (value: unknown): Readonly<Record<string, unknown>> => ({ ...Object(value) });

const previewOf = (invoice: Stripe.Invoice): InvoicePreview => ({
  currency: invoice.currency,
  subtotal: invoice.subtotal,
  total: invoice.total,
  amount_due: invoice.amount_due,
  period: { start: isoTime(invoice.period_start), end: isoTime(invoice.period_end) },
  lines: invoice.lines.data
    .slice(0, LINES_SHOWN_MAX)
    .map(({ description, amount }) => ({ description, amount })),
});

const isoTime = (seconds: number): string => new Date(seconds * 1_000).toISOString();
