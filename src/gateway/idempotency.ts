/**
 * `Idempotency-Key`: a call repeated with the same key, API key, customer and body joins the first while it runs, and has
 * its reply again when it is over: one call, one bill.
 *
 * Replies are kept in memory only, for they are the customers' own words. That a key has had its call is in the ledger: a
 * key whose reply is gone is refused, never billed twice.
 */
import { Refusal } from '../errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';
import type { ForwardOptions } from './forward.ts';
import type { CallerReply } from './ports.ts';
import type { RequestBody } from './read-request.ts';
import { SharedReply } from './shared-reply.ts';

/** One that asked under a key. */
export interface Keyed {
  readonly key: string;
  readonly keyId: string;
  readonly customer: string;
  /** Path and query, where some dialects name the model. */
  readonly url: string;
  readonly body: RequestBody;
  readonly call: string;
}

/** A key's place while its reply is made or kept. */
export interface Repeatable {
  /** Whether this request is the first and makes the call; the others have its reply. */
  readonly first: boolean;
  /**
   * Makes it the key's one call, durably.
   *
   * @throws {Refusal} 409 or 422 when an earlier call has the key.
   */
  claim(): Promise<void>;
  /** The reply to write to, which this caller hears. */
  shared(reply: CallerReply): CallerReply;
  /** The same, but that it is noticed whether the call comes to anything. */
  watching(options: ForwardOptions): ForwardOptions;
  /** No call came of it: the key is free again. */
  release(): void;
}

export interface Idempotency {
  /** @throws {Refusal} 409 or 422 when this request can neither make the call nor have its reply. */
  enter(keyed: Keyed): Repeatable;
}

export interface IdempotencyOptions {
  readonly ledger: Ledger;
  readonly crypto: Pick<Crypto, 'sha256'>;
  readonly runtime: Runtime;
  readonly onDisconnect: 'drain' | 'cancel';
}

/** A key is remembered for a day, as Stripe's are. Milliseconds. */
const KEY_TTL_MS = 86_400_000;
/** A key whose call was not opened within a minute, as when the process died between the two, is free again. */
const UNOPENED_MS = 60_000;
/** Of one reply, bytes: a long stream, or a batch of embeddings. */
const SHARED_BYTES_MAX = 4_194_304;
/** Of all replies, bytes; past it the oldest that are over are forgotten. */
const KEPT_BYTES_MAX = 67_108_864;
/** Replies kept, short as they may be. */
const KEPT_REPLIES_MAX = 10_000;

interface Entry {
  readonly scope: string;
  readonly bodyHash: string;
  readonly call: string;
  readonly sinceMs: number;
  readonly reply: SharedReply;
  /** Whether the key's call is made for good: it was billed, or ended well. */
  final: boolean;
}

export function createIdempotency(options: IdempotencyOptions): Idempotency {
  const { runtime } = options;
  const entries = new Map<string, Entry>();
  let kept = 0;

  const forget = (entry: Entry): void => {
    if (entries.get(entry.scope) !== entry) return;
    entries.delete(entry.scope);
    if (entry.reply.whole) kept -= entry.reply.bytes;
  };
  /** The oldest replies that are over make room. */
  const makeRoom = (bytes: number): boolean => {
    for (const entry of entries.values()) {
      if (kept + bytes <= KEPT_BYTES_MAX && entries.size <= KEPT_REPLIES_MAX) break;
      if (entry.reply.isOver) forget(entry);
    }
    return kept + bytes <= KEPT_BYTES_MAX;
  };
  const create = (scope: string, bodyHash: string, call: string): Entry => {
    const entry: Entry = {
      scope,
      bodyHash,
      call,
      sinceMs: runtime.now(),
      final: false,
      reply: new SharedReply({
        cancels: options.onDisconnect === 'cancel',
        room(reply, bytes) {
          if (entries.get(scope) !== entry) return false;
          const fits = reply.bytes + bytes <= SHARED_BYTES_MAX && makeRoom(bytes);
          // What it has kept so far is given up with the rest.
          kept += fits ? bytes : -reply.bytes;
          return fits;
        },
        over(reply) {
          if (!entry.final || !reply.whole) forget(entry);
        },
      }),
    };
    entries.set(scope, entry);
    makeRoom(0);
    return entry;
  };
  /** The key's entry, unless a day has passed. */
  const find = (scope: string): Entry | undefined => {
    const entry = entries.get(scope);
    if (entry === undefined || !entry.reply.isOver || runtime.now() - entry.sinceMs < KEY_TTL_MS)
      return entry;
    forget(entry);
    return undefined;
  };

  return {
    enter(keyed) {
      const { key, keyId, customer, url, body, call } = keyed;
      const scope = options.crypto.sha256(JSON.stringify([key, keyId, customer]));
      const bodyHash = options.crypto.sha256(`${url}\n${contentHash(body, options.crypto)}`);
      const known = find(scope);
      if (known === undefined) return repeatable(create(scope, bodyHash, call), true, { options, forget });
      if (known.bodyHash !== bodyHash) throw reused(known.call);
      if (!known.reply.whole) throw inProgress(known.call);
      return repeatable(known, false, { options, forget });
    },
  };
}

interface Store {
  readonly options: IdempotencyOptions;
  readonly forget: (entry: Entry) => void;
}

function repeatable(entry: Entry, first: boolean, { options, forget }: Store): Repeatable {
  const { ledger, runtime } = options;
  const { scope, bodyHash, call, reply } = entry;
  return {
    first,
    async claim() {
      const nowMs = runtime.now();
      const expiry = { expiredBeforeMs: nowMs - KEY_TTL_MS, unopenedBeforeMs: nowMs - UNOPENED_MS };
      const claim = await ledger.claimKey({ scope, bodyHash, call, nowMs, ...expiry });
      if (claim.kind === 'claimed') return;
      if (claim.bodyHash !== bodyHash) throw reused(claim.call);
      throw claim.kind === 'running' ? inProgress(claim.call) : gone(claim.call);
    },
    shared(caller) {
      reply.listen(caller, !first);
      return reply;
    },
    watching: (forwarding) => ({
      ...forwarding,
      settler: {
        ...forwarding.settler,
        async settle(settled, ending, measured) {
          const bill = await forwarding.settler.settle(settled, ending, measured);
          const billed = bill.inputTokens + bill.outputTokens > 0 || (bill.costPico ?? 0n) > 0n;
          entry.final = billed || ending.outcome === 'finished';
          // Nobody hears the end of a call that was cancelled, so it will have none.
          if (ending.outcome === 'caller_left') forget(entry);
          return bill;
        },
      },
    }),
    release() {
      forget(entry);
      runtime.defer(ledger.releaseKey(scope, call));
    },
  };
}

/** A form's boundary is another one each time it is sent, so its parts are what counts. */
function contentHash({ bytes, form }: RequestBody, crypto: Pick<Crypto, 'sha256'>): string {
  if (form === undefined) return crypto.sha256(bytes);
  const parts = form.parts.map(({ name, start, end }) => [name, crypto.sha256(bytes.subarray(start, end))]);
  return crypto.sha256(JSON.stringify(parts));
}

const reused = (call: string): Refusal =>
  new Refusal(
    'idempotency_key_reused',
    `This Idempotency-Key was sent before with another body, for the call ${call}. Use a new key for a new request.`,
    { param: 'idempotency-key' },
  );

const inProgress = (call: string): Refusal =>
  new Refusal(
    'idempotency_in_progress',
    `The call ${call} with this Idempotency-Key is under way and its reply cannot be joined. Try again shortly.`,
    { param: 'idempotency-key', headers: { 'retry-after': '1' }, retryAfterS: 1 },
  );

const gone = (call: string): Refusal =>
  new Refusal(
    'idempotency_reply_gone',
    `The call ${call} with this Idempotency-Key was made and billed, and its reply is no longer kept. A new key makes a new call, with a bill of its own.`,
    { param: 'idempotency-key' },
  );
