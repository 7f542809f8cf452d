/**
 * Idempotency keys. v1 answers a repeated key with the first answer, an error too, for 24 hours; v2 keeps only what
 * succeeded, for 30 days, and runs the rest again. A key with other parameters is an error in both.
 */
import { StripeFailure, type Reply } from './http.ts';

const V1_MS = 24 * 3_600_000;
const V2_MS = 30 * 86_400_000;
/** The SDK sends a new key with every call, so old ones go before their time. */
const KEYS_MAX = 20_000;
/** What Stripe refuses before it runs anything is not kept. */
const NOT_KEPT: ReadonlySet<number> = new Set([401, 409, 429]);

export interface IdempotencyCall {
  readonly key: string;
  readonly api: 'v1' | 'v2';
  /** Method, path and body: what must be the same. */
  readonly request: string;
}

export interface Idempotency {
  /** The reply to replay; else nothing, and the key is busy until `finish`. Throws `idempotency_error`. */
  begin(call: IdempotencyCall): Reply | undefined;
  /** Ends the call; the reply is kept where it is to be replayed. Null: nothing was answered nor done. */
  finish(call: IdempotencyCall, reply: Reply | null): void;
}

export function createIdempotency(now: () => number): Idempotency {
  const kept = new Map<string, { request: string; reply: Reply; until: number }>();
  const busy = new Set<string>();
  return {
    begin: (call) => {
      const name = `${call.api} ${call.key}`;
      if (busy.has(name)) throw inUse(call.key);
      const known = kept.get(name);
      if (known !== undefined && known.until > now()) {
        if (known.request !== call.request) throw reused(call.key);
        return { ...known.reply, headers: { ...known.reply.headers, 'idempotent-replayed': 'true' } };
      }
      busy.add(name);
      return undefined;
    },
    finish: (call, reply) => {
      const name = `${call.api} ${call.key}`;
      busy.delete(name);
      if (reply === null || NOT_KEPT.has(reply.status)) return;
      if (call.api === 'v2' && reply.status >= 400) return;
      kept.delete(name);
      kept.set(name, { request: call.request, reply, until: now() + (call.api === 'v1' ? V1_MS : V2_MS) });
      if (kept.size > KEYS_MAX) kept.delete(kept.keys().next().value ?? '');
    },
  };
}

const inUse = (key: string): StripeFailure =>
  new StripeFailure({
    status: 409,
    type: 'idempotency_error',
    code: 'idempotency_key_in_use',
    message: `There is currently another in-progress request using this Idempotent Key: ${key}.`,
  });

const reused = (key: string): StripeFailure =>
  new StripeFailure({
    status: 400,
    type: 'idempotency_error',
    message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`,
  });
