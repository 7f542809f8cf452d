/**
 * Keeps what is on record of customers' money as Stripe has it. Whoever has news asks for a customer to be read; that is
 * on record until a reading that began later is, so a failure is tried again and a crash forgets nothing.
 */
import { BALANCE_PICO_MAX } from '../../ledger/accounts.ts';
import { type Ledger, LedgerUnavailable } from '../../ledger/ledger.ts';
import type { Readings } from '../../ledger/readings.ts';
import type { Runtime } from '../../runtime.ts';
import { oneAtATime } from '../one-at-a-time.ts';
import { createHints, type Hint, recordTold, trusted } from './hints.ts';
import { StripeUnreachable } from '../ports.ts';
import type { CustomerReading, StripeReader } from './reading.ts';

export interface RefresherOptions {
  readonly ledger: Pick<Ledger, 'account' | 'recordGrants' | 'recordSubscription'> & Readings;
  readonly reader: StripeReader;
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'defer'>;
  readonly graceMs: number;
  /** Told when a reading is on record. */
  readonly changed?: ((customer: string) => void) | undefined;
}

export interface Refresher {
  /** A webhook about the customer was recorded, and with it that he is to be read: at once. */
  told(customer: string, hint?: Hint): void;
  /** Reads whoever is due. Answers after how many milliseconds the next is; undefined when nobody is wanted. */
  pass(): Promise<number | undefined>;
  /**
   * He was refused for his credit or his subscription: he is read again, so that a webhook which never comes keeps nobody
   * out, at most every 30 s.
   */
  doubted(customer: string): void;
  /**
   * A customer is seen for the first time: what Stripe has of him is recorded before he is served.
   *
   * @throws {StripeUnreachable} when it could not be read in time; it is read later.
   */
  first(customer: string): Promise<void>;
}

/** Customers read at a time: Stripe's sandbox takes 25 requests a second, and a reading is five or more. */
const PARALLEL_MAX = 4;
const BATCH_MAX = 64;
const BACKOFF_MS_FIRST = 1_000;
const BACKOFF_MS_MAX = 30_000;
/** A call waits for a customer's first reading, so it is short: the contract's limit. */
const FIRST_MS = 2_000;
const DOUBTED_MS = 30_000;
const DOUBTS_MAX = 10_000;

export function createRefresher(options: RefresherOptions): Refresher {
  const { ledger, reader, runtime, graceMs, changed } = options;
  const hints = createHints();
  const doubts = new Map<string, number>();

  const refresh = async (customer: string, attempts: number): Promise<void> => {
    const beganAtMs = runtime.now();
    const told = hints.of(customer);
    try {
      const read = await reader.read(customer).catch(async (error: unknown) => {
        if (error instanceof StripeUnreachable)
          await recordTold(ledger, { customer, told, reading: NOTHING, graceMs });
        throw error;
      });
      const reading = trusted(read, told, await ledger.account(customer));
      await record(options, { customer, reading, readAtMs: beganAtMs });
      await recordTold(ledger, { customer, told, reading, graceMs });
      await ledger.readingDone(customer, beganAtMs);
      changed?.(customer);
      if (reading.payment !== undefined) hints.forget(customer, told);
    } catch (error) {
      if (error instanceof LedgerUnavailable) throw error;
      const waitMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** Math.min(attempts, 10));
      await ledger.readingFailed(customer, runtime.now() + waitMs, textOf(error));
      tellFailed(runtime, { customer, attempts: attempts + 1, error });
    }
  };
  const passOnce = async (): Promise<number | undefined> => {
    const due = [...(await ledger.dueReadings(runtime.now(), BATCH_MAX))];
    const next = async (): Promise<void> => {
      for (let one = due.shift(); one !== undefined; one = due.shift())
        await refresh(one.customer, one.attempts);
    };
    await Promise.all(Array.from({ length: PARALLEL_MAX }, next));
    const nextMs = await ledger.nextReadingMs();
    return nextMs === undefined ? undefined : Math.max(0, nextMs - runtime.now());
  };
  const pass = oneAtATime(passOnce);
  return {
    told(customer, hint) {
      if (hint !== undefined) hints.add(customer, hint);
      runtime.defer(pass());
    },
    pass,
    doubted(customer) {
      const nowMs = runtime.now();
      const ageMs = nowMs - (doubts.get(customer) ?? -Infinity);
      // Below 0 the clock was set back since: he would else be doubted in vain until it is there again.
      if (ageMs >= 0 && ageMs < DOUBTED_MS) return;
      if (doubts.size >= DOUBTS_MAX) doubts.clear();
      doubts.set(customer, nowMs);
      runtime.defer(ledger.wantReading(customer, nowMs).then(pass));
    },
    async first(customer) {
      const beganAtMs = runtime.now();
      try {
        const read = await reader.read(customer, FIRST_MS);
        const reading = trusted(read, hints.of(customer), await ledger.account(customer));
        await record(options, { customer, reading, readAtMs: beganAtMs });
      } catch (error) {
        if (error instanceof LedgerUnavailable) throw error;
        await ledger.wantReading(customer, runtime.now());
        tellFailed(runtime, { customer, attempts: 1, error });
        // Also where the trouble is our own: who cannot be counted is not served unwatched.
        throw error instanceof StripeUnreachable
          ? error
          : new StripeUnreachable(textOf(error), { cause: error });
      }
    },
  };
}

const NOTHING: CustomerReading = { credit: undefined, payment: undefined };

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** That Stripe gave no answer passes; anything else somebody must look at. Either way it is this one customer's. */
function tellFailed(
  runtime: Pick<Runtime, 'log'>,
  { customer, attempts, error }: { customer: string; attempts: number; error: unknown },
): void {
  const level = error instanceof StripeUnreachable ? 'warn' : 'error';
  runtime.log(level, 'stripe_reading_failed', { customer, attempts, error: textOf(error) });
}

/** An account is made only for who has something to watch: grants, or a subscription. */
async function record(
  { ledger, runtime }: Pick<RefresherOptions, 'ledger' | 'runtime'>,
  { customer, reading, readAtMs }: { customer: string; reading: CustomerReading; readAtMs: number },
): Promise<void> {
  const { credit, payment } = reading;
  const isWatched =
    (credit?.grants.length ?? 0) > 0 ||
    (payment?.subscription ?? null) !== null ||
    (await ledger.account(customer)) !== undefined;
  if (!isWatched) return;
  if (credit !== undefined) {
    await ledger.recordGrants({ customer, readAtMs, ...credit });
    const pico = credit.grants.reduce((sum, { balancePico }) => sum + BigInt(balancePico), 0n);
    if (pico > BALANCE_PICO_MAX)
      runtime.log('error', 'credit_over_bound', {
        customer,
        pico: String(pico),
        counted: String(BALANCE_PICO_MAX),
      });
  }
  if (payment === undefined) return;
  const { subscription, paymentBlock, period } = payment;
  await ledger.recordSubscription({ customer, readAtMs, subscription, paymentBlock, period });
}
