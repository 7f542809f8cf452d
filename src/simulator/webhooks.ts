/**
 * Webhook delivery: signed as Stripe signs, retried when it fails, and held, reordered or doubled on order, because
 * Stripe promises neither order nor once.
 */
import { createHmac } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { ThinEvent } from './meter-errors.ts';
import type { StripeEvent, World } from './world.ts';

/** What an endpoint is told: the object itself, or the news that there is something to fetch. */
export type Sent = StripeEvent | ThinEvent;

export interface Delivery {
  readonly event: string;
  readonly type: string;
  readonly url: string;
  readonly attempt: number;
  /** The HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** The start of the answer's body, or why there was none. */
  readonly detail: string;
}

/** How one event is sent, where it is not in the ordinary way. */
export interface DeliveryOrder {
  /** Further copies beside the first; 0 by default. */
  readonly duplicates?: number;
  /** Seconds added to the signature's time, to be stale (below 0) or early. */
  readonly signedAtOffsetSeconds?: number;
  /** Signs with another secret. */
  readonly badSignature?: boolean;
}

export interface WebhookSender {
  /** Sends to every endpoint that wants the type. Answers with the first attempts; retries go on behind. */
  send(event: Sent, order?: DeliveryOrder): Promise<readonly Delivery[]>;
  /** From now on events wait. */
  hold(): void;
  /** Sends what waited, one after the other, in the order given or the reverse, and stops holding. */
  release(order?: 'given' | 'reversed'): Promise<readonly Delivery[]>;
  /** Attempts so far, oldest first; the last 1,000. */
  readonly deliveries: readonly Delivery[];
  /** Resolves when nothing is under way, retries included. */
  settled(): Promise<void>;
  close(): void;
}

export interface Target {
  readonly url: string;
  readonly secret: string;
}

const DELIVERIES_MAX = 1_000;
/** Stripe gives an endpoint some ten seconds before it counts the delivery as failed. */
const TIMEOUT_MS = 10_000;
const DETAIL_CHARACTERS_MAX = 500;

/** The `Stripe-Signature` header for a body, at a time in seconds. */
export function signWebhook(body: string, secret: string, timestamp: number): string {
  const digest = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
  return `t=${timestamp},v1=${digest}`;
}

export interface WebhookSenderOptions {
  readonly world: () => World;
  readonly now: () => number;
  /** The endpoint the simulator was given from outside, which gets every type. */
  readonly fixed: () => Target | undefined;
  /** Waits between attempts; their number is the number of retries. */
  readonly retryDelaysMs: readonly number[];
}

export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const work = createWorkSet();
  const stop = new AbortController();
  const { deliveries, attempt, retry } = createAttempts(options, stop.signal);
  let held: Sent[] | undefined;

  const deliver = async (event: Sent, order: DeliveryOrder): Promise<readonly Delivery[]> => {
    const targets = targetsOf(options.world(), options.fixed(), event.type);
    if (event.object === 'event') event.pending_webhooks = targets.length;
    const copies = targets.flatMap((target) =>
      Array.from({ length: 1 + (order.duplicates ?? 0) }, () => target),
    );
    const first = Promise.all(
      copies.map(async (target) => {
        const delivery = await attempt(event, target, { ...order, attempt: 1 });
        if (!succeeded(delivery)) work.add(retry(event, target, order));
        return delivery;
      }),
    );
    work.add(first);
    return first;
  };

  return {
    deliveries,
    send: async (event, order = {}) => {
      if (held === undefined) return deliver(event, order);
      held.push(event);
      return [];
    },
    hold: () => {
      held ??= [];
    },
    release: async (order = 'given') => {
      const waiting = held ?? [];
      held = undefined;
      const sent: Delivery[] = [];
      for (const event of order === 'given' ? waiting : waiting.toReversed()) {
        sent.push(...(await deliver(event, {})));
      }
      return sent;
    },
    settled: work.settled,
    close: () => stop.abort(),
  };
}

/** One delivery to one endpoint: the first attempt, and those after it. */
function createAttempts(options: WebhookSenderOptions, stop: AbortSignal) {
  const deliveries: Delivery[] = [];
  const attempt = async (
    event: Sent,
    target: Target,
    order: DeliveryOrder & { attempt: number },
  ): Promise<Delivery> => {
    const timestamp = Math.floor(options.now() / 1_000) + (order.signedAtOffsetSeconds ?? 0);
    const secret = order.badSignature === true ? `${target.secret}_not` : target.secret;
    const outcome = await post(target.url, bodyOf(event), { secret, timestamp, stop });
    const delivery = {
      event: event.id,
      type: event.type,
      url: target.url,
      attempt: order.attempt,
      ...outcome,
    };
    deliveries.push(delivery);
    if (deliveries.length > DELIVERIES_MAX) deliveries.shift();
    return delivery;
  };
  const retry = async (event: Sent, target: Target, order: DeliveryOrder): Promise<void> => {
    for (const [index, delayMs] of options.retryDelaysMs.entries()) {
      await pause(delayMs, undefined, { signal: stop });
      if (succeeded(await attempt(event, target, { ...order, attempt: index + 2 }))) return;
    }
  };
  return { deliveries, attempt, retry };
}

/** What is under way. A retry that `close` ends is over like any other: nobody waits for it. */
function createWorkSet(): { add(work: Promise<unknown>): void; settled(): Promise<void> } {
  const underWay = new Set<Promise<unknown>>();
  return {
    add: (work) => {
      underWay.add(work);
      const over = (): void => {
        underWay.delete(work);
      };
      work.then(over, over);
    },
    settled: async () => {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
  };
}

/** A thin event carries nothing. */
function bodyOf(event: Sent): string {
  if (event.object === 'event') return JSON.stringify(event);
  const { data: _data, ...notice } = event;
  return JSON.stringify(notice);
}

const succeeded = ({ status }: Delivery): boolean => status !== null && status >= 200 && status < 300;

function targetsOf(world: World, fixed: Target | undefined, type: string): Target[] {
  const made = [...world.endpoints.values()].filter(
    (endpoint) =>
      endpoint.status === 'enabled' &&
      endpoint.url !== fixed?.url &&
      (endpoint.enabled_events.includes('*') || endpoint.enabled_events.includes(type)),
  );
  return fixed === undefined ? made : [fixed, ...made];
}

async function post(
  url: string,
  body: string,
  { secret, timestamp, stop }: { secret: string; timestamp: number; stop: AbortSignal },
): Promise<{ status: number | null; detail: string }> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'stripe-signature': signWebhook(body, secret, timestamp),
        'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
      },
      redirect: 'manual',
      signal: AbortSignal.any([stop, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const detail = (await response.text()).slice(0, DETAIL_CHARACTERS_MAX);
    return { status: response.status, detail };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { status: null, detail: cause instanceof Error ? cause.message : String(cause) };
  }
}
