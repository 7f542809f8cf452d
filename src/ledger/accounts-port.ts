/**
 * What the ledger knows of customers' money, beside the calls: accounts, credit grants, local budgets. The tables and
 * their words are in migrations/004-budgets.ts. Money is picodollars as decimal text; times are milliseconds.
 */

import type { Holder } from './ledger.ts';

export type BudgetMode = 'strict' | 'standard' | 'observe';

/** What may be set for one customer; null falls back to the plan, then to the configuration. */
export interface AccountSettings {
  readonly plan: string | null;
  readonly mode: BudgetMode | null;
  readonly onEmpty: 'block' | 'overage' | 'grace' | null;
  /** With `onEmpty: 'grace'`: how far below nothing the balance may go. */
  readonly gracePico: string | null;
  readonly noCredit: 'serve' | 'refuse' | null;
}

export interface Account extends AccountSettings {
  readonly customer: string;
  /** Rises with every change of the account that is no mere spending. */
  readonly version: number;
  readonly hasHadGrant: boolean;
  readonly frozen: { readonly atMs: number; readonly why: string } | null;
  /** Refused as `subscription_inactive` from then on; grace has been added. */
  readonly paymentBlock: { readonly atMs: number; readonly why: string } | null;
  readonly subscription: { readonly id: string; readonly state: string } | null;
  readonly period: { readonly startMs: number; readonly endMs: number } | null;
  /** Usage that ended before is on a finalised invoice. */
  readonly finalisedThroughMs: number;
  /** Rated since then. */
  readonly unbilledPico: string;
  /** The part of it that no grant covers, of the time after the first grant. */
  readonly overdrawnPico: string;
  /** What Stripe last said; null before it was asked. Never decides an admission. */
  readonly stripe: {
    readonly availablePico: string;
    readonly ledgerPico: string;
    readonly readAtMs: number;
  } | null;
}

/** A credit grant as Stripe has it. */
export interface GrantFact {
  readonly id: string;
  readonly name: string | null;
  readonly category: 'paid' | 'promotional';
  /** 0 is burned first, 100 last. */
  readonly priority: number;
  readonly amountPico: string;
  /** What finalised invoices have left of it, by Stripe. */
  readonly balancePico: string;
  /** Whether it pays for tokens: metered prices or ours, in USD. */
  readonly applies: boolean;
  readonly effectiveAtMs: number;
  readonly expiresAtMs: number | null;
  readonly createdAtMs: number;
  readonly voidedAtMs: number | null;
}
export interface Grant extends GrantFact {
  readonly customer: string;
  /** Burned by usage that is on no finalised invoice yet. */
  readonly burnedPico: string;
}

/** One reading of a customer's grants from Stripe. Grants it does not name stay as they are. */
export interface GrantsReading {
  readonly customer: string;
  /** When Stripe was asked. What an earlier answer says of a grant never replaces what a later one said. */
  readonly readAtMs: number;
  readonly grants: readonly GrantFact[];
  /**
   * The latest finalised invoice's `period_end` that these balances already account for. Give both together: balances
   * fall when an invoice is finalised, and the burns it accounts for must go with them in one step. It never goes back.
   */
  readonly finalisedThroughMs?: number | undefined;
  /** Stripe's own sums, for the operator. */
  readonly availablePico?: string | undefined;
  readonly ledgerPico?: string | undefined;
}

export interface SubscriptionReading {
  readonly customer: string;
  readonly readAtMs: number;
  /** Null: he has none. */
  readonly subscription: { readonly id: string; readonly state: string } | null;
  /** Null lifts the block. */
  readonly paymentBlock: { readonly atMs: number; readonly why: string } | null;
  readonly period: { readonly startMs: number; readonly endMs: number } | null;
}

export type BudgetSpan = 'day' | 'week' | 'month' | 'period' | 'total';
export interface Budget {
  readonly id: string;
  /** A customer's budget, or an API key's over all customers it acts for. */
  readonly scope: 'customer' | 'key';
  readonly subject: string;
  /** Day, week (from Monday) and month are UTC; `period` is the subscription's and a customer's only. */
  readonly span: BudgetSpan;
  readonly limitPico: string;
}
export interface BudgetView extends Budget {
  readonly spentPico: string;
  readonly windowStartMs: number;
  /** When it starts over; null for `total`. */
  readonly resetsAtMs: number | null;
}

/** A customer's money at one moment. */
export interface Balance {
  /** Left of the grants in effect. */
  readonly creditPico: string;
  /** What running calls may still cost. */
  readonly heldPico: string;
  readonly overdrawnPico: string;
  /** Credit less overdrawn less held: what a new call may cost. May be below zero. */
  readonly availablePico: string;
  /** All grants known, in the order they burn. */
  readonly grants: readonly Grant[];
}

/** What a call of a guarded customer is opened under: the outcome of judging his account, to be compared and recorded. */
export interface Guard {
  /** The moment that grants and windows are judged by. */
  readonly nowMs: number;
  /**
   * Of the account that was judged, as an admission told it; 0 where there was none. An admission tells it only of who is
   * not blocked, and whatever blocks him after that raises it: so it is compared, and no block is looked for.
   */
  readonly version: number;
  readonly period: { readonly startMs: number; readonly endMs: number } | null;
  /** What is held until the call settles. */
  readonly holdPico: string;
  /** What must fit into what is free. At most the hold. */
  readonly fitPico: string;
  /** False: credit is not asked for (overage, pay as you go). Budgets are, always. */
  readonly creditChecked: boolean;
  /** How far below nothing the credit may go. */
  readonly gracePico: string;
  /** Open it all the same, with a mark. */
  readonly observe: boolean;
  /** What is told of the customer's money beside the verdict, which costs as much as the opening: all, unless given. */
  readonly tells?: 'money' | 'balance' | 'nothing' | undefined;
  /** False where the call fell under no budget when its customer was judged. One that was made since sends it back. */
  readonly hasBudgets?: boolean | undefined;
}

/** A customer's money as a call finds it. */
export interface Money {
  readonly creditPico: string;
  readonly overdrawnPico: string;
  readonly heldPico: string;
  /** Those that the call falls under: the customer's and the key's. */
  readonly budgets: readonly (BudgetView & { readonly heldPico: string })[];
}

export interface Accounts {
  account(customer: string): Promise<Account | undefined>;
  /** Pages of accounts by customer id, after `cursor`. */
  accounts(page: {
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<readonly Account[]>;
  /** Makes the account where there is none. What is left out stays. `frozen: null` lifts a freeze. */
  changeAccount(
    customer: string,
    change: Partial<AccountSettings> & { readonly frozen?: { readonly why: string } | null | undefined },
    nowMs: number,
  ): Promise<Account>;
  /** Of more than four million dollars of balance, four million count. */
  recordGrants(reading: GrantsReading): Promise<void>;
  /** `stale`: a later reading is on record, nothing was changed. */
  recordSubscription(reading: SubscriptionReading): Promise<'recorded' | 'stale'>;
  balance(customer: string, nowMs: number): Promise<Balance>;
  /** Lowers what an open call holds; a higher hold than its own changes nothing. */
  shrinkHold(call: Holder & { readonly id: string }, holdPico: string): Promise<void>;
  /** Sets the one budget of a subject and span, counting what it has already spent in its window, kept calls or not. */
  putBudget(budget: Budget, nowMs: number): Promise<void>;
  /** Gives a key the budget `from` of the key that it takes the place of, with what was spent of it. */
  passOnBudget(from: string, to: { readonly id: string; readonly key: string }, nowMs: number): Promise<void>;
  /** False where there is none. */
  removeBudget(id: string): Promise<boolean>;
  budgets(subject: string | undefined, nowMs: number): Promise<readonly BudgetView[]>;
}
