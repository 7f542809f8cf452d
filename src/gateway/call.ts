/** A call on its way through the gateway: what the steps hand on to each other. */
import type { Endpoint, ProviderCall } from '../../providers/provider.ts';
import type { Dialect } from '../errors.ts';
import type { Target } from './resolve.ts';

export interface Call {
  /** Also the request id the caller is told. */
  readonly id: string;
  readonly customer: string;
  readonly keyId: string;
  readonly endpoint: Endpoint;
  readonly dialect: Dialect;
  readonly target: Target;
  readonly request: ProviderCall;
  readonly startedAtMs: number;
}
