/** A call on its way through the gateway: what the steps hand on to each other. */
import type { Endpoint, Exchange, ProviderCall, UpstreamHead } from '../../providers/provider.ts';
import type { Dialect } from '../errors.ts';
import type { Timeouts } from './ports.ts';
import type { Target } from './resolve.ts';

export interface Call {
  /** Also the request id the caller is told. */
  readonly id: string;
  readonly customer: string;
  readonly keyId: string;
  readonly endpoint: Endpoint;
  readonly dialect: Dialect;
  /** The upstream that is asked now, of `targets`. */
  readonly target: Target;
  /** All that may serve the call, in order of preference. */
  readonly targets: readonly Target[];
  readonly request: ProviderCall;
  readonly startedAtMs: number;
  /** Of a customer whose money is watched; undefined before admission. */
  readonly money?: CallMoney | undefined;
}

/** How a call stands with its customer's money. Amounts are picodollars. */
export interface CallMoney {
  /** Credit less what is overdrawn, when the call was opened; null where a later word goes to the caller, and without credit. */
  readonly balancePico: string | null;
  /** He has, or had, credit. */
  readonly hasCredit: boolean;
  /** The customer's plan: its markup counts. */
  readonly plan: string | null;
  /** What is held; the part for the output where the rest may go once the input is known. */
  readonly hold?: { readonly holdPico: bigint; readonly outputPico: bigint | null } | undefined;
}

/** A call and what its upstream will be asked. Made before the call is opened: nothing can fail between record and question. */
export interface PreparedCall {
  readonly call: Call;
  readonly exchange: Exchange;
  /** The place of the call's target among its `targets`, and how often it will then have been asked. */
  readonly at: number;
  readonly tries: number;
}

export function prepare(call: Call, at: number): PreparedCall {
  const { upstream, provider } = call.target.route;
  return { call, exchange: provider.prepare(call.request, upstream), at, tries: 1 };
}

/** How long the call's upstream is waited for. The later attempts of a call share what is left of its time. */
export function timeoutsOf({ target, startedAtMs }: Call, attempt: number, now: () => number): Timeouts {
  const { timeouts } = target.route;
  if (attempt === 1) return timeouts;
  return { ...timeouts, totalMs: Math.max(1, timeouts.totalMs - (now() - startedAtMs)) };
}

/** Of an upstream that has not answered. */
export const NO_HEAD: UpstreamHead = { status: 0, headers: {} };
