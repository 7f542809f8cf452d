/**
 * Three books on the same calls, each kept by another process or by nobody's help: what the upstream generated, what the
 * ledger has, what Stripe accepted; and beside them what the callers saw. Plain data, so that mistakes can be planted.
 */
export interface CallerEntry {
  /** Names the call on the caller's and the upstream's side. */
  readonly tag: string;
  readonly customer: string;
  /** Without the provider's name. */
  readonly model: string;
  /** True when the caller has the whole reply and was told so: a JSON body, or `[DONE]` and a clean end. */
  complete: boolean;
  /** The HTTP status; undefined when no head came. */
  status?: number;
  /** The gateway's own error code, where it refused. */
  code?: string | undefined;
  /** The gateway's id of the call, from the reply's head. */
  requestId?: string;
}

export interface UpstreamEntry {
  readonly tag: string;
  readonly model: string;
  readonly responseId: string;
  readonly seenAtMs: number;
  readonly inputTokens: number;
  /** Counted up just before they are sent. */
  outputTokens: number;
  /** The last byte was given to the connection. */
  finished: boolean;
}

/** As the admin API gives a call, as far as it matters here. */
export interface LedgerEntry {
  readonly id: string;
  readonly customer: string;
  readonly model: string;
  readonly state: string;
  readonly outcome: string | null;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number } | null;
  readonly usage_source: string | null;
  readonly response_id: string | null;
  readonly opened_at: string;
  readonly events: readonly {
    readonly identifier: string;
    readonly state: string;
    readonly token_type: string;
    readonly value: string;
  }[];
}

/** What Stripe's accepted events of one customer, model and token type come to. */
export interface StripeEntry {
  readonly customer: string;
  readonly model: string;
  readonly tokenType: string;
  readonly tokens: number;
}

export interface Books {
  readonly callers: readonly CallerEntry[];
  readonly upstream: readonly UpstreamEntry[];
  readonly ledger: readonly LedgerEntry[];
  readonly stripe: readonly StripeEntry[];
}

/** The provider's name in the gateway under test, which is put before a model's name on the bill. */
export const PROVIDER = 'openai';
