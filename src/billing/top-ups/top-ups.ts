/**
 * Credit that customers buy: by a charge when their balance is low, by the operator's hand, or at a checkout of Stripe's.
 * All of it off the request path: a call only leaves word that a balance may have fallen.
 */
import type { Account } from '../../ledger/accounts-port.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import type { NewTopUp, TopUp } from '../../ledger/top-ups.ts';
import type { Crypto, Runtime } from '../../runtime.ts';
import { formatCents } from '../../usage/money.ts';
import { oneAtATime } from '../one-at-a-time.ts';
import { type Members, customerOf } from '../stripe/event.ts';
import { type StripePayments, TOP_UP_METADATA } from './payments.ts';
import { chargeDue, type TopUpDefaults } from './policy.ts';
import { createAdvance } from './steps.ts';

export interface TopUpsOptions {
  readonly ledger: Ledger;
  readonly payments: StripePayments;
  readonly defaults: TopUpDefaults;
  readonly runtime: Pick<Runtime, 'now' | 'id' | 'log' | 'defer' | 'after'>;
  readonly crypto: Pick<Crypto, 'sha256'>;
  /** Whether the operator is told. */
  readonly notifies: boolean;
  /** Told of a customer whose credit was granted, and who is to be read from Stripe. */
  readonly granted: (customer: string) => void;
}

export interface ToppingUp {
  /** The customer's balance may have fallen. Costs nothing where nobody is topped up by himself. */
  touched(customer: string): void;
  /** Charges, looks and grants what is due. Answers after how many milliseconds to come again; Infinity when nothing waits. */
  pass(): Promise<number>;
  /**
   * Stripe tells of a checkout session: it is looked at, at once. Resolves when that is on record. What the event says of
   * money is not believed: the session is read.
   */
  told(type: string, session: Members): Promise<'applied' | 'ignored'>;
  /** Charges the customer now, whatever his balance. Undefined: a charge is under way. */
  charge(customer: string, cents: number): Promise<NewTopUp | undefined>;
  /** A single customer's rule has changed. */
  ruled(): void;
  /** Nothing is begun any more; resolves when what is under way is over. */
  stop(): Promise<void>;
}

/** From a settlement to the look at the balance: settlements that come together are looked at together. */
const GATHER_MS = 250;
/** Between two passes, also where one purchase cannot be gone on with. */
const BETWEEN_MS_MIN = 1_000;
const TOUCHED_MAX = 10_000;
const BATCH_MAX = 32;
const PARALLEL_MAX = 4;
const ID = /^top_[0-9a-z]{26}$/;
/** The events of a session by which the money may have come. */
const PAID_TYPES: ReadonlySet<string> = new Set([
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
]);

export const isCheckoutType = (type: string): boolean =>
  PAID_TYPES.has(type) ||
  type === 'checkout.session.expired' ||
  type === 'checkout.session.async_payment_failed';

export function createToppingUp(options: TopUpsOptions): ToppingUp {
  const { ledger, runtime, defaults } = options;
  const touched = new Set<string>();
  const told = new Set<string>();
  const open = opener(options);
  const take = taker({ ...options, told, touched });
  let isOn: boolean | undefined = isAnyOn(defaults) ? true : undefined;
  let isPlanned = false;
  let isStopped = false;
  let running: Promise<unknown> = Promise.resolve();

  const once = oneAtATime(async (): Promise<number> => {
    isOn ??= await ledger.hasTopUpRules();
    for (const customer of touched) {
      touched.delete(customer);
      const due = isOn ? chargeDue(await standingOf(customer, options), defaults) : { why: 'it is off' };
      if ('cents' in due) await open({ customer, kind: 'auto', cents: due.cents });
    }
    await take();
    if (touched.size > 0) return GATHER_MS;
    const nextMs = await ledger.nextTopUpMs();
    return nextMs === undefined ? Infinity : Math.max(BETWEEN_MS_MIN, nextMs - runtime.now());
  });
  const pass = async (): Promise<number> => {
    if (isStopped) return Infinity;
    const going = once();
    running = going.catch(() => undefined);
    return going;
  };
  const soon = (): void => {
    if (isPlanned) return;
    isPlanned = true;
    runtime.after(GATHER_MS, () => {
      isPlanned = false;
      runtime.defer(pass());
    });
  };
  return {
    touched(customer) {
      if (isOn === false || touched.size >= TOUCHED_MAX) return;
      touched.add(customer);
      soon();
    },
    pass,
    async told(type, session) {
      const id = idOf(session);
      const customer = customerOf(session);
      if (id === null || customer === null) return 'ignored';
      const isKnown = await ledger.hastenTopUp(id, runtime.now());
      if (!isKnown && PAID_TYPES.has(type)) await adopt({ id, customer, session }, options);
      told.add(id);
      runtime.defer(pass());
      return 'applied';
    },
    async charge(customer, cents) {
      const topUp = await open({ customer, kind: 'operator', cents });
      if (topUp !== undefined) runtime.defer(pass());
      return topUp;
    },
    ruled: () => void (isOn = isAnyOn(defaults) ? true : undefined),
    async stop() {
      isStopped = true;
      await running;
    },
  };
}

/** Puts a purchase on record; undefined where a charge of the customer's is under way. */
const opener =
  ({ ledger, runtime }: Pick<TopUpsOptions, 'ledger' | 'runtime'>) =>
  async (wanted: Pick<NewTopUp, 'customer' | 'kind' | 'cents'>): Promise<NewTopUp | undefined> => {
    const topUp = { ...wanted, id: `top_${runtime.id()}`, createdAtMs: runtime.now() };
    if (!(await ledger.openTopUp(topUp))) return undefined;
    const { id, customer, kind, cents } = topUp;
    runtime.log('info', 'top_up', { top_up: id, customer, kind, cents });
    return topUp;
  };

/** Goes on with every purchase whose time has come, and with those that Stripe told of while they were being looked at. */
function taker(
  options: TopUpsOptions & { readonly told: Set<string>; readonly touched: Set<string> },
): () => Promise<void> {
  const { ledger, runtime, told, touched } = options;
  const advance = createAdvance({ ...options, ending: (topUp) => tell(topUp, options) });
  const takeOne = async (topUp: TopUp): Promise<void> => {
    try {
      await advance(topUp);
    } catch (error) {
      // One that cannot be gone on with must not keep the others waiting; it is tried again.
      runtime.log('error', 'top_up_step_failed', { top_up: topUp.id, error: String(error) });
      return;
    }
    const after = await ledger.topUp(topUp.id);
    if (after?.state !== 'granted') return;
    options.granted(after.customer);
    touched.add(after.customer);
  };
  return async () => {
    const due = [...(await ledger.dueTopUps(runtime.now(), BATCH_MAX))];
    for (const id of told) {
      told.delete(id);
      const topUp = due.some((one) => one.id === id) ? undefined : await ledger.topUp(id);
      if (topUp !== undefined && topUp.endedAtMs === null) due.push({ ...topUp, notBeforeMs: runtime.now() });
    }
    const next = async (): Promise<void> => {
      for (let one = due.shift(); one !== undefined; one = due.shift()) await takeOne(one);
    };
    await Promise.all(Array.from({ length: PARALLEL_MAX }, next));
  };
}

const isAnyOn = ({ autoTopUp, plans }: TopUpDefaults): boolean =>
  autoTopUp !== null || [...plans.values()].some((plan) => (plan.autoTopUp ?? null) !== null);

async function standingOf(customer: string, { ledger, runtime }: TopUpsOptions) {
  const nowMs = runtime.now();
  const [account, balance, row, own, recent] = await Promise.all([
    ledger.account(customer),
    ledger.balance(customer, nowMs),
    ledger.customerRow(customer),
    ledger.topUpRule(customer),
    ledger.recentTopUps(customer),
  ]);
  const leftPico = BigInt(balance.creditPico) - BigInt(balance.overdrawnPico);
  const isStopped = row.missing || row.alerts.length > 0;
  const known: Account | undefined = account;
  return { customer, account: known, leftPico, isStopped, own, recent, nowMs };
}

function idOf({ metadata }: Members): string | null {
  const named =
    typeof metadata === 'object' && metadata !== null && TOP_UP_METADATA in metadata
      ? metadata[TOP_UP_METADATA]
      : null;
  return typeof named === 'string' && ID.test(named) ? named : null;
}

/** A session of ours that this ledger does not know, as after a backup was put back: it is taken up, and then read. */
async function adopt(
  { id, customer, session }: { id: string; customer: string; session: Members },
  { ledger, runtime }: Pick<TopUpsOptions, 'ledger' | 'runtime'>,
): Promise<void> {
  const { amount_subtotal: cents, id: payment } = session;
  if (typeof cents !== 'number' || !Number.isSafeInteger(cents) || cents <= 0 || typeof payment !== 'string')
    return;
  const isNew = await ledger.openTopUp({ id, customer, kind: 'link', cents, createdAtMs: runtime.now() });
  if (isNew) runtime.log('warn', 'top_up_adopted', { top_up: id, customer, payment });
}

/** The notice of how it ended; its id is the end's, so that it is told once. A link that nobody used is no news. */
async function tell(
  topUp: TopUp,
  { ledger, runtime, crypto, notifies }: Pick<TopUpsOptions, 'ledger' | 'runtime' | 'crypto' | 'notifies'>,
): Promise<void> {
  const { id, customer, state, failure, lastError } = topUp;
  const fields = { top_up: id, customer, kind: topUp.kind, cents: topUp.cents };
  if (state === 'failed')
    runtime.log('warn', 'top_up_failed', { ...fields, failure, error: lastError ?? '' });
  if (!notifies || (state !== 'failed' && state !== 'granted')) return;
  const type = state === 'granted' ? 'top_up.succeeded' : 'top_up.failed';
  const nowMs = runtime.now();
  const data = {
    customer,
    top_up: id,
    kind: topUp.kind,
    amount_usd: formatCents(topUp.cents),
    payment: topUp.payment,
    ...(state === 'granted' ? { credit_grant: topUp.creditGrant } : { failure, message: lastError }),
  };
  const body = JSON.stringify({ type, timestamp: new Date(nowMs).toISOString(), data });
  const notice = {
    id: `msg_${crypto.sha256(JSON.stringify([id, state])).slice(0, 32)}`,
    type,
    customer,
    body,
  };
  await ledger.addNotices(customer, { notices: [notice], levels: [] }, nowMs);
}
