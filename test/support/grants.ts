import type { GrantFact } from '../../src/ledger/accounts-port.ts';

/** A paid grant as Stripe tells it: whole, in effect since ever, without an end. */
export const grantOf = (id: string, pico: bigint, more: Partial<GrantFact> = {}): GrantFact => ({
  id,
  name: null,
  category: 'paid',
  priority: 50,
  amountPico: String(pico),
  balancePico: String(pico),
  applies: true,
  effectiveAtMs: 0,
  expiresAtMs: null,
  createdAtMs: 0,
  voidedAtMs: null,
  ...more,
});
