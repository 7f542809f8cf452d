/** What a customer may read of his own usage. Money is picodollars as decimal text; times are milliseconds. */
import type { Line } from './ledger.ts';

/** One call, as far as its usage goes. */
export interface CallUsage {
  readonly id: string;
  readonly keyId: string;
  readonly model: string;
  readonly openedAtMs: number;
  /** Null while it runs. */
  readonly endedAtMs: number | null;
  readonly costPico: string | null;
  readonly lines: readonly Line[];
}

/** Usage that Stripe has not, or is not known to have. */
export interface Undelivered {
  /** What calls cost of which any part is undelivered. */
  readonly costPico: string;
  readonly lines: readonly { readonly model: string; readonly tokenType: string; readonly tokens: string }[];
}

export interface UsageReads {
  /** A customer's calls, newest first, before `cursor` (a call's id); 2,000 at most. */
  callUsage(slice: {
    readonly customer: string;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<readonly CallUsage[]>;
  undelivered(customer: string): Promise<Undelivered>;
}
