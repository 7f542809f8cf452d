/** What the sinks that are not Stripe have in common: one POST for some events, and what its answer means for them. */
import type { Delivery, MeterEvent } from '../../../ledger/ledger.ts';
import type { Runtime } from '../../../runtime.ts';
import type { Transports } from '../../ports.ts';
import { retryAfterMs } from '../../stripe/answers.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The beginning of the body. */
  readonly text: string;
}

/**
 * Posts, waiting 10 s at most. Throws `NotReached` where the request surely never got there, and any other error where
 * nobody knows.
 */
export type Post = (
  url: string,
  request: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
) => Promise<HttpAnswer>;

export class NotReached extends Error {
  override readonly name = 'NotReached';
}

export interface HttpSinkOptions {
  readonly name: string;
  readonly url: string;
  readonly post: Post;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly batchMax: number;
  readonly requestOf: (events: readonly MeterEvent[]) => {
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  };
}

const PARALLEL_MAX = 4;
const TEXT_CHARS_MAX = 200;

/** The other side is to know an event again by its identifier: a repeat is the same event. */
export function createHttpSink(options: HttpSinkOptions): Transports {
  const { name, url, post, runtime, batchMax, requestOf } = options;
  const send = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> => {
    let answer: HttpAnswer | unknown;
    try {
      const reply = await post(url, requestOf(events));
      if (reply.status >= 400 && reply.status < 500 && events.length > 1 && isRefusal(reply.status)) {
        // One of them is not wanted; which one, halves tell.
        const half = events.length >> 1;
        return [...(await send(events.slice(0, half))), ...(await send(events.slice(half)))];
      }
      return events.map((event) => deliveryOf(event, reply, runtime.now()));
    } catch (error) {
      answer = error;
    }
    return events.map((event) => failed(event, answer, runtime.now()));
  };
  const way = { name, batchMax, isInTurn: false, parallelMax: PARALLEL_MAX, send };
  return { choose: () => way, named: (wanted) => (wanted === name ? way : undefined), saw: () => undefined };
}

const BUSY: ReadonlySet<number> = new Set([408, 409, 425, 429]);
const MISDIRECTED: ReadonlySet<number> = new Set([404, 405, 410]);
const isRefusal = (status: number): boolean =>
  status !== 401 && status !== 403 && !BUSY.has(status) && !MISDIRECTED.has(status);

function deliveryOf(
  { identifier }: MeterEvent,
  { status, retryAfter, text }: HttpAnswer,
  nowMs: number,
): Delivery {
  if (status >= 200 && status < 300) return { identifier, kind: 'accepted' };
  const error = `HTTP ${String(status)}: ${text.slice(0, TEXT_CHARS_MAX)}`;
  const notBeforeMs = nowMs + retryAfterMs(retryAfter, nowMs);
  const retry = { identifier, kind: 'retry', notBeforeMs, error } as const;
  if (status < 400 || status >= 500) return { identifier, kind: 'ambiguous', notBeforeMs, error };
  if (status === 401 || status === 403) return { ...retry, cause: 'unauthorised' };
  if (BUSY.has(status)) return { ...retry, cause: 'busy' };
  return MISDIRECTED.has(status)
    ? { ...retry, cause: 'misdirected' }
    : { identifier, kind: 'refused', error };
}

function failed({ identifier }: MeterEvent, error: unknown, nowMs: number): Delivery {
  const text = error instanceof Error ? error.message : String(error);
  return error instanceof NotReached
    ? { identifier, kind: 'retry', cause: 'unreachable', notBeforeMs: nowMs, error: text }
    : { identifier, kind: 'ambiguous', notBeforeMs: nowMs, error: text };
}
