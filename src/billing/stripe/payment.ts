/** Whether a payment is missing, read off subscriptions and invoices as they stand. Pure. */
import type { SubscriptionReading } from '../../ledger/accounts-port.ts';

export interface SubscriptionState {
  readonly id: string;
  readonly status: string;
  readonly created?: number | null | undefined;
  readonly canceled_at?: number | null | undefined;
  readonly ended_at?: number | null | undefined;
  readonly latest_invoice?: unknown;
  readonly items?: {
    readonly data?:
      | readonly {
          readonly current_period_start?: number | null | undefined;
          readonly current_period_end?: number | null | undefined;
        }[]
      | undefined;
  };
  /** Before API version 2025-03-31 the period stood here. */
  readonly current_period_start?: number | null | undefined;
  readonly current_period_end?: number | null | undefined;
}

export interface InvoiceState {
  readonly id?: string | null | undefined;
  readonly status?: string | null | undefined;
  readonly attempt_count?: number | null | undefined;
  readonly due_date?: number | null | undefined;
  readonly created?: number | null | undefined;
}

export type Payment = Pick<SubscriptionReading, 'subscription' | 'paymentBlock' | 'period'>;

/** A subscription in one of these is paid for, or not due yet. */
const PAID: ReadonlySet<string> = new Set(['active', 'trialing']);
/** In these an invoice is open: once it is paid, nothing is missing. */
const OWING: ReadonlySet<string> = new Set(['past_due', 'unpaid']);
export const isPaid = (status: string): boolean => PAID.has(status);
/** Whether a subscription in this state has an invoice that is to be paid. */
export const isOwing = (status: string): boolean => OWING.has(status);
/** Not begun: Stripe waits for the first payment, for 23 hours. */
const PENDING = 'incomplete';
export const isPending = (status: string): boolean => status === PENDING;
/** Never paid, so never in force: it says nothing of what another one owes. */
const NOT_BEGUN: ReadonlySet<string> = new Set([PENDING, 'incomplete_expired']);

/**
 * One paid subscription is enough. Without any, the state of the latest that was in force blocks, `graceMs` after the
 * payment was missing: past due and unpaid until the invoice in question is paid; canceled and paused until a
 * subscription is active.
 */
export function paymentOf(
  subscriptions: readonly SubscriptionState[],
  invoices: readonly InvoiceState[],
  graceMs: number,
): Payment {
  const newestFirst = [...subscriptions].sort((a, b) => (b.created ?? 0) - (a.created ?? 0));
  const chosen =
    newestFirst.find(({ status }) => PAID.has(status)) ??
    newestFirst.find(({ status }) => !NOT_BEGUN.has(status)) ??
    newestFirst[0];
  if (chosen === undefined) return { subscription: null, paymentBlock: null, period: null };
  const blocks = !PAID.has(chosen.status) && !isPending(chosen.status) && !isSettled(chosen, invoices);
  const since = blocks ? missingSince(chosen, invoices) : 0;
  return {
    subscription: { id: chosen.id, state: chosen.status },
    paymentBlock: blocks ? { atMs: since * 1_000 + graceMs, why: `subscription ${chosen.status}` } : null,
    period: periodOf(chosen),
  };
}

const invoiceId = (latest: unknown): string | undefined => {
  if (typeof latest === 'string') return latest;
  return typeof latest === 'object' && latest !== null && 'id' in latest ? String(latest.id) : undefined;
};

const questioned = (
  { latest_invoice: latest }: SubscriptionState,
  invoices: readonly InvoiceState[],
): InvoiceState | undefined => {
  const id = invoiceId(latest);
  // Where Stripe does not name it, the newest that asks for anything.
  return invoices.find((invoice) => (id === undefined ? invoice.status !== 'draft' : invoice.id === id));
};

/** Whether the invoice that made the subscription owe is paid, while Stripe has not yet said that it is active. */
const isSettled = (subscription: SubscriptionState, invoices: readonly InvoiceState[]): boolean =>
  OWING.has(subscription.status) && questioned(subscription, invoices)?.status === 'paid';

/** Seconds: when it ended, when the invoice in question was made, or when the period began. */
function missingSince(subscription: SubscriptionState, invoices: readonly InvoiceState[]): number {
  if (!OWING.has(subscription.status))
    return subscription.ended_at ?? subscription.canceled_at ?? subscription.created ?? 0;
  const invoice = questioned(subscription, invoices);
  if (invoice?.status === 'open') return invoice.due_date ?? invoice.created ?? 0;
  return (periodOf(subscription)?.startMs ?? 0) / 1_000;
}

/** Seconds; of several items, which may have periods of their own, the latest. */
export function periodStart(subscription: SubscriptionState): number | undefined {
  const starts = [subscription, ...itemsOf(subscription)].flatMap(({ current_period_start: start }) =>
    typeof start === 'number' && Number.isSafeInteger(start) ? [start] : [],
  );
  return starts.length === 0 ? undefined : Math.max(...starts);
}

function periodOf(subscription: SubscriptionState): Payment['period'] {
  const [item] = itemsOf(subscription);
  const start = item?.current_period_start ?? subscription.current_period_start;
  const end = item?.current_period_end ?? subscription.current_period_end;
  const isKnown = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  return isKnown ? { startMs: Number(start) * 1_000, endMs: Number(end) * 1_000 } : null;
}

/** Events are read as they come: what is no item is none. */
const itemsOf = ({ items }: SubscriptionState): readonly Partial<SubscriptionState>[] => {
  const data: unknown = items?.data;
  return (Array.isArray(data) ? data : []).filter(
    (item: unknown) => typeof item === 'object' && item !== null,
  );
};
