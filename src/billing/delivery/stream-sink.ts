/**
 * Meter events to Stripe's stream: up to 100 a request, under a session of 15 minutes. Nothing is checked at once: what
 * is wrong with an event is told by a thin event later (`late-verdicts.ts`).
 */
import { Stripe } from 'stripe';
import type { Delivery, MeterEvent } from '../../ledger/ledger.ts';
import { realDeadline, within } from '../stripe/deadline.ts';
import type { MeterSink } from '../ports.ts';
import { STRIPE_TIMEOUT_MS } from '../stripe/client.ts';
import { dateOf, deliveryOf, NOT_STRIPE } from './outcome.ts';
import { v2Params } from './v2-sink.ts';
import type { StripeSinkOptions } from './v2-sink.ts';

export const STREAM_EVENTS_MAX = 100;
/** A session is given up so long before its end: a request takes 10 s at most. One of less than two minutes, at half. */
const SESSION_SPARE_MS = 60_000;
/** Used for so long at least, or one that ends at once would be opened again for ever; Stripe says when it is over. */
const SESSION_USE_MS_MIN = 1_000;
/** Stripe's session; for an answer whose times make no sense. */
const SESSION_MS = 900_000;

interface Session {
  readonly token: string;
  readonly openedAtMs: number;
  readonly useMs: number;
}

export function createStripeStream({
  stripe,
  runtime,
  deadline = realDeadline,
  heard,
}: StripeSinkOptions): MeterSink {
  let session: Promise<Session> | undefined;

  const open = async (): Promise<Session> => {
    const options = { maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS };
    const made = await within(
      stripe.v2.billing.meterEventSession.create({}, options),
      deadline(STRIPE_TIMEOUT_MS),
    );
    heard?.(dateOf(made));
    if (typeof made.authentication_token !== 'string')
      throw new TypeError(`No session came back. ${NOT_STRIPE}`);
    // By its length, not its end: this machine's clock may differ from Stripe's.
    const lengthMs = Date.parse(made.expires_at) - Date.parse(made.created);
    return {
      token: made.authentication_token,
      openedAtMs: runtime.now(),
      useMs: useMs(lengthMs > 0 ? lengthMs : SESSION_MS),
    };
  };

  /** The session; joined by all who ask meanwhile, and asked for anew when it failed or its time is nearly over. */
  const sessionNow = async (): Promise<Session> => {
    const wanted = (session ??= open());
    try {
      const known = await wanted;
      const ageMs = runtime.now() - known.openedAtMs;
      // Below 0 the clock was set back, and nobody knows how old it is.
      if (ageMs >= 0 && ageMs < known.useMs) return known;
    } catch (error) {
      if (session === wanted) session = undefined;
      throw error;
    }
    if (session === wanted) session = undefined;
    return sessionNow();
  };

  const post = async (events: readonly MeterEvent[], token: string): Promise<void> => {
    const request = stripe.v2.billing.meterEventStream.create(
      { events: events.map(v2Params) },
      { apiKey: token, maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS },
    );
    const answer: unknown = await within(request, deadline(STRIPE_TIMEOUT_MS));
    heard?.(dateOf(answer));
    if (!isTaken(answer)) throw new TypeError(`The answer is not the stream's. ${NOT_STRIPE}`);
  };

  const send = async (events: readonly MeterEvent[], renewed = false): Promise<readonly Delivery[]> => {
    let token: string;
    try {
      ({ token } = await sessionNow());
    } catch (error) {
      return events.map((event) => unopened(event, error, runtime.now()));
    }
    try {
      await post(events, token);
      return events.map(({ identifier }) => ({ identifier, kind: 'accepted' }));
    } catch (error) {
      heard?.(dateOf(error));
      if (isSessionOver(error)) {
        session = undefined;
        if (!renewed) return send(events, true);
      }
      const answers = events.map((event) => ofSession(deliveryOf(event, error, runtime.now())));
      if (events.length === 1 || !OF_ONE.has(answers[0]?.kind)) return answers;
      // One of them is not wanted, or there already; which one, halves tell.
      const half = events.length >> 1;
      return [...(await send(events.slice(0, half))), ...(await send(events.slice(half)))];
    }
  };
  return { send: (events) => send(events) };
}

const useMs = (lengthMs: number): number =>
  Math.max(SESSION_USE_MS_MIN, lengthMs - Math.min(SESSION_SPARE_MS, lengthMs / 2));

const OF_ONE: ReadonlySet<string | undefined> = new Set(['refused', 'duplicate']);

/** The stream answers `{}`; the SDK takes any other JSON without an `error`, whatever its status, for success too. */
function isTaken(answer: unknown): boolean {
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return false;
  const { statusCode = 200, requestId } = ('lastResponse' in answer ? answer.lastResponse : {}) as {
    statusCode?: unknown;
    requestId?: unknown;
  };
  if (typeof statusCode !== 'number' || statusCode >= 300) return false;
  return Object.keys(answer).length === 0 || (typeof requestId === 'string' && requestId.startsWith('req_'));
}

/** Without a session no event was sent, whatever the answer was. */
function unopened(event: MeterEvent, error: unknown, nowMs: number): Delivery {
  const answer = deliveryOf(event, error, nowMs);
  if (answer.kind === 'retry' && answer.cause !== 'forbidden') return answer;
  const why = 'error' in answer ? answer.error : 'it is refused as a duplicate';
  const isRefusal = answer.kind === 'refused' || answer.kind === 'retry';
  return {
    identifier: event.identifier,
    kind: 'retry',
    cause: isRefusal ? 'misdirected' : 'unreachable',
    notBeforeMs: 'notBeforeMs' in answer ? answer.notBeforeMs : nowMs,
    error: `The stream gives no session: ${why}`,
  };
}

/** A 403 here is the session's, whosever events were in the batch. */
const ofSession = (answer: Delivery): Delivery =>
  answer.kind === 'retry' && answer.cause === 'forbidden' ? { ...answer, cause: 'unauthorised' } : answer;

const isSessionOver = (error: unknown): boolean =>
  error instanceof Stripe.errors.TemporarySessionExpiredError ||
  (error instanceof Stripe.errors.StripeError &&
    (error.statusCode === 401 || error.code === 'temporary_session_expired'));
