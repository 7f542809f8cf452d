/**
 * Accounts as they were last seen, by customer and key: a key may have a budget of its own, so that the same customer is
 * guarded under one key and not under another.
 */
import type { Holder } from '../../ledger/ledger.ts';
import { createRecent } from '../../recent.ts';

export interface AccountMemory<A> {
  /** Null for who had none; undefined where nothing is remembered. */
  find(of: Holder): A | null | undefined;
  keep(of: Holder, account: A | null): void;
  /** The customer's further keys may be forgotten with his first. */
  forget(of: Holder): void;
}

/** `accountsMax` customers under one key each, and as many accounts again of customers under further keys. */
export function createAccountMemory<A>(accountsMax: number): AccountMemory<A> {
  // By the customer's id alone: a text that is made for a look-up must first be found among all texts of the engine.
  const first = createRecent<{ readonly keyId: string; readonly account: A | null }>(accountsMax);
  const further = createRecent<A | null>(accountsMax);
  return {
    find(of) {
      const known = first.get(of.customer);
      if (known === undefined || known.keyId === of.keyId) return known?.account;
      return further.get(nameOf(of));
    },
    keep(of, account) {
      const known = first.get(of.customer);
      if (known === undefined || known.keyId === of.keyId)
        first.set(of.customer, { keyId: of.keyId, account });
      else further.set(nameOf(of), account);
    },
    forget(of) {
      if (first.get(of.customer)?.keyId === of.keyId) first.delete(of.customer);
      else further.delete(nameOf(of));
    },
  };
}

const nameOf = ({ customer, keyId }: Holder): string => `${customer} ${keyId}`;
