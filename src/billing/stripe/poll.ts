/**
 * Webhooks that never came, found in Stripe's own list of events and applied as if they had. Needs Events, read, of a
 * restricted key; without it, only Stripe's own retries make up for what was lost.
 */
import { Stripe } from 'stripe';
import { LedgerUnavailable } from '../../ledger/ledger.ts';
import type { Readings } from '../../ledger/readings.ts';
import type { Runtime } from '../../runtime.ts';
import { realDeadline, within } from './deadline.ts';
import type { Deadline } from './deadline.ts';
import { UnreadableEvent } from './event.ts';
import { APPLIED_TYPES } from './webhook-facts.ts';

export interface EventPollOptions {
  readonly stripe: Stripe;
  readonly ledger: Pick<Readings, 'appliedEvents' | 'eventCursor' | 'setEventCursor'>;
  /** Applies one event, given as the text of its JSON. Rejects when it could not be applied now, or cannot be read. */
  readonly apply: (text: string) => Promise<void>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly deadline?: Deadline | undefined;
}

/** Answers after how many milliseconds to look again. */
export type EventPoll = () => Promise<number>;

/** With the time of a look itself, a lost webhook is made up for well within 60 s. */
const POLL_MS = 20_000;
/** Tried again so soon after Stripe gave no answer. */
const FAILED_POLL_MS = 10_000;
/** A look in which events fail ends with the first that fails after so long. */
const FAILING_MS_MAX = 30_000;
/** A key that may not read events is asked again so often: permissions are changed by hand. */
const FORBIDDEN_POLL_MS = 600_000;
/** Events appear in the list late, and out of order: it is read again so far back. */
const OVERLAP_S = 300;
/** The first look, of a gateway that has never looked, goes back so far. */
const FIRST_S = 600;
const PAGE_ROWS_MAX = 100;
const PAGES_MAX = 20;
const ASK_MS = 10_000;

const TYPES = { types: [...APPLIED_TYPES] };

export function createEventPoll(options: EventPollOptions): EventPoll {
  const { ledger, runtime } = options;
  return async () => {
    const beganS = Math.floor(runtime.now() / 1_000);
    const cursor = (await ledger.eventCursor()) ?? beganS - FIRST_S;
    try {
      const events = await listed(options, cursor - OVERLAP_S, TYPES).catch((error: unknown) => {
        // An account that lacks a preview's event type may refuse the whole list of types.
        if (error instanceof Stripe.errors.StripeError && error.statusCode === 400)
          return listed(options, cursor - OVERLAP_S, {});
        throw error;
      });
      const known = await seen(ledger, events);
      const missed = await applyAll(
        events.filter(({ id }) => !known.has(id)),
        options,
      );
      await ledger.setEventCursor(Math.max(cursor, beganS));
      if (missed > 0) runtime.log('warn', 'webhooks_made_up_for', { events: missed });
      return POLL_MS;
    } catch (error) {
      const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
      const isForbidden = status === 403 || status === 404;
      runtime.log('warn', 'event_poll_failed', {
        error: error instanceof Error ? error.message : String(error),
      });
      return isForbidden ? FORBIDDEN_POLL_MS : FAILED_POLL_MS;
    }
  };
}

/**
 * How many were applied. One that cannot be now, such as a grant of a customer whose balance Stripe does not tell, keeps no
 * other waiting; but it is looked for again, so it is a failure at the end. Where Stripe is silent each would take its 8 s,
 * and customers are not read meanwhile: then the rest waits for the next look.
 */
async function applyAll(events: readonly Stripe.Event[], options: EventPollOptions): Promise<number> {
  const { runtime } = options;
  const beganMs = runtime.now();
  let missed = 0;
  const failures: unknown[] = [];
  for (const event of events) {
    try {
      if (await applied(event, options)) missed += 1;
    } catch (error) {
      if (error instanceof LedgerUnavailable) throw error;
      failures.push(error);
      if (runtime.now() - beganMs >= FAILING_MS_MAX) break;
    }
  }
  if (failures.length > 0) throw failures[0];
  return missed;
}

/** False for an event that makes no sense: it never will, and must not keep the newer ones out. */
async function applied(event: Stripe.Event, { apply, runtime }: EventPollOptions): Promise<boolean> {
  try {
    await apply(JSON.stringify(event));
    return true;
  } catch (error) {
    if (!(error instanceof UnreadableEvent)) throw error;
    runtime.log('error', 'event_unreadable', { id: event.id, type: event.type, error: error.message });
    return false;
  }
}

/** Oldest first: the order matters little, but facts read better in it. */
async function listed(
  { stripe, runtime, deadline = realDeadline }: EventPollOptions,
  fromS: number,
  types: { types?: string[] },
): Promise<readonly Stripe.Event[]> {
  const all: Stripe.Event[] = [];
  let after: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const params = {
      ...types,
      created: { gte: fromS },
      limit: PAGE_ROWS_MAX,
      ...(after === undefined ? {} : { starting_after: after }),
    };
    const request = stripe.events.list(params, { timeout: ASK_MS, maxNetworkRetries: 0 });
    const { data, has_more: more } = await within(request, deadline(ASK_MS));
    after = data.at(-1)?.id;
    all.push(...data.filter(({ type }) => APPLIED_TYPES.has(type)));
    if (!more || data.length === 0) return all.toReversed();
  }
  runtime.log('error', 'event_poll_incomplete', { events: all.length });
  return all.toReversed();
}

async function seen(
  ledger: EventPollOptions['ledger'],
  events: readonly Stripe.Event[],
): Promise<ReadonlySet<string>> {
  const known = new Set<string>();
  for (let begin = 0; begin < events.length; begin += PAGE_ROWS_MAX) {
    const ids = events.slice(begin, begin + PAGE_ROWS_MAX).map(({ id }) => id);
    for (const id of await ledger.appliedEvents(ids)) known.add(id);
  }
  return known;
}
