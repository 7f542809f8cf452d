/**
 * Settled usage to where it is billed: one pass seals lines into meter events, leases what is due, sends it and marks the
 * answers. Nothing here waits for time to pass: a timer, an alarm, the command line or a test owns the loop and calls
 * `flush`.
 */
import type { Delivery, Ledger, UnsealedLine } from '../../ledger/ledger.ts';
import type { Crypto, Runtime } from '../../runtime.ts';
import { createAlarms } from './alarms.ts';
import type { Alarms } from './alarms.ts';
import { createChannel, onlyWay } from './channel.ts';
import type { Channel } from './channel.ts';
import type { Layout } from './layouts.ts';
import type { MeterSink, Transports } from '../ports.ts';
import { PILE_MAX, sealLines } from './seal.ts';

export interface DeliveryOptions {
  readonly ledger: Pick<
    Ledger,
    | 'unsealed'
    | 'sealingFacts'
    | 'seal'
    | 'lease'
    | 'mark'
    | 'waiting'
    | 'nextDueMs'
    | 'backlog'
    | 'clockSetBack'
    | 'latestClockMs'
  >;
  /** Where Stripe's layouts go: the ways to Stripe, or the one way there is. */
  readonly sink: MeterSink | Transports;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly crypto: Pick<Crypto, 'sha256' | 'random'>;
  readonly eventName: string;
  /** `dimensions` alone unless given. */
  readonly layouts?: readonly Layout[] | undefined;
  readonly classOf?: ((model: string) => string | undefined) | undefined;
  /** Above 0: usage is summed over so many milliseconds. */
  readonly windowMs?: number | undefined;
  /** Other places, by name. */
  readonly sinks?: ReadonlyMap<string, Transports> | undefined;
  readonly alarms?: Alarms | undefined;
  /** Told how many events were sent, before more are: a pass with much to send takes hours. Fails the pass when it rejects. */
  readonly sent?: ((count: number) => Promise<void>) | undefined;
  /** Sends at a time, for different customers, where there is one way. */
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
  expired: number;
  /** Milliseconds after which another pass is worth its while, even if no call ends before; absent when nothing waits. */
  next?: number;
}

export interface MeterDelivery {
  /**
   * One pass. A call during a pass answers with the pass after it, so that what was settled before the call is always
   * covered; passes never overlap. Rejects when the ledger fails: nothing is lost then, leases run out.
   */
  flush(): Promise<FlushReport>;
  readonly alarms: Alarms;
}

/** A clock this much behind its last reading was set back; less is the correction of a running clock. */
const CLOCK_BACK_MS = 1_000;
/** Usage may be recorded and imported with a time so far ahead: at the start, no sign that the clock was there. */
const AHEAD_MS = 300_000;
const SEAL_LINES = 500;
/** Calls of the rounds after the first: there is a pile then, and more of it can be summed. 40 ms of the writer's time. */
const SEAL_PILE_LINES = 2_000;
/** Calls sealed while events are on their way: two lines each, they are more than a round of sending takes. */
const SEAL_AHEAD_LINES = 1_000;
const SEAL_ROUNDS_MAX = 200;
/** Events sealed ahead of their sending; past it lines wait as lines, and are summed when their turn comes. */
const SEALED_AHEAD_MAX = 2_000;

export function createDelivery(options: DeliveryOptions): MeterDelivery {
  const { ledger, runtime, crypto } = options;
  const random = (): number => crypto.random(4).reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 32;
  const channels = channelsOf(options, random);
  const alarms = options.alarms ?? createAlarms({ ledger, runtime });
  const watchClock = createClockWatch(options);
  const sealer = createSealer(options, channels);

  const pass = async (): Promise<FlushReport> => {
    const setBackMs = await watchClock();
    if (setBackMs > 0) for (const channel of channels) channel.clockSetBack(setBackMs);
    const report = { ...NOTHING_DONE };
    const told = async (answers: readonly Delivery[]): Promise<void> => {
      const before = report.sent;
      for (const delivery of answers) tally(report, delivery);
      if (report.sent > before) await options.sent?.(report.sent - before);
    };
    let next: number | undefined;
    for (let round = 0; round < SEAL_ROUNDS_MAX; round += 1) {
      const { sealed, isMore } = await sealer.fill();
      report.sealed += sealed;
      let isLeft = isMore;
      /** Stripe's own channel has the backlog: the next lines are sealed while its batches are on their way. */
      const beside = async (): Promise<void> => {
        if (!isLeft) return;
        const more = await sealer.ahead();
        report.sealed += more.sealed;
        isLeft = more.isMore;
      };
      const drains = channels.map((channel, at) => channel.drain(told, at === 0 ? beside : undefined));
      // One that fails must not leave the others' sends behind the pass: another would begin beside them.
      await Promise.allSettled(drains);
      next = soonest(await Promise.all(drains));
      if (!isMore || (sealed === 0 && next !== 0)) break;
    }
    await alarms.check();
    const due = soonest([next, await windowEndsIn(options)]);
    return due === undefined ? report : { ...report, next: due };
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
  return { flush, alarms };
}

const NOTHING_DONE = {
  sealed: 0,
  sent: 0,
  accepted: 0,
  retried: 0,
  refused: 0,
  ambiguous: 0,
  quarantined: 0,
  expired: 0,
};

/** Stripe's, with every layout, and one for each other place. */
function channelsOf(options: DeliveryOptions, random: () => number): readonly Channel[] {
  const { ledger, runtime, sink, sinks = new Map(), parallelMax } = options;
  const transports = 'choose' in sink ? sink : onlyWay(sink, parallelMax);
  const places = [
    // All of Stripe's: events of a layout that is configured no more are still owed.
    { transports, destinations: ['dimensions', 'per_type', 'cost'] },
    ...[...sinks].map(([name, ways]) => ({ transports: ways, destinations: [`sink:${name}`] })),
  ];
  return places.map((place) => createChannel({ ledger, runtime, random, ...place }));
}

const soonest = (times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
};

/** Until the window under way is over; undefined where nothing waits for it. */
async function windowEndsIn({
  ledger,
  runtime,
  windowMs = 0,
  layouts = ['dimensions'],
}: DeliveryOptions): Promise<number | undefined> {
  if (windowMs === 0 || (await ledger.unsealed(1, { destinations: layouts })).length === 0) return undefined;
  return windowMs - (runtime.now() % windowMs);
}

const callsOf = (lines: readonly UnsealedLine[]): number => new Set(lines.map(({ call }) => call)).size;

interface Sealed {
  readonly sealed: number;
  /** There may be lines left. */
  readonly isMore: boolean;
}

interface Sealer {
  /** Seals lines until enough events wait. */
  fill(): Promise<Sealed>;
  /** Seals some more, unless twice as many wait. */
  ahead(): Promise<Sealed>;
}

function createSealer(options: DeliveryOptions, channels: readonly Channel[]): Sealer {
  const { ledger, runtime, windowMs = 0, layouts = ['dimensions'] } = options;
  const [stripe, ...others] = channels;
  const destinations = [...layouts, ...others.flatMap((channel) => channel.destinations)];
  const stripes = stripe?.destinations;
  const isFull = async (max: number): Promise<boolean> => (await ledger.waiting(max, stripes)) >= max;
  const linesOf = (calls: number): Promise<readonly UnsealedLine[]> => {
    // What a window has not closed yet waits; a call that is settled late makes an event of its own.
    const beforeMs = windowMs > 0 ? runtime.now() - (runtime.now() % windowMs) : undefined;
    return ledger.unsealed(calls, { destinations, beforeMs });
  };
  const sealed = async (lines: readonly UnsealedLine[]): Promise<number> => {
    if (lines.length === 0) return 0;
    const facts = await ledger.sealingFacts([...new Set(lines.map(({ customer }) => customer))]);
    await ledger.seal(sealLines(lines, { ...options, pileMax: PILE_MAX, facts }), destinations);
    return lines.length;
  };
  /** Asked together, what is waiting and what there is to seal is one way to the ledger's thread, not two. */
  const first = async (): Promise<Sealed> => {
    const [waits, lines] = await Promise.all([
      ledger.waiting(SEALED_AHEAD_MAX, stripes),
      linesOf(SEAL_LINES),
    ]);
    if (waits >= SEALED_AHEAD_MAX) return { sealed: 0, isMore: true };
    return { sealed: await sealed(lines), isMore: callsOf(lines) >= SEAL_LINES };
  };
  return {
    async fill() {
      let { sealed: sum, isMore } = await first();
      for (let round = 1; isMore && round < SEAL_ROUNDS_MAX; round += 1) {
        if (await isFull(SEALED_AHEAD_MAX)) break;
        const more = await sealed(await linesOf(SEAL_PILE_LINES));
        isMore = more > 0;
        sum += more;
      }
      return { sealed: sum, isMore };
    },
    async ahead() {
      if (await isFull(2 * SEALED_AHEAD_MAX)) return { sealed: 0, isMore: true };
      const more = await sealed(await linesOf(SEAL_AHEAD_LINES));
      return { sealed: more, isMore: more > 0 };
    },
  };
}

/** Answers a check of the clock, made before each pass: by how much it was set back since the last, mostly 0. */
function createClockWatch({
  ledger,
  runtime,
}: Pick<DeliveryOptions, 'ledger' | 'runtime'>): () => Promise<number> {
  let lastMs: number | undefined;
  return async () => {
    const latestMs = lastMs === undefined ? ((await ledger.latestClockMs()) ?? 0) : 0;
    const nowMs = runtime.now();
    lastMs ??= latestMs > nowMs + AHEAD_MS ? latestMs : nowMs;
    const byMs = lastMs - nowMs;
    if (byMs > CLOCK_BACK_MS) {
      await ledger.clockSetBack(byMs);
      runtime.log('error', 'clock_set_back', { seconds: Math.round(byMs / 1000) });
    }
    lastMs = nowMs;
    return byMs > CLOCK_BACK_MS ? byMs : 0;
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
    case 'expired':
      report[delivery.kind] += 1;
      return;
    default:
      report[delivery.kind] += 1;
  }
  report.sent += 1;
}
