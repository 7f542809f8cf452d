/** Sends leased meter events: one at a time for a customer and meter, several customers at once, and marks each answer. */
import type { Delivery, LeasedEvent, Ledger, RetryCause } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import type { Breaker, Sign } from './breaker.ts';
import type { Permission } from './permission.ts';
import type { MeterSink } from './ports.ts';
import { STRIPE_TIMEOUT_MS } from './stripe-client.ts';

export interface SenderOptions {
  readonly ledger: Pick<Ledger, 'mark'>;
  readonly sink: MeterSink;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly breaker: Breaker;
  readonly permission: Permission;
  /** A number from 0 up to, not including, 1. */
  readonly random: () => number;
  readonly parallelMax: number;
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
  width(): number;
  /** Every event comes back with what was marked. Rejects, after all the others were tried, when a mark failed. */
  send(leased: Leased): Promise<readonly Delivery[]>;
}

/** Stripe knows an identifier again for 24 hours at least; an hour is left for clocks and slow requests. */
const AMBIGUOUS_MS_MAX = 23 * 3_600_000;
const BACKOFF_MS_FIRST = 500;
/** The contract: while Stripe is well, a failed send is retried within 30 s. */
const BACKOFF_MS_MAX = 30_000;
/** A permission is changed by hand. */
const FORBIDDEN_MS = 10_000;
/** So that an event is not sent twice in one pass. */
const BACKOFF_MS_MIN = 50;

export function createSender(options: SenderOptions): Sender {
  const { ledger, sink, runtime, breaker, permission, random, parallelMax } = options;
  let width = parallelMax;

  /** Full jitter: anywhere up to the doubling bound, so that what failed together does not come back together. */
  const backoffMs = (attempts: number): number =>
    Math.max(
      BACKOFF_MS_MIN,
      random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** Math.min(attempts - 1, 16)),
    );

  const deliver = async (event: LeasedEvent, leased: Leased): Promise<Delivery> => {
    const nowMs = runtime.now();
    if (nowMs - event.firstAttemptAtMs >= AMBIGUOUS_MS_MAX) {
      const delivery = quarantined(event);
      runtime.log('error', 'meter_event_quarantined', {
        identifier: event.identifier,
        customer: event.customer,
      });
      return delivery;
    }
    const isProbe = leased.probe?.identifier === event.identifier;
    const isHeldBack = breaker.leave(nowMs).kind !== 'send' && !isProbe;
    if (isHeldBack || nowMs + STRIPE_TIMEOUT_MS > leased.untilMs) return unsent(event, nowMs);
    const answer = judged(permission, event, { answer: await ask(sink, event, nowMs), nowMs: runtime.now() });
    const notBeforeMs = 'notBeforeMs' in answer ? answer.notBeforeMs : 0;
    const sent = { identifier: event.identifier, isProbe, notBeforeMs };
    const hasTripped = breaker.saw(signOf(answer), sent, runtime.now());
    if (answer.kind === 'retry' && answer.cause === 'busy') width = Math.max(1, width >> 1);
    const delivery = scheduled(answer, event);
    tell(runtime, event, { delivery, hasTripped });
    return delivery;
  };

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
    const cause = answer.cause ?? 'busy';
    const untried = BY_HAND.has(cause);
    const atMs = cause === 'forbidden' ? Math.max(notBeforeMs, nowMs + FORBIDDEN_MS) : notBeforeMs;
    return { ...answer, cause, notBeforeMs: atMs, untried };
  };

  return {
    width: () => width,
    async send(leased) {
      const marked: Delivery[] = [];
      const before = width;
      await inParallel(byCustomerAndMeter(leased.events), width, async (events) => {
        const deliveries: Delivery[] = [];
        for (const event of events) {
          const last = deliveries.at(-1);
          deliveries.push(
            last !== undefined && holdsLane(last)
              ? unsent(event, last.notBeforeMs)
              : await deliver(event, leased),
          );
        }
        await ledger.mark(deliveries, runtime.now());
        marked.push(...deliveries);
      });
      if (width >= before) width = Math.min(parallelMax, width + 1);
      return marked;
    },
  };
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
  (delivery.cause === 'forbidden' || (delivery.untried === true && delivery.cause === undefined));

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

/** The sink's answer to one event; a sink that throws or says nothing leaves it ambiguous. */
async function ask(sink: MeterSink, event: LeasedEvent, nowMs: number): Promise<Delivery> {
  const { identifier } = event;
  const ambiguous = (error: string): Delivery => ({
    identifier,
    kind: 'ambiguous',
    notBeforeMs: nowMs,
    error,
  });
  try {
    const answers = await sink.send([event]);
    return (
      answers.find((answer) => answer.identifier === identifier) ??
      ambiguous('The sink gave no answer for this event.')
    );
  } catch (error) {
    return ambiguous(`The sink failed: ${String(error)}`);
  }
}

function signOf(answer: Delivery): Sign {
  if (answer.kind === 'ambiguous') return 'unanswered';
  if (answer.kind !== 'retry' || answer.cause === undefined) return 'answered';
  if (answer.cause === 'busy' || answer.cause === 'forbidden') return 'answered';
  return answer.cause === 'unreachable' ? 'unanswered' : 'unauthorised';
}

/** Goes back as it was: due now, nothing counted. */
const unsent = ({ identifier }: LeasedEvent, nowMs: number): Delivery => ({
  identifier,
  kind: 'retry',
  notBeforeMs: nowMs,
  error: 'Held back: not sent.',
  untried: true,
});

const quarantined = ({ identifier }: LeasedEvent): Delivery => ({
  identifier,
  kind: 'quarantined',
  error:
    'Stripe may have taken it more than 23 hours ago and would count it again. ' +
    "To do: compare with Stripe's usage of the customer, then `faregate events resolve --delivered` or `--lost`.",
});

type Told = { readonly delivery: Delivery; readonly hasTripped: boolean };

function tell(runtime: Pick<Runtime, 'log'>, event: LeasedEvent, { delivery, hasTripped }: Told): void {
  if (!('error' in delivery)) return;
  const fields = { identifier: event.identifier, customer: event.customer, error: delivery.error };
  if (delivery.kind === 'refused') runtime.log('error', 'meter_event_refused', fields);
  else runtime.log('warn', `meter_event_${delivery.kind}`, { ...fields, attempts: event.attempts });
  if (!hasTripped) return;
  const isKey = delivery.kind === 'retry' && delivery.cause !== 'unreachable';
  runtime.log('error', isKey ? 'stripe_refuses_key' : 'stripe_unreachable', { error: delivery.error });
}

function byCustomerAndMeter(events: readonly LeasedEvent[]): readonly (readonly LeasedEvent[])[] {
  return [...Map.groupBy(events, (event) => JSON.stringify([event.customer, event.eventName])).values()];
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
