/**
 * Accounts as they were last seen, by customer and, of each customer, by key: a key may have a budget of its own, so that
 * the same customer is guarded under one key and not under another.
 */
import type { Holder } from '../../ledger/ledger.ts';
import { createRecent } from '../../recent.ts';

export interface AccountMemory<A> {
  /** Null for who had none; undefined where nothing is remembered. */
  find(of: Holder): A | null | undefined;
  keep(of: Holder, account: A | null): void;
  forget(of: Holder): void;
}

/** Few customers are called for under more keys than one or two; past it the key that was learnt first is forgotten. */
const KEYS_MAX = 8;

export function createAccountMemory<A>(customersMax: number): AccountMemory<A> {
  // By the customer's id alone, which is a key of other maps too: to look a text up that was made for it costs more.
  const customers =
    createRecent<readonly { readonly keyId: string; readonly account: A | null }[]>(customersMax);
  const without = ({ customer, keyId }: Holder) =>
    customers.get(customer)?.filter((one) => one.keyId !== keyId) ?? [];
  return {
    find: ({ customer, keyId }) => customers.get(customer)?.find((one) => one.keyId === keyId)?.account,
    keep(of, account) {
      customers.set(of.customer, [...without(of).slice(1 - KEYS_MAX), { keyId: of.keyId, account }]);
    },
    forget(of) {
      const left = without(of);
      if (left.length === 0) customers.delete(of.customer);
      else customers.set(of.customer, left);
    },
  };
}
