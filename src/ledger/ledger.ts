/**
 * The durable record of every call, its usage and its meter events.
 *
 * Words: a *call* is one metered request; it is *open* from before the provider is asked until it is *settled*, once.
 * A *line* is one token type of one model of one attempt of a call. Lines are *sealed* into meter events, which are
 * *leased* for sending and *marked* with Stripe's answer. Money is picodollars as decimal text; times are milliseconds.
 */

import type { Notices } from './notices.ts';
import type { People } from './people.ts';
import type { TopUps } from './top-ups.ts';
import type { DeliveryLedger, MeterEvent, EventState } from './delivery-port.ts';
export type {
  MeterEvent,
  LeasedEvent,
  EventState,
  RetryCause,
  Delivery,
  UnsealedLine,
  SealingScope,
  SealingFacts,
  Seal,
  LeaseRequest,
  LateVerdict,
  Backlog,
} from './delivery-port.ts';
import type { Account, Accounts, Guard, Money } from './accounts-port.ts';
import type { StoredResponses } from './background-port.ts';
import type { Readings } from './readings.ts';
import type { Books } from './books-port.ts';
import type { Recording } from './recording.ts';
import type { UsageReads } from './usage-port.ts';
import type { KeyClaim, KeyToClaim } from './idempotency-port.ts';

/** One SQL statement. `?` marks the parameters; big integers cross as decimal text. */
export interface Statement {
  readonly sql: string;
  readonly params: readonly (string | number | null)[];
}
export type Row = Readonly<Record<string, string | number | null>>;

/** The one-method port to a SQL engine. All statements of a batch happen, or none; answers come in their order. */
export interface Database {
  batch(statements: readonly Statement[]): Promise<readonly (readonly Row[])[]>;
}

/** The record could not be made durable: the call must not be served. */
export class LedgerUnavailable extends Error {
  override readonly name = 'LedgerUnavailable';
}

export interface CallToOpen {
  readonly id: string;
  readonly customer: string;
  /** The API key's id; `env` for the service key given from outside. */
  readonly keyId: string;
  readonly endpoint: string;
  /** The configured provider and the billed model, e.g. `openai` and `openai/gpt-4o-mini`. */
  readonly provider: string;
  readonly model: string;
  readonly stream: boolean;
  readonly openedAtMs: number;
}

/** Why a customer is refused: the contract's error code and what it came from. */
export interface Block {
  readonly code: 'alert_triggered' | 'customer_frozen' | 'subscription_inactive' | 'credit_balance_exhausted';
  /** The alert's id or title, the operator's reason: for the message. */
  readonly source: string;
}

export type Admission =
  /**
   * With what was asked for of a guarded customer's money, the call's own hold counted; the balance is his credit less what is
   * overdrawn. `over`: it does not fit, and is only watched.
   */
  | {
      readonly kind: 'admitted';
      readonly money?: Money;
      readonly balancePico?: string;
      readonly over?: boolean;
    }
  /**
   * Money is watched here: judge the account (null: only the key has a budget) and ask again with a guard. `hasBudgets`: the
   * call falls under one, its customer's or its key's.
   */
  | { readonly kind: 'guarded'; readonly account: Account | null; readonly hasBudgets: boolean }
  /** It does not fit into what is free. */
  | { readonly kind: 'short'; readonly account: Account | null; readonly money: Money }
  | { readonly kind: 'blocked'; readonly block: Block }
  /** The customer is deleted, or was looked up and is not there. */
  | { readonly kind: 'missing' };

/** How a call ended. */
export type Outcome =
  /** The reply was read to its end. */
  | 'finished'
  /** The caller left; the reply was read to its end (or cut, by policy). */
  | 'caller_left'
  /** The provider could not be reached, answered with an error, or broke off. */
  | 'upstream_broke'
  /** The gateway itself gave up after the call was opened. */
  | 'gateway_refused'
  /** A crash left it open; closed at the next start from what was on record. */
  | 'recovered';
export type UsageSource = 'reported' | 'estimated' | 'none';

/** One billable count: becomes one meter event's value, or a part of one. */
export interface Line {
  readonly attempt: number;
  /** As billed: `openai/gpt-4o-mini`. */
  readonly model: string;
  readonly tokenType: string;
  /** Whole tokens, one or more. Zero is not a line. */
  readonly tokens: number;
}

/** Whose money a call holds a part of: its customer's, and its key's where that has a budget. */
export type Holder = Pick<CallToOpen, 'customer' | 'keyId'>;

export interface CallToSettle {
  readonly id: string;
  /** Given where the call was opened under a guard, or may have been: it is counted in the first step, not in a second. */
  readonly heldBy?: Holder | undefined;
  /** Of a call with a holder: what it leaves of his credit is to be told. */
  readonly tellsBalance?: boolean | undefined;
  readonly endedAtMs: number;
  readonly outcome: Outcome;
  /** The provider's HTTP status; null when it never answered. */
  readonly status: number | null;
  readonly usageSource: UsageSource;
  readonly lines: readonly Line[];
  /** The canonical records, one per model, as JSON: for audit. */
  readonly usageJson: string;
  /** What the customer is charged, picodollars; null when the model has no price. */
  readonly costPico: string | null;
  /** Names the prices it was rated by: they never change again for this call. */
  readonly priceVersion?: string | null | undefined;
  /** The provider's id of the reply. */
  readonly responseId: string | null;
}

export interface Settlement {
  /** `already`: an earlier one stands, and nothing was changed. */
  readonly kind: 'settled' | 'already';
  /** Credit less what is overdrawn, after the call; undefined where it was not asked for, or there is none. */
  readonly balancePico?: string | undefined;
}

/** Why an attempt was followed by another; the words of src/gateway/attempts.ts. */
export type AttemptFailure =
  | 'answered'
  | 'unreachable'
  | 'timeout'
  | 'broken'
  | 'stopped'
  | 'unreadable'
  | 'failed_stream'
  | 'usage_option';

/** An attempt of a call that failed and was followed by another. What it cost is the operator's: it has no lines. */
export interface Attempt {
  /** From 1. The attempt that ended the call is the one after the last of these. */
  readonly attempt: number;
  readonly provider: string;
  readonly model: string;
  readonly failure: AttemptFailure;
  readonly status: number | null;
  readonly usageSource: UsageSource;
  readonly usageJson: string;
  /** Picodollars; null when the model has no price. */
  readonly costPico: string | null;
  readonly responseId: string | null;
  readonly endedAtMs: number;
}

/** Evidence kept while a call runs, so that a crash can bill what was surely served and no more. */
export interface Checkpoint {
  readonly id: string;
  readonly lines: readonly Line[];
  /** What the lines were made from and what they cost, as in a settlement. */
  readonly usageJson: string;
  readonly costPico: string | null;
}

/** What Stripe said of a customer, ordered by Stripe's own time (seconds) and, within a second, by arrival. */
export type CustomerFact =
  | {
      readonly kind: 'alert_triggered';
      readonly customer: string;
      readonly alert: string;
      readonly title: string;
    }
  | { readonly kind: 'alert_recovered'; readonly customer: string; readonly alert: string }
  /**
   * Credit is available again, or a new billing period began: every alert's block is lifted. With `beforeS` (Stripe's
   * seconds) only blocks up to then: an invoice paid late must not lift what fired in the period after it.
   */
  | {
      readonly kind: 'alerts_lifted';
      readonly customer: string;
      readonly why: string;
      readonly beforeS?: number | undefined;
    }
  | { readonly kind: 'deleted'; readonly customer: string };
export interface WebhookReceipt {
  readonly eventId: string;
  readonly type: string;
  /** Stripe's `created`, seconds. */
  readonly createdS: number;
  readonly receivedAtMs: number;
  /** The customer of whom Stripe is to be read anew, because of it. */
  readonly reading?: string | undefined;
}

export type CustomerState = 'known' | 'missing';

export interface Ledger
  extends
    Accounts,
    StoredResponses,
    UsageReads,
    Recording,
    Readings,
    DeliveryLedger,
    People,
    Notices,
    Books,
    TopUps {
  /** Opens the call, durably, unless the customer is blocked or deleted. One step: nothing slips between check and record. */
  admit(call: CallToOpen, guard?: Guard): Promise<Admission>;
  /** Binds an idempotency key to the call, unless another call has it. Before the call is admitted. */
  claimKey(claim: KeyToClaim): Promise<KeyClaim>;
  /** Gives the key back where the call was not admitted. */
  releaseKey(scope: string, call: string): Promise<void>;
  /** Records an attempt that failed, and who is asked next: before he is asked. Does nothing once the call is settled. */
  attemptFailed(
    call: string,
    failed: Attempt,
    next: { readonly provider: string; readonly model: string },
  ): Promise<void>;
  /** Replaces the call's evidence. Does nothing once the call is settled. */
  checkpoint(checkpoint: Checkpoint): Promise<void>;
  /** Closes the call with its lines, durably. The first settlement stands. */
  settle(call: CallToSettle): Promise<Settlement>;
  /**
   * Closes every call that an earlier boot left open, from its checkpoint; answers what was closed. Boots are told
   * apart by name, not by time, since clocks step. Leases are an earlier boot's too and end at once, so call it before
   * delivery begins. `openedBeforeMs` spares younger calls, and leases, for a ledger whose callers may outlive it, as a
   * Durable Object's do.
   */
  recover(when: {
    readonly nowMs: number;
    readonly openedBeforeMs?: number | undefined;
  }): Promise<readonly CallView[]>;

  /** A write that changes nothing. Rejects with `LedgerUnavailable` where calls could not be recorded either. */
  probe(): Promise<void>;

  /** Records a customer as looked up in Stripe. A deletion that a webhook told stands. */
  rememberCustomer(customer: string, state: CustomerState, nowMs: number): Promise<void>;
  customer(customer: string): Promise<CustomerState | undefined>;
  /** Applies what a webhook told, once per event id, whatever the order: `seen` for a repeat. */
  apply(receipt: WebhookReceipt, facts: readonly CustomerFact[]): Promise<'applied' | 'seen'>;

  calls(filter: CallFilter): Promise<Page<CallView>>;
  events(filter: EventFilter): Promise<Page<EventView>>;
  /** Sums for the operator and the checks: settled tokens, delivered tokens, open calls. */
  totals(customer?: string): Promise<Totals>;
}

export interface Page<T> {
  readonly data: readonly T[];
  /** Give it as `cursor` for the next page; null at the end. */
  readonly nextCursor: string | null;
}
export interface CallFilter {
  readonly customer?: string | undefined;
  readonly id?: string | undefined;
  readonly state?: 'open' | 'settled' | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}
export interface EventFilter {
  readonly customer?: string | undefined;
  readonly call?: string | undefined;
  readonly identifier?: string | undefined;
  readonly state?: EventState | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}
export interface CallView extends CallToOpen {
  readonly state: 'open' | 'settled';
  readonly endedAtMs: number | null;
  readonly outcome: Outcome | null;
  readonly status: number | null;
  readonly usageSource: UsageSource | null;
  readonly lines: readonly Line[];
  readonly usageJson: string | null;
  readonly costPico: string | null;
  readonly responseId: string | null;
  readonly events: readonly EventView[];
  /** Those that failed before the one that ended the call, in order. */
  readonly attempts: readonly Attempt[];
}
export interface EventView extends MeterEvent {
  readonly state: EventState;
  readonly attempts: number;
  readonly notBeforeMs: number;
  readonly acceptedAtMs: number | null;
  readonly lastError: string | null;
  /** The way of its latest attempt. */
  readonly transport: string | null;
  /** The identifier under which Stripe took it and refused it afterwards. */
  readonly replaces: string | null;
  readonly calls: readonly string[];
}
export interface Totals {
  readonly openCalls: number;
  readonly settledCalls: number;
  /** Tokens of settled calls by `model` and `tokenType`. */
  readonly lines: readonly { readonly model: string; readonly tokenType: string; readonly tokens: number }[];
  /** Events by state, with their tokens and the oldest one's time. */
  readonly events: readonly {
    readonly state: EventState;
    readonly count: number;
    readonly tokens: number;
    readonly oldestMs: number;
  }[];
  readonly unsealedLines: number;
  /** What settled calls cost, picodollars. */
  readonly costPico: string;
}
