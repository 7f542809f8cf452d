/**
 * Tells a key that may not send anything from events that it may not send. Stripe answers both with 403; the difference
 * is whether it takes other customers' events meanwhile.
 */

/** What a 403 means: this event is refused; its customer waits; or nothing can be sent with this key. */
export type Forbidden = 'event' | 'customer' | 'key';

export interface Permission {
  /** Stripe answered 403 to an event of this customer. */
  refused(customer: string, nowMs: number): Forbidden;
  /** Stripe decided on an event of this customer: the key works. */
  served(customer: string, nowMs: number): void;
  /** Whether the customer's last answer was a 403. */
  isSuspect(customer: string): boolean;
}

/** Remembered; past it the oldest goes. */
const SUSPECTS_MAX = 1_000;
/** An answer to someone else says that the key works for so long: permissions are changed by hand. */
const PROOF_MS = 60_000;

interface Served {
  readonly customer: string;
  /** Its place among all answers: several come within one millisecond. */
  readonly at: number;
  readonly atMs: number;
}

export function createPermission(): Permission {
  let answers = 0;
  /** By customer: the place of the first 403 since the customer was last served. */
  const suspects = new Map<string, number>();
  /** The last two customers served, newest first: one of them is another one. */
  let served: readonly Served[] = [];

  return {
    refused(customer, nowMs) {
      const at = (answers += 1);
      const other = served.find((one) => one.customer !== customer);
      const since = suspects.get(customer);
      const isProven = other !== undefined && nowMs - other.atMs <= PROOF_MS;
      if (since !== undefined && isProven && other.at > since) return 'event';
      if (since === undefined) suspects.set(customer, at);
      const oldest = suspects.size > SUSPECTS_MAX ? suspects.keys().next() : undefined;
      if (oldest?.done === false) suspects.delete(oldest.value);
      const isShared = [...suspects].some(([one, place]) => one !== customer && place > (other?.at ?? 0));
      return isShared ? 'key' : 'customer';
    },
    served(customer, nowMs) {
      suspects.delete(customer);
      const now = { customer, at: (answers += 1), atMs: nowMs };
      served = [now, ...served.filter((one) => one.customer !== customer)].slice(0, 2);
    },
    isSuspect: (customer) => suspects.has(customer),
  };
}
