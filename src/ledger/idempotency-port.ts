/** A call that wants to be the one of its idempotency key. Times are milliseconds. */
export interface KeyToClaim {
  readonly scope: string;
  readonly bodyHash: string;
  readonly call: string;
  readonly nowMs: number;
  /** Keys claimed before that are free again. */
  readonly expiredBeforeMs: number;
  /** So are those claimed before that whose call was never opened. */
  readonly unopenedBeforeMs: number;
}

export type KeyClaim =
  | { readonly kind: 'claimed' }
  /** Another call has it, which is under way, or has ended with a bill. */
  | { readonly kind: 'running' | 'ended'; readonly call: string; readonly bodyHash: string };
