/** Who may be billed: Stripe is asked once about each customer, and the answer remembered. */
import type { Ledger } from '../../ledger/ledger.ts';
import { createRecent } from '../../recent.ts';
import type { Runtime } from '../../runtime.ts';
import { StripeUnreachable } from '../ports.ts';
import type { StripeAccount } from '../ports.ts';

export interface CustomersOptions {
  readonly ledger: Pick<Ledger, 'customer' | 'rememberCustomer'>;
  readonly account: Pick<StripeAccount, 'customerExists'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  /** Reads what Stripe has of a new customer's money, before he is served; no call waits longer for it than for him. */
  readonly first?: ((customer: string) => Promise<void>) | undefined;
  /** What becomes of a new customer while Stripe cannot say. */
  readonly whenUnknown: 'refuse' | 'allow';
}

export type Verdict = 'known' | 'missing' | 'unverified';

export interface Customers {
  /**
   * Waits for Stripe only at the first sight of a customer, 2 s at most. `unverified` means that Stripe could not say and
   * the configuration refuses. Throws `LedgerUnavailable`.
   */
  verify(customer: string): Verdict | Promise<Verdict>;
  /** Stripe deleted the customer: missing from now on, whatever a look-up under way answers. */
  deleted(customer: string): void;
}

/** About 100 bytes each; past it the longest unused goes, and the ledger answers for it. */
const REMEMBERED_MAX = 50_000;
/** A customer made in Stripe just after the first call is served after this long. */
const MISSING_MS = 600_000;
/** While Stripe is down and unknown customers are allowed, not every call may wait 2 s. */
const ALLOWED_MS = 30_000;

interface Memory {
  readonly verdict: 'known' | 'missing';
  readonly sinceMs: number;
  readonly forMs: number;
}

export function createCustomers({
  ledger,
  account,
  runtime,
  whenUnknown,
  first,
}: CustomersOptions): Customers {
  const memory = createRecent<Memory>(REMEMBERED_MAX);
  const underWay = new Map<string, Promise<Verdict>>();

  const recall = (customer: string): Verdict | undefined => {
    const entry = memory.get(customer);
    if (entry === undefined || entry.forMs === Infinity) return entry?.verdict;
    // A clock that was set back makes the age negative: then it is not known, and who is remembered is asked for again.
    const ageMs = runtime.now() - entry.sinceMs;
    return ageMs >= 0 && ageMs < entry.forMs ? entry.verdict : undefined;
  };
  const learn = (customer: string, verdict: 'known' | 'missing', forMs = Infinity): Verdict => {
    const sooner = recall(customer);
    if (sooner === 'missing') return sooner;
    memory.set(customer, { verdict, sinceMs: runtime.now(), forMs });
    return verdict;
  };

  const lookUp = async (customer: string): Promise<Verdict> => {
    const recorded = await ledger.customer(customer);
    if (recorded !== undefined)
      return learn(customer, recorded, recorded === 'missing' ? MISSING_MS : Infinity);
    try {
      // Read beside the look-up, for time; what came of it matters only of who exists.
      const reading = first?.(customer).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      // Only who exists is written down: a customer may yet be made under an id that was asked for too early.
      if (!(await account.customerExists(customer))) return learn(customer, 'missing', MISSING_MS);
      const failure = await reading;
      if (failure !== undefined) throw failure.error;
      await ledger.rememberCustomer(customer, 'known', runtime.now());
      return learn(customer, 'known');
    } catch (error) {
      if (!(error instanceof StripeUnreachable)) throw error;
      runtime.log('warn', 'customer_unverified', {
        customer,
        served: whenUnknown === 'allow',
        error: error.message,
      });
      return whenUnknown === 'allow' ? learn(customer, 'known', ALLOWED_MS) : 'unverified';
    }
  };

  return {
    verify(customer) {
      const recalled = recall(customer);
      if (recalled !== undefined) return recalled;
      let looking = underWay.get(customer);
      if (looking === undefined) {
        looking = lookUp(customer).finally(() => underWay.delete(customer));
        underWay.set(customer, looking);
      }
      return looking;
    },
    deleted(customer) {
      memory.set(customer, { verdict: 'missing', sinceMs: 0, forMs: Infinity });
    },
  };
}
