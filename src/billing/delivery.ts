/**
 * Settled usage to Stripe: one pass seals lines into meter events, leases what is due, sends it and marks the answers.
 * Nothing here waits for time to pass: a timer, an alarm, the command line or a test owns the loop and calls `flush`.
 */
import type { Delivery, Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';
import { createBreaker } from './breaker.ts';
import { createPermission } from './permission.ts';
import type { Permission } from './permission.ts';
import type { Breaker, Leave } from './breaker.ts';
import type { MeterSink } from './ports.ts';
import { sealLines } from './seal.ts';
import { createSender } from './sender.ts';
import type { Leased } from './sender.ts';

export interface DeliveryOptions {
  readonly ledger: Pick<Ledger, 'unsealed' | 'seal' | 'lease' | 'mark' | 'clockSetBack' | 'latestEventMs'>;
  readonly sink: MeterSink;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly crypto: Pick<Crypto, 'sha256' | 'random'>;
  readonly eventName: string;
  /** Sends at a time, for different customers. */
  readonly parallelMax?: number | undefined;
}

/** What one pass did. */
export interface FlushReport {
  sealed: number;
  sent: number;
  /** Duplicates included: Stripe has them. */
  accepted: number;
  retried: number;
  refused: number;
  ambiguous: number;
  quarantined: number;
  /** Milliseconds after which another pass is worth its while, even if no call ends before; absent when nothing waits. */
  next?: number;
}

export interface MeterDelivery {
  /**
   * One pass. A call during a pass answers with the pass after it, so that what was settled before the call is always
   * covered; passes never overlap. Rejects when the ledger fails: nothing is lost then, leases run out.
   */
  flush(): Promise<FlushReport>;
}

/** A send takes 10 s at most; a crash leaves its events for the next start after this long, within the promised 30 s. */
const LEASE_MS = 25_000;
const SEAL_LINES = 500;
const ROUNDS_MAX = 200;
/** Stripe's sandbox takes 25 a second, live mode 1,000; a round trip is about 0.1 s. */
const PARALLEL_MAX = 16;
/** Retries of earlier passes are looked after at least so often. */
const POLL_MS = 5_000;
/** Leased for a probe that must be an event tried least; the others go back unsent. */
const PROBE_CHOICE = 8;
/** A clock this much behind its last reading was set back; less is the correction of a running clock. */
const CLOCK_BACK_MS = 1_000;

export function createDelivery(options: DeliveryOptions): MeterDelivery {
  const { ledger, runtime, crypto, parallelMax = PARALLEL_MAX } = options;
  const random = (): number => crypto.random(4).reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 32;
  const breaker = createBreaker({ random });
  const permission = createPermission();
  const sender = createSender({ ...options, breaker, permission, random, parallelMax });
  /** No retry that this process knows of is due later. At first: leases that a crash may have left. */
  let latestDueMs = runtime.now() + LEASE_MS;
  const watchClock = createClockWatch(options);

  const pass = async (): Promise<FlushReport> => {
    const setBackMs = await watchClock();
    if (setBackMs > 0) {
      breaker.clockSetBack(setBackMs);
      latestDueMs -= setBackMs;
    }
    const report = { ...NOTHING_DONE, sealed: await sealAll(options) };
    let isExhausted = false;
    for (let round = 0; round < ROUNDS_MAX && !isExhausted; round += 1) {
      const limit = sender.width() * 2;
      const leased = await leaseRound({ ledger, breaker, nowMs: runtime.now(), limit, permission });
      isExhausted = leased.events.length === 0;
      for (const delivery of await sender.send(leased)) {
        tally(report, delivery);
        if ('notBeforeMs' in delivery) latestDueMs = Math.max(latestDueMs, delivery.notBeforeMs);
      }
    }
    const next = isExhausted ? nextMs(breaker.leave(runtime.now()), latestDueMs, runtime.now()) : 0;
    return next === undefined ? report : { ...report, next };
  };

  let running: Promise<FlushReport> | undefined;
  let queued: Promise<FlushReport> | undefined;
  const flush = (): Promise<FlushReport> => {
    if (running === undefined) {
      running = pass().finally(() => {
        running = undefined;
      });
      return running;
    }
    const again = (): Promise<FlushReport> => {
      queued = undefined;
      return flush();
    };
    queued ??= running.then(again, again);
    return queued;
  };
  return { flush };
}

const NOTHING_DONE = { sent: 0, accepted: 0, retried: 0, refused: 0, ambiguous: 0, quarantined: 0 };

/** Answers a check of the clock, made before each pass: by how much it was set back since the last, mostly 0. */
function createClockWatch({
  ledger,
  runtime,
}: Pick<DeliveryOptions, 'ledger' | 'runtime'>): () => Promise<number> {
  let lastMs: number | undefined;
  return async () => {
    lastMs ??= (await ledger.latestEventMs()) ?? 0;
    const nowMs = runtime.now();
    const byMs = lastMs - nowMs;
    if (byMs > CLOCK_BACK_MS) {
      await ledger.clockSetBack(byMs);
      runtime.log('error', 'clock_set_back', { seconds: Math.round(byMs / 1000) });
    }
    lastMs = nowMs;
    return byMs > CLOCK_BACK_MS ? byMs : 0;
  };
}

async function sealAll({ ledger, eventName, crypto }: DeliveryOptions): Promise<number> {
  let sealed = 0;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const lines = await ledger.unsealed(SEAL_LINES);
    if (lines.length > 0) await ledger.seal(sealLines(lines, { eventName, crypto }));
    sealed += lines.length;
    if (lines.length < SEAL_LINES) break;
  }
  return sealed;
}

interface LeaseRound {
  readonly ledger: Pick<Ledger, 'lease'>;
  readonly breaker: Breaker;
  readonly nowMs: number;
  readonly limit: number;
  readonly permission: Pick<Permission, 'isSuspect'>;
}

async function leaseRound({ ledger, breaker, nowMs, limit, permission }: LeaseRound): Promise<Leased> {
  const leave = breaker.leave(nowMs);
  const untilMs = nowMs + LEASE_MS;
  const term = { nowMs, leaseMs: LEASE_MS };
  if (leave.kind === 'wait') return { events: [], untilMs, probe: undefined };
  if (leave.kind === 'send') {
    return { events: await ledger.lease({ ...term, limit }), untilMs, probe: undefined };
  }
  const canary =
    leave.canary === null ? [] : await ledger.lease({ ...term, limit: 1, identifier: leave.canary });
  // The canary may be gone: cancelled by the operator, or leased by another process.
  const events = canary.length > 0 ? canary : await ledger.lease({ ...term, limit: PROBE_CHOICE });
  const rank = ({ customer }: { customer: string }): number => Number(permission.isSuspect(customer));
  return {
    events,
    untilMs,
    probe: events.toSorted((a, b) => rank(a) - rank(b) || a.attempts - b.attempts)[0],
  };
}

function tally(report: FlushReport, delivery: Delivery): void {
  switch (delivery.kind) {
    case 'accepted':
    case 'duplicate':
      report.accepted += 1;
      break;
    case 'retry':
      if (delivery.cause === undefined) return;
      report.retried += 1;
      break;
    case 'quarantined':
      report.quarantined += 1;
      return;
    default:
      report[delivery.kind] += 1;
  }
  report.sent += 1;
}

function nextMs(leave: Leave, latestDueMs: number, nowMs: number): number | undefined {
  if (leave.kind === 'wait') return Math.max(leave.untilMs - nowMs, 0);
  return latestDueMs > nowMs ? Math.min(latestDueMs - nowMs, POLL_MS) : undefined;
}
