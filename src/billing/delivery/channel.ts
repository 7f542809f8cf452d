/** One place that events go to: leases what is due, sends it the way that is chosen, until nothing is due or it may not. */
import type { Delivery, LeasedEvent, Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { createBreaker } from './breaker.ts';
import type { Breaker } from './breaker.ts';
import { createLimiter } from './limiter.ts';
import type { Limiter } from './limiter.ts';
import { createPermission } from '../stripe/permission.ts';
import type { MeterSink, Transport, Transports } from '../ports.ts';
import { createSender } from './sender.ts';
import type { Leased } from './sender.ts';

export interface ChannelOptions {
  readonly ledger: Pick<Ledger, 'lease' | 'mark' | 'waiting' | 'nextDueMs'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  /** A number from 0 up to, not including, 1. */
  readonly random: () => number;
  readonly transports: Transports;
  /** Events of these destinations. */
  readonly destinations: readonly string[];
}

export interface Channel {
  readonly destinations: readonly string[];
  /**
   * Sends what is due, and tells what was answered to each lease before the next is taken. Answers in how many milliseconds
   * to look again, by what waits in the ledger, so that who has just started knows too; undefined where nothing does.
   * `beside` is done while batches are on their way: what it adds goes with the next.
   */
  drain(
    told: (answers: readonly Delivery[]) => Promise<void>,
    beside?: () => Promise<unknown>,
  ): Promise<number | undefined>;
  clockSetBack(byMs: number): void;
}

/** A send takes 10 s at most; a crash leaves its events for the next start after this long, within the promised 30 s. */
const LEASE_MS = 25_000;
const ROUNDS_MAX = 200;
/** What waits is looked after at least so often. */
const POLL_MS = 5_000;
/** Batches leased for each that is sent at a time: the ledger marks one while the next is on its way. */
const LEASED_AHEAD = 4;
/** Leased for a probe that must be an event tried least; the others go back unsent. */
const PROBE_CHOICE = 8;
/** Counted for the choice of the way, before each lease; more is a backlog all the same. */
const COUNTED_MAX = 500;
/** Stripe's sandbox takes 25 a second, live mode 1,000; a round trip is about 0.1 s. */
const PARALLEL_MAX = 16;

export function createChannel(options: ChannelOptions): Channel {
  const { ledger, runtime, transports, destinations } = options;
  const breaker = createBreaker(options);
  const permission = createPermission();
  const limiters = new Map<string, Limiter>();
  const limiterOf = ({ name }: Transport): Limiter => {
    const limiter = limiters.get(name) ?? createLimiter();
    limiters.set(name, limiter);
    return limiter;
  };
  const sender = createSender({
    ...options,
    breaker,
    permission,
    limiterOf,
    saw: (transport, answer) => transports.saw(transport, answer, runtime.now()),
  });
  const lease = createLease({ ledger, breaker, destinations, isSuspect: permission.isSuspect });

  /** Sends one lease's events, those in doubt the way they began. */
  const sendAll = async (leased: Leased, chosen: Transport): Promise<readonly Delivery[]> => {
    const wayOf = ({ transport }: LeasedEvent): Transport =>
      transport === null || transport === chosen.name
        ? chosen
        : (transports.named(transport, runtime.now()) ?? chosen);
    const marked: Delivery[] = [];
    for (const [way, events] of Map.groupBy(leased.events, wayOf))
      marked.push(...(await sender.send({ ...leased, events }, way)));
    return marked;
  };

  const nextMs = async (): Promise<number | undefined> => {
    const leave = breaker.leave(runtime.now());
    if (leave.kind === 'wait') return Math.max(leave.untilMs - runtime.now(), 0);
    const atMs = await ledger.nextDueMs(destinations);
    return atMs === undefined ? undefined : Math.min(Math.max(atMs - runtime.now(), 0), POLL_MS);
  };

  return {
    destinations,
    clockSetBack(byMs) {
      breaker.clockSetBack(byMs);
      for (const limiter of limiters.values()) limiter.clockSetBack();
    },
    async drain(told, beside = () => Promise.resolve()) {
      for (let round = 0; round < ROUNDS_MAX; round += 1) {
        const transport = transports.choose(await ledger.waiting(COUNTED_MAX, destinations), runtime.now());
        const limiter = limiterOf(transport);
        const free = limiter.free(runtime.now());
        if (free < 1) return limiter.nextMs(runtime.now());
        const sends = Math.min(free, sender.width(transport) * (transport.isInTurn ? 2 : LEASED_AHEAD));
        const limit = sends * transport.batchMax;
        const leased = await lease(transport, { nowMs: runtime.now(), limit });
        if (leased.events.length === 0) return nextMs();
        const [answers] = await both(
          sendAll(leased, transport),
          transport.isInTurn ? Promise.resolve() : beside(),
        );
        await told(answers);
        const isAllDone = !answers.some((delivery) => 'notBeforeMs' in delivery);
        // All that was due was leased and is done with: no need to look again.
        if (isAllDone && transport.isInTurn && leased.probe === undefined && leased.events.length < limit)
          return nextMs();
      }
      return 0;
    },
  };
}

/** What both answer; fails when both are over, or a send would go on behind the pass it belongs to. */
async function both<A, B>(one: Promise<A>, other: Promise<B>): Promise<readonly [A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** The only way there is. */
export function onlyWay(sink: MeterSink, parallelMax = PARALLEL_MAX): Transports {
  const way = { name: 'only', batchMax: 1, isInTurn: true, parallelMax, send: sink.send };
  return { choose: () => way, named: () => way, saw: () => undefined };
}

interface LeaseOptions {
  readonly ledger: Pick<Ledger, 'lease'>;
  readonly breaker: Breaker;
  readonly destinations: readonly string[];
  readonly isSuspect: (customer: string) => boolean;
}

function createLease({ ledger, breaker, destinations, isSuspect }: LeaseOptions) {
  return async (
    { name: transport }: Transport,
    { nowMs, limit }: { nowMs: number; limit: number },
  ): Promise<Leased> => {
    const leave = breaker.leave(nowMs);
    const untilMs = nowMs + LEASE_MS;
    const term = { nowMs, leaseMs: LEASE_MS, destinations, transport };
    if (leave.kind === 'wait') return { events: [], untilMs, probe: undefined };
    if (leave.kind === 'send') {
      return { events: await ledger.lease({ ...term, limit }), untilMs, probe: undefined };
    }
    const canary =
      leave.canary === null ? [] : await ledger.lease({ ...term, limit: 1, identifier: leave.canary });
    // The canary may be gone: cancelled by the operator, or leased by another process.
    const events = canary.length > 0 ? canary : await ledger.lease({ ...term, limit: PROBE_CHOICE });
    const [probe] = events.toSorted(
      (a, b) => Number(isSuspect(a.customer)) - Number(isSuspect(b.customer)) || a.attempts - b.attempts,
    );
    // First, and so alone where events go in batches.
    return {
      events: probe === undefined ? [] : [probe, ...events.filter((one) => one !== probe)],
      untilMs,
      probe,
    };
  };
}
