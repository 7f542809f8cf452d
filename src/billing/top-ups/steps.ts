/**
 * A purchase of credit, step by step. Each step is on record before the next is taken, and a request to Stripe is on record
 * as perhaps made before it is made. So whoever goes on after a crash looks first, and asks again under the same key:
 * nobody is charged twice, and nobody who was charged goes without his credit.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { TopUp } from '../../ledger/top-ups.ts';
import type { Runtime } from '../../runtime.ts';
import type { Asked, StripePayments } from './payments.ts';
import { grantFact } from '../stripe/reading.ts';
import type { Stripe } from 'stripe';

export interface StepsOptions {
  readonly ledger: Pick<Ledger, 'saveTopUp' | 'recordGrants' | 'wantReading'>;
  readonly payments: StripePayments;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  /** Told before the end is on record, and told again if it could not be recorded. */
  readonly ending: (topUp: TopUp) => Promise<void>;
}

/** Takes a purchase as far as it goes now. What Stripe does not answer is tried again later; the ledger's failures reject. */
export type Advance = (topUp: TopUp) => Promise<void>;

/** Charging, then its grant, take five. */
const STEPS_MAX = 12;
const RETRY_MS_FIRST = 2_000;
/** Who has paid waits for his credit. */
const GRANT_RETRY_MS_MAX = 60_000;
const CHARGE_RETRY_MS_MAX = 3_600_000;
/** An open checkout is looked at so often: with a lost webhook the credit comes within a minute all the same. */
const LOOK_MS = 45_000;
/** A charge that was not begun while the gateway was down is no longer wanted. */
const STALE_MS = 3_600_000;
/** So young, a row that says nothing of a request has none behind it. */
const FRESH_MS = 60_000;
/** Stripe remembers an idempotency key for 24 hours: after that a charge that nobody found is not repeated. */
const UNSURE_MS = 82_800_000;
/** A payment by bank that has not come by then does not come. */
const UNPAID_MS_MAX = 2_592_000_000;

export function createAdvance(options: StepsOptions): Advance {
  const { ledger, runtime, ending } = options;
  const steps = { charging: charge, waiting: look, paid: grant } as const;
  const save = async (topUp: TopUp): Promise<TopUp> => {
    if (topUp.endedAtMs !== null) await ending(topUp);
    await ledger.saveTopUp(topUp);
    return topUp;
  };
  return async (given) => {
    let topUp = given;
    for (let step = 0; step < STEPS_MAX && isDue(topUp, runtime.now()); step += 1) {
      const { state } = topUp;
      if (state !== 'charging' && state !== 'waiting' && state !== 'paid') return;
      topUp = await save(await steps[state](topUp, { ...options, save }));
    }
  };
}

const isDue = ({ notBeforeMs }: TopUp, nowMs: number): boolean =>
  notBeforeMs !== null && notBeforeMs <= nowMs;

type Step = StepsOptions & { readonly save: (topUp: TopUp) => Promise<TopUp> };

async function charge(topUp: TopUp, { payments, runtime, save }: Step): Promise<TopUp> {
  const nowMs = runtime.now();
  if (topUp.paymentMethod === null) {
    if (nowMs - topUp.createdAtMs > STALE_MS)
      return failed(topUp, nowMs, { failure: 'too_late', message: 'The gateway was down.' });
    const method = await payments.method(topUp.customer);
    if (method.kind === 'unknown') return later(topUp, nowMs, method.message);
    if (method.kind === 'refused') return failed(topUp, nowMs, method);
    if (method.value !== null) return { ...topUp, paymentMethod: method.value };
    return failed(topUp, nowMs, {
      failure: 'no_payment_method',
      message: 'He has no default payment method.',
    });
  }
  if (mayBeDone(topUp, nowMs)) {
    const found = await payments.findCharge(topUp);
    if (found.kind !== 'done') return later(topUp, nowMs, found.message);
    if (found.value !== null) return charged(topUp, found.value, { payments, nowMs });
    if (nowMs - topUp.createdAtMs > UNSURE_MS)
      return failed(topUp, nowMs, { failure: 'unconfirmed', message: topUp.lastError ?? 'No answer.' });
  }
  const begun = await save(later(topUp, nowMs, topUp.lastError));
  const asked = await payments.charge(begun);
  if (asked.kind === 'done') return charged(begun, asked.value, { payments, nowMs: runtime.now() });
  if (asked.kind === 'unknown') return { ...begun, lastError: asked.message };
  if (asked.payment !== undefined) await payments.cancel(asked.payment);
  return failed({ ...begun, payment: asked.payment ?? null }, runtime.now(), asked);
}

type Charged = Extract<Awaited<ReturnType<StripePayments['charge']>>, { kind: 'done' }>['value'];

async function charged(
  topUp: TopUp,
  value: Charged,
  { payments, nowMs }: { payments: StripePayments; nowMs: number },
): Promise<TopUp> {
  const { payment } = value;
  if (value.kind === 'paid') return paid({ ...topUp, payment }, nowMs);
  if (value.kind !== 'failed') return { ...later(topUp, nowMs, 'The bank takes days.'), payment };
  await payments.cancel(payment);
  return failed({ ...topUp, payment }, nowMs, value);
}

/** Whether the customer has paid at his checkout. */
async function look(topUp: TopUp, { payments, runtime }: Step): Promise<TopUp> {
  const nowMs = runtime.now();
  const asked: Asked<Stripe.Checkout.Session | null> =
    topUp.payment === null ? await payments.findSession(topUp) : await payments.session(topUp.payment);
  if (asked.kind !== 'done') return later(topUp, nowMs, asked.message);
  const session = asked.value;
  if (session === null) {
    // The request that was to open it died before it did: nobody has its address.
    return nowMs - topUp.createdAtMs > STALE_MS ? ended(topUp, 'expired', nowMs) : later(topUp, nowMs, null);
  }
  const known = { ...topUp, payment: session.id, url: session.url ?? null };
  if (session.status === 'expired') return ended(known, 'expired', nowMs);
  if (session.payment_status !== 'paid') {
    // Complete and not paid: by a way that takes days. Stripe tells, and it is looked at every hour.
    const waitMs = session.status === 'complete' ? CHARGE_RETRY_MS_MAX : LOOK_MS;
    if (nowMs - topUp.createdAtMs > UNPAID_MS_MAX) return ended(known, 'expired', nowMs);
    return { ...known, notBeforeMs: nowMs + waitMs, lastError: null };
  }
  if (session.currency === 'usd' && session.amount_subtotal === topUp.cents) return paid(known, nowMs);
  const message = `${String(session.amount_subtotal)} ${String(session.currency)} was paid.`;
  return failed(known, nowMs, { failure: 'amount_differs', message });
}

async function grant(topUp: TopUp, { payments, ledger, runtime, save }: Step): Promise<TopUp> {
  const nowMs = runtime.now();
  let known: Stripe.Billing.CreditGrant | null = null;
  if (mayBeDone(topUp, nowMs)) {
    const found = await payments.findGrant(topUp);
    if (found.kind !== 'done') return later(topUp, nowMs, found.message);
    known = found.value;
  }
  if (known === null) {
    const begun = await save(later(topUp, nowMs, topUp.lastError));
    const asked = await payments.grant(begun);
    if (asked.kind !== 'done') {
      const fields = { top_up: topUp.id, customer: topUp.customer, error: asked.message };
      runtime.log('error', 'top_up_not_granted', { ...fields, payment: topUp.payment ?? '' });
      const isFault = asked.kind === 'unknown' && asked.isAnswered;
      return { ...begun, lastError: asked.message, grantTries: begun.grantTries + (isFault ? 1 : 0) };
    }
    known = asked.value;
  }
  const fact = grantFact(known, BigInt(known.amount.monetary?.value ?? 0));
  const { customer } = topUp;
  // As old as the grant itself: any reading of Stripe's since goes before it.
  await ledger.recordGrants({ customer, readAtMs: known.created * 1_000, grants: [fact] });
  await ledger.wantReading(customer, nowMs);
  return ended({ ...topUp, creditGrant: known.id }, 'granted', runtime.now());
}

/** It was asked for before; or by a ledger that was lost, of which this row came back from a backup. */
const mayBeDone = ({ attempts, createdAtMs }: TopUp, nowMs: number): boolean =>
  attempts > 0 || nowMs - createdAtMs > FRESH_MS;

const paid = (topUp: TopUp, nowMs: number): TopUp => ({
  ...topUp,
  state: 'paid',
  attempts: 0,
  paidAtMs: nowMs,
  lastError: null,
  notBeforeMs: nowMs,
});

function later(topUp: TopUp, nowMs: number, error: string | null): TopUp {
  const msMax = topUp.state === 'paid' ? GRANT_RETRY_MS_MAX : CHARGE_RETRY_MS_MAX;
  const waitMs = Math.min(msMax, RETRY_MS_FIRST * 2 ** Math.min(topUp.attempts, 20));
  return { ...topUp, attempts: topUp.attempts + 1, lastError: error, notBeforeMs: nowMs + waitMs };
}

const failed = (topUp: TopUp, nowMs: number, why: { failure: string; message: string }): TopUp => ({
  ...ended(topUp, 'failed', nowMs),
  failure: why.failure,
  lastError: why.message,
});

const ended = (topUp: TopUp, state: 'granted' | 'failed' | 'expired', nowMs: number): TopUp => ({
  ...topUp,
  state,
  url: null,
  endedAtMs: nowMs,
  notBeforeMs: null,
});
