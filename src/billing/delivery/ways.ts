/**
 * The ways to Stripe, and the choice among them. `auto` goes by v2, whose answers are final; by v1 where the account has
 * no v2; and by the stream while a backlog or Stripe's complaints say that one request an event is too slow.
 */
import type { Delivery, MeterEvent, RetryCause } from '../../ledger/ledger.ts';
import type { Transport, Transports } from '../ports.ts';
import { createStripeSink, createStripeV1Sink } from './v2-sink.ts';
import type { StripeSinkOptions } from './v2-sink.ts';
import { createStripeStream, STREAM_EVENTS_MAX } from './stream-sink.ts';

export type Way = 'v2' | 'v1' | 'stream';

/** Stripe's sandbox takes 25 a second, live mode 1,000; a round trip is about 0.1 s. */
const PARALLEL_MAX = 16;
/** Requests of 100: 4 at a time are thousands of events a second. */
const STREAMS_MAX = 4;
/** Waiting events from which the stream is worth its late answers: at 160 a second, some 3 s of sending. */
const BACKLOG_MAX = 500;
/** Down to so many, it goes one by one again. */
const BACKLOG_MIN = 50;
/** So many complaints of the account's rate within so long are a reason too. */
const COMPLAINTS_MAX = 3;
const COMPLAINTS_MS = 10_000;
/** A way that an account has not is tried again after so long. */
const CLOSED_MS = 600_000;
/** A stream that has taken nothing for so long, and only failed, is left for one that is asked whether Stripe is there. */
const FAILING_MS = 10_000;

export function createStripeWays(way: Way | 'auto', options: StripeSinkOptions): Transports {
  const ways = waysOf(options);
  return way === 'auto' ? createAuto(ways) : always(ways, way);
}

type Ways = Readonly<Record<Way, Transport>>;

function waysOf(options: StripeSinkOptions): Ways {
  const single = { batchMax: 1, isInTurn: true, parallelMax: PARALLEL_MAX };
  const batches = { batchMax: STREAM_EVENTS_MAX, isInTurn: false, parallelMax: STREAMS_MAX };
  return {
    v2: { name: 'v2', ...single, send: createStripeSink(options).send },
    v1: { name: 'v1', ...single, send: createStripeV1Sink(options).send },
    stream: { name: 'stream', ...batches, send: createStripeStream(options).send },
  };
}

const always = (ways: Ways, way: Way): Transports => ({
  choose: () => ways[way],
  // What began another way before the configuration changed goes on that way.
  named: (name) => (isWay(name) ? ways[name] : undefined),
  saw: () => undefined,
});

const isWay = (name: string): name is Way => name === 'v2' || name === 'v1' || name === 'stream';

function createAuto(ways: Ways): Transports {
  const closedAtMs = new Map<Way, number>();
  const isClosed = (way: Way, nowMs: number): boolean => {
    const atMs = closedAtMs.get(way);
    return atMs !== undefined && nowMs >= atMs && nowMs - atMs < CLOSED_MS;
  };
  let complaints: readonly number[] = [];
  let isStreaming = false;
  let chosenMs = 0;
  const health = createStreamHealth();

  /** A way that is not there is no answer to its events: they go another way at once. v1 has none after it. */
  const detouring = (way: 'v2' | 'stream'): Transport => ({
    ...ways[way],
    async send(events: readonly MeterEvent[]) {
      const answers = await ways[way].send(events);
      // Something in front, not Stripe: the events stay in doubt, and go another way when they are sent again.
      if (answers.some(lacksRoute)) closedAtMs.set(way, chosenMs);
      if (!answers.some((answer) => answer.kind === 'retry' && answer.cause === 'misdirected'))
        return answers;
      closedAtMs.set(way, chosenMs);
      return answers.map((answer) =>
        answer.kind === 'retry' && answer.cause === 'misdirected' ? elsewhere(answer, chosenMs) : answer,
      );
    },
  });
  const v2 = detouring('v2');
  const stream = detouring('stream');

  return {
    choose(waiting, nowMs) {
      chosenMs = nowMs;
      complaints = complaints.filter((atMs) => atMs <= nowMs && nowMs - atMs < COMPLAINTS_MS);
      const isCrowded = complaints.length >= COMPLAINTS_MAX && waiting > BACKLOG_MIN;
      isStreaming = isStreaming ? waiting > BACKLOG_MIN : waiting >= BACKLOG_MAX || isCrowded;
      if (isStreaming && !isClosed('stream', nowMs) && !health.isDoubtful(nowMs)) return stream;
      return isClosed('v2', nowMs) ? ways.v1 : v2;
    },
    named(name, nowMs) {
      if (!isWay(name) || isClosed(name, nowMs)) return undefined;
      return { v2, v1: ways.v1, stream }[name];
    },
    saw(transport, answer, nowMs) {
      if (health.saw(transport.name === 'stream', answer, nowMs)) closedAtMs.set('stream', nowMs);
      // Neither API is there: it is not the account that lacks one.
      if (transport.name === 'v1' && lacksRoute(answer)) closedAtMs.delete('v2');
      if (answer.kind !== 'retry') return;
      if (answer.cause === 'busy' && transport.name !== 'stream') complaints = [...complaints, nowMs];
      if (answer.cause === 'misdirected' && transport.name === 'v1') closedAtMs.delete('v2');
    },
  };
}

interface StreamHealth {
  /** Whether another way must tell first if it is Stripe that is away, or the stream alone. */
  isDoubtful(nowMs: number): boolean;
  /** Answers whether the stream alone is away. */
  saw(isStream: boolean, answer: Delivery, nowMs: number): boolean;
}

/**
 * The stream has an address of its own, which a network may not let through, and a credential of its own. Where it fails
 * and the other ways work, a backlog must not wait for it.
 */
function createStreamHealth(): StreamHealth {
  let failingSinceMs: number | undefined;
  let isStripeThere = false;
  const isDoubtful = (nowMs: number): boolean =>
    failingSinceMs !== undefined && nowMs - failingSinceMs >= FAILING_MS && !isStripeThere;
  return {
    isDoubtful,
    saw(isStream, answer, nowMs) {
      const isFailure = failed(answer);
      if (!isStream) {
        isStripeThere ||= isDoubtful(nowMs) && !isFailure;
        return false;
      }
      const isAlone = isFailure && isStripeThere;
      if (!isFailure || isAlone) [failingSinceMs, isStripeThere] = [undefined, false];
      else failingSinceMs = Math.min(failingSinceMs ?? nowMs, nowMs);
      return isAlone;
    },
  };
}

const FAILURES: ReadonlySet<RetryCause | undefined> = new Set<RetryCause>([
  'busy',
  'unreachable',
  'unauthorised',
  'forbidden',
]);
const failed = (answer: Delivery): boolean =>
  answer.kind === 'ambiguous' || (answer.kind === 'retry' && FAILURES.has(answer.cause));

const lacksRoute = (answer: Delivery): boolean => answer.kind === 'ambiguous' && answer.noRoute === true;

/** Not an attempt: due now, for the way that is chosen next. */
const elsewhere = ({ identifier, error }: Extract<Delivery, { kind: 'retry' }>, nowMs: number): Delivery => ({
  identifier,
  kind: 'retry',
  notBeforeMs: nowMs,
  error,
  untried: true,
});
