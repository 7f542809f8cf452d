/**
 * Sends leased meter events and marks each answer: one at a time for a customer and meter where the way asks for it,
 * else in batches; several at once.
 */
import type { Delivery, LeasedEvent, Ledger, RetryCause } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import type { Breaker, Sign } from './breaker.ts';
import type { Limiter } from './limiter.ts';
import type { Permission } from '../stripe/permission.ts';
import type { MeterSink, Transport } from '../ports.ts';
import { STRIPE_TIMEOUT_MS } from '../stripe/client.ts';

export interface SenderOptions {
  readonly ledger: Pick<Ledger, 'mark'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly breaker: Breaker;
  readonly permission: Permission;
  /** A number from 0 up to, not including, 1. */
  readonly random: () => number;
  readonly limiterOf: (transport: Transport) => Limiter;
  readonly saw: (transport: Transport, answer: Delivery) => void;
}

/** Events under lease, and what may be done with them. */
export interface Leased {
  readonly events: readonly LeasedEvent[];
  /** The lease's end: no send begins that could outlast it. */
  readonly untilMs: number;
  /** The one event that finds out whether Stripe is back; the others go back unsent. */
  readonly probe: LeasedEvent | undefined;
}

export interface Sender {
  /** Sends at a time now: halved when Stripe says it is busy, one more after each round in which it did not. */
  width(transport: Transport): number;
  /** Every event comes back with what was marked. Rejects, after all the others were tried, when a mark failed. */
  send(leased: Leased, transport: Transport): Promise<readonly Delivery[]>;
}

/** Stripe knows an identifier again for 24 hours at least; an hour is left for clocks and slow requests. */
const AMBIGUOUS_MS_MAX = 23 * 3_600_000;
/** Stripe takes usage of the past 35 days; a day is left for clocks, and for the operator. */
const AGE_MS_MAX = 34 * 86_400_000;
const BACKOFF_MS_FIRST = 500;
/** The contract: while Stripe is well, a failed send is retried within 30 s. */
const BACKOFF_MS_MAX = 30_000;
/** A permission is changed by hand. */
const FORBIDDEN_MS = 10_000;
/** So that an event is not sent twice in one pass. */
const BACKOFF_MS_MIN = 50;

export function createSender(options: SenderOptions): Sender {
  const widths = new Map<string, number>();
  const widthOf = ({ name, parallelMax }: Transport): number => widths.get(name) ?? parallelMax;
  const mark = createMarker(options);
  const deliver = createDeliver({
    ...options,
    narrow: (transport) => widths.set(transport.name, Math.max(1, widthOf(transport) >> 1)),
  });

  /** One after the other. Where the first is told to wait for what concerns them all, the rest waits with it. */
  const sendLane = async (
    units: readonly Batch[],
    leased: Leased,
    transport: Transport,
  ): Promise<Delivery[]> => {
    const deliveries: Delivery[] = [];
    for (const unit of units) {
      const last = deliveries.at(-1);
      deliveries.push(
        ...(last !== undefined && holdsLane(last)
          ? unit.map((event) => unsent(event, last.notBeforeMs))
          : await deliver(unit, leased, transport)),
      );
    }
    return deliveries;
  };

  return {
    width: widthOf,
    async send(leased, transport) {
      const marked: Delivery[] = [];
      const before = widthOf(transport);
      await inParallel(lanesOf(leased.events, transport), before, async (units) => {
        const deliveries = await sendLane(units, leased, transport);
        await mark(deliveries);
        marked.push(...deliveries);
      });
      const after = widthOf(transport);
      if (after >= before) widths.set(transport.name, Math.min(transport.parallelMax, after + 1));
      return marked;
    },
  };
}

/** Marks answers, one batch at a time: what is answered while one is written goes into the next, in one commit. */
function createMarker({
  ledger,
  runtime,
}: Pick<SenderOptions, 'ledger' | 'runtime'>): (deliveries: readonly Delivery[]) => Promise<void> {
  let writing: Promise<void> | undefined;
  let next: { readonly deliveries: Delivery[]; readonly written: Promise<void> } | undefined;
  const write = async (deliveries: readonly Delivery[]): Promise<void> => {
    const mine = ledger.mark(deliveries, runtime.now());
    writing = mine;
    try {
      await mine;
    } finally {
      if (writing === mine) writing = undefined;
    }
  };
  return (deliveries) => {
    if (writing === undefined) return write(deliveries);
    if (next !== undefined) {
      next.deliveries.push(...deliveries);
      return next.written;
    }
    const joined = [...deliveries];
    const start = (): Promise<void> => {
      next = undefined;
      return write(joined);
    };
    next = { deliveries: joined, written: writing.then(start, start) };
    return next.written;
  };
}

type Batch = readonly LeasedEvent[];
type Deliver = (batch: Batch, leased: Leased, transport: Transport) => Promise<readonly Delivery[]>;

/** Sends one batch, unless its events are too old, or sending is held back. */
function createDeliver({
  runtime,
  breaker,
  permission,
  random,
  limiterOf,
  saw,
  narrow,
}: SenderOptions & { narrow: (transport: Transport) => void }): Deliver {
  /** Full jitter: anywhere up to the doubling bound, so that what failed together does not come back together. */
  const backoffMs = (attempts: number): number =>
    Math.max(
      BACKOFF_MS_MIN,
      random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** Math.min(attempts - 1, 16)),
    );

  /** When it is tried again: after the backoff, not before Stripe asked, and the canary just when the breaker probes. */
  const scheduled = (answer: Delivery, event: LeasedEvent): Delivery => {
    if (answer.kind !== 'retry' && answer.kind !== 'ambiguous') return answer;
    const nowMs = runtime.now();
    const leave = breaker.leave(nowMs);
    const notBeforeMs =
      leave.kind === 'wait'
        ? leave.untilMs
        : Math.ceil(Math.max(nowMs + backoffMs(event.attempts), answer.notBeforeMs));
    if (answer.kind === 'ambiguous') return { ...answer, notBeforeMs };
    if (answer.untried === true && answer.cause === undefined) return answer;
    const cause = answer.cause ?? 'busy';
    const atMs = cause === 'forbidden' ? Math.max(notBeforeMs, nowMs + FORBIDDEN_MS) : notBeforeMs;
    return { ...answer, cause, notBeforeMs: atMs, untried: BY_HAND.has(cause) };
  };

  const learn = (answer: Delivery, { event, isProbe, transport }: Sent): Delivery => {
    const nowMs = runtime.now();
    const judgement = judged(permission, event, { answer, nowMs });
    const notBeforeMs = 'notBeforeMs' in judgement ? judgement.notBeforeMs : 0;
    const sent = { identifier: event.identifier, isProbe, notBeforeMs };
    const hasTripped = breaker.saw(signOf(judgement), sent, nowMs);
    saw(transport, judgement);
    if (judgement.kind === 'retry' && judgement.cause === 'busy') {
      narrow(transport);
      limiterOf(transport).busy(nowMs, notBeforeMs);
    }
    const delivery = scheduled(judgement, event);
    tell(runtime, event, { delivery, hasTripped });
    return delivery;
  };

  return async (batch, leased, transport) => {
    const nowMs = runtime.now();
    const tooOld = batch.flatMap((event) => pastTime(event, nowMs) ?? []);
    for (const { identifier, kind } of tooOld) runtime.log('error', `meter_event_${kind}`, { identifier });
    const young = batch.filter(({ identifier }) => !tooOld.some((old) => old.identifier === identifier));
    const isProbe = young.some(({ identifier }) => identifier === leased.probe?.identifier);
    const isHeldBack = breaker.leave(nowMs).kind !== 'send' && !isProbe;
    const isLate = nowMs + STRIPE_TIMEOUT_MS > leased.untilMs;
    const limiter = limiterOf(transport);
    if (young.length === 0 || isHeldBack || isLate || limiter.free(nowMs) < 1)
      return [...tooOld, ...young.map((event) => unsent(event, nowMs))];
    limiter.took(nowMs);
    const answers = await ask(transport, young, nowMs);
    return [
      ...tooOld,
      ...young.map((event, at) => learn(answers[at] ?? silent(event, nowMs), { event, isProbe, transport })),
    ];
  };
}

interface Sent {
  readonly event: LeasedEvent;
  readonly isProbe: boolean;
  readonly transport: Transport;
}

type Retry = Extract<Delivery, { kind: 'retry' }>;

/** Causes that only a change by hand ends: an attempt is not the event's. */
const BY_HAND: ReadonlySet<RetryCause | undefined> = new Set<RetryCause>([
  'unauthorised',
  'forbidden',
  'misdirected',
]);

/** Whether the customer's other events wait with this one: what was answered to it is so for them. */
const holdsLane = (delivery: Delivery): delivery is Retry =>
  delivery.kind === 'retry' &&
  (delivery.cause === 'forbidden' ||
    delivery.cause === 'contended' ||
    (delivery.untried === true && delivery.cause === undefined));

/** A 403 is the event's own where Stripe takes those of others, and the key's where it does not. */
function judged(
  permission: Permission,
  { identifier, customer }: LeasedEvent,
  { answer, nowMs }: { answer: Delivery; nowMs: number },
): Delivery {
  if (answer.kind === 'ambiguous') return answer;
  if (answer.kind !== 'retry') {
    permission.served(customer, nowMs);
    return answer;
  }
  if (answer.cause !== 'forbidden') return answer;
  switch (permission.refused(customer, nowMs)) {
    case 'event':
      return { identifier, kind: 'refused', error: answer.error };
    case 'customer':
      return answer;
    case 'key':
      return { ...answer, cause: 'unauthorised' };
  }
}

/** The sink's answers, in the events' order; a sink that throws or says nothing leaves an event ambiguous. */
async function ask(sink: MeterSink, events: Batch, nowMs: number): Promise<readonly Delivery[]> {
  try {
    const answers = new Map((await sink.send(events)).map((answer) => [answer.identifier, answer]));
    return events.map((event) => answers.get(event.identifier) ?? silent(event, nowMs));
  } catch (error) {
    return events.map((event) => silent(event, nowMs, `The sink failed: ${String(error)}`));
  }
}

const silent = (
  { identifier }: LeasedEvent,
  nowMs: number,
  error = 'The sink gave no answer for this event.',
): Delivery => ({ identifier, kind: 'ambiguous', notBeforeMs: nowMs, error });

function signOf(answer: Delivery): Sign {
  if (answer.kind === 'ambiguous') return 'unanswered';
  if (answer.kind !== 'retry') return 'answered';
  switch (answer.cause) {
    case 'unreachable':
      return 'unanswered';
    case 'unauthorised':
      return 'unauthorised';
    case 'misdirected':
      return 'unauthorised';
    default:
      return 'answered';
  }
}

/** Goes back as it was, nothing counted. */
const unsent = ({ identifier }: LeasedEvent, notBeforeMs: number): Delivery => ({
  identifier,
  kind: 'retry',
  notBeforeMs,
  error: 'Held back: not sent.',
  untried: true,
});

/** Why an event may not be sent any more, if so. Doubt comes first: what may be counted already has not expired. */
function pastTime(
  event: LeasedEvent,
  nowMs: number,
): Extract<Delivery, { kind: 'quarantined' | 'expired' | 'refused' }> | undefined {
  const { identifier } = event;
  if (event.isInDoubt && nowMs - event.firstAttemptAtMs >= AMBIGUOUS_MS_MAX)
    return { identifier, kind: 'quarantined', error: DOUBTFUL };
  const isOld = nowMs - event.timestampMs >= AGE_MS_MAX;
  if (isOld && event.isInDoubt) return { identifier, kind: 'quarantined', error: DOUBTFUL };
  return isOld ? { identifier, kind: 'expired', error: EXPIRED } : undefined;
}

const DOUBTFUL =
  'Stripe may have taken it more than 23 hours ago and would count it again. ' +
  "To do: compare with Stripe's usage of the customer, then `faregate events resolve --delivered` or `--lost`.";
const EXPIRED =
  'Its usage is 34 days old and Stripe takes 35: it was not sent. To do: bill it by an invoice item.';

type Told = { readonly delivery: Delivery; readonly hasTripped: boolean };

function tell(runtime: Pick<Runtime, 'log'>, event: LeasedEvent, { delivery, hasTripped }: Told): void {
  if (!('error' in delivery) || (delivery.kind === 'retry' && delivery.cause === undefined)) return;
  const fields = { identifier: event.identifier, customer: event.customer, error: delivery.error };
  if (delivery.kind === 'refused') runtime.log('error', 'meter_event_refused', fields);
  else runtime.log('warn', `meter_event_${delivery.kind}`, { ...fields, attempts: event.attempts });
  if (!hasTripped) return;
  const isKey = delivery.kind === 'retry' && delivery.cause !== 'unreachable';
  runtime.log('error', isKey ? 'stripe_refuses_key' : 'stripe_unreachable', { error: delivery.error });
}

/** What is sent one after the other: a customer's events of a meter, or each batch by itself. */
function lanesOf(events: Batch, { isInTurn, batchMax }: Transport): readonly (readonly Batch[])[] {
  if (isInTurn) {
    const lanes = Map.groupBy(events, (event) => JSON.stringify([event.customer, event.eventName]));
    return [...lanes.values()].map((lane) => lane.map((event) => [event]));
  }
  return Array.from({ length: Math.ceil(events.length / batchMax) }, (_, at) => [
    events.slice(at * batchMax, (at + 1) * batchMax),
  ]);
}

/** Runs the work of every item, `width` at a time; throws the first failure when all are done. */
async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const item of waiting) {
      try {
        await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
