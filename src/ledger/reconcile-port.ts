/** What reconciliation asks of the ledger. Times are milliseconds, values decimal text. */

/** One hour of one customer's events of one event name, at Stripe. */
export interface BookedCell {
  readonly eventName: string;
  readonly hourMs: number;
  readonly sums: Readonly<Partial<Record<BookedSum, string>>>;
  readonly doubts: readonly BookedDoubt[];
}
export type BookedSum = 'counted' | 'recent' | 'waiting' | 'refused' | 'expired' | 'withdrawn';

export interface BookedDoubt {
  readonly identifier: string;
  readonly value: string;
  readonly model: string;
  readonly tokenType: string;
  readonly state: string;
  readonly notBeforeMs: number;
}

export interface BooksQuery {
  readonly customer: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** What was accepted up to then must show in Stripe's sums; what came after may lag. */
  readonly countedMs: number;
  /** What was taken back since then may still show. */
  readonly withdrawnMs: number;
}

export type RunState = 'running' | 'finished' | 'failed';
export type RunVerdict = 'equal' | 'lagging' | 'different';
export interface RunCounts {
  readonly equal: number;
  readonly lagging: number;
  readonly different: number;
  readonly confirmed: number;
  readonly delivered: number;
  readonly lost: number;
  /** Customers' meters that Stripe gave no sums of. */
  readonly unread: number;
}
export interface RunView extends RunCounts {
  readonly id: string;
  readonly cause: string;
  readonly customer: string | null;
  /** Null: where each customer's unconfirmed usage begins, three days ago at least. */
  readonly fromMs: number | null;
  readonly toMs: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly state: RunState;
  readonly verdict: RunVerdict | null;
  readonly error: string | null;
  readonly notes: readonly string[];
}
export interface RunCell {
  readonly customer: string;
  readonly eventName: string;
  readonly hourMs: number;
  readonly verdict: RunVerdict;
  readonly ledger: string;
  readonly stripe: string;
  readonly reasons: readonly { readonly reason: string; readonly value: string }[];
}
export type RunToBegin = Pick<RunView, 'id' | 'cause' | 'customer' | 'fromMs' | 'toMs' | 'startedAtMs'>;
export type RunEnd = RunCounts & {
  readonly finishedAtMs: number;
  readonly verdict: RunVerdict | null;
  readonly error: string | null;
  readonly notes: readonly string[];
};

export interface Comparing {
  /** The next customer after `after`, in order, who has events; undefined at the end. */
  customerAfter(after: string): Promise<string | undefined>;
  /** The oldest hour of the customer with events that are accepted or quarantined; null without. */
  oldestUnconfirmedMs(customer: string, sinceMs: number): Promise<number | null>;
  /** What the ledger has of a customer's hours. Only hours that have events. */
  books(query: BooksQuery): Promise<readonly BookedCell[]>;
  /** Tokens settled and in no event yet, by customer and hour: of the 100,000 oldest such calls. */
  unsealedHours(): Promise<ReadonlyMap<string, ReadonlyMap<number, string>>>;
  /** Every accepted event of the hour, taken up to then, is in Stripe's sums; answers how many those were. */
  confirmHour(hour: {
    readonly customer: string;
    readonly eventName: string;
    readonly hourMs: number;
    readonly acceptedMs: number;
  }): Promise<number>;
  /** Sends a quarantined event again under a new identifier; false where it is not quarantined. */
  resendAnew(identifier: string, nowMs: number): Promise<boolean>;

  /** Begins a run; runs that were left behind are marked as failed. */
  beginRun(run: RunToBegin): Promise<void>;
  recordCells(run: string, cells: readonly RunCell[]): Promise<void>;
  /** Ends a run, and forgets the oldest beyond 400. */
  endRun(run: string, end: RunEnd): Promise<void>;
  runs(filter: {
    readonly id?: string | undefined;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<{
    readonly data: readonly RunView[];
    readonly nextCursor: string | null;
  }>;
  /** The cells of a run that were not equal, the different first. */
  runCells(run: string, limit: number): Promise<readonly RunCell[]>;
}
