/** Takes an accepted event back: Stripe leaves it out of its sums when asked within 24 hours of having received it. */
import { Stripe } from 'stripe';
import type { EventState, EventView, Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { realDeadline, within } from '../stripe/deadline.ts';
import { isMisdirected } from '../stripe/answers.ts';
import { STRIPE_TIMEOUT_MS } from '../stripe/client.ts';
import { membersIfAny } from '../stripe/event.ts';
import { NOT_STRIPE } from './outcome.ts';

export type Withdrawal =
  | { readonly kind: 'cancelled' }
  /** Why not, and what to do. */
  | { readonly kind: 'impossible'; readonly message: string };

export interface WithdrawalsOptions {
  readonly stripe: Stripe;
  readonly ledger: Pick<Ledger, 'events' | 'cancelAccepted'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
}

/** Stripe's own limit. */
const WITHDRAWN_MS_MAX = 24 * 3_600_000;
const STRIPES: ReadonlySet<string> = new Set(['dimensions', 'per_type', 'cost']);

/** Stripe first, then the ledger: where it dies between the two, a repeat finds it cancelled there already. */
export function createWithdrawals({
  stripe,
  ledger,
  runtime,
}: WithdrawalsOptions): (identifier: string) => Promise<Withdrawal> {
  return async (identifier) => {
    const [event] = (await ledger.events({ identifier, limit: 1 })).data;
    const why = event === undefined ? NOT_THERE : obstacle(event, runtime.now());
    if (event === undefined || why !== undefined) return { kind: 'impossible', message: why ?? NOT_THERE };
    const refusal = await adjust(stripe, event);
    if (refusal !== undefined) return { kind: 'impossible', message: refusal };
    await ledger.cancelAccepted(identifier);
    runtime.log('warn', 'meter_event_withdrawn', { identifier, customer: event.customer });
    return { kind: 'cancelled' };
  };
}

const NOT_THERE = 'There is no such event.';
const WAIT = 'Stripe may have it: wait until it is accepted, then cancel it.';
const NOT_ACCEPTED: Readonly<Record<Exclude<EventState, 'accepted' | 'confirmed'>, string>> = {
  pending: WAIT,
  sending: WAIT,
  ambiguous: WAIT,
  refused: 'An attempt before it was refused may have got through: `faregate events retry` finds out.',
  quarantined: 'Stripe may have it: `faregate events resolve` it first.',
  expired: 'It was never sent and never will be.',
  cancelled: 'It is cancelled already.',
};

function obstacle(
  { state, destination, acceptedAtMs, customer }: EventView,
  nowMs: number,
): string | undefined {
  if (state !== 'accepted' && state !== 'confirmed') return NOT_ACCEPTED[state];
  if (!STRIPES.has(destination)) return 'Only Stripe takes an event back.';
  return nowMs - (acceptedAtMs ?? 0) < WITHDRAWN_MS_MAX
    ? undefined
    : `Stripe took it more than 24 hours ago. To do: credit ${customer}, by a grant or an invoice item.`;
}

/** What Stripe said against it; undefined when it is cancelled there. */
async function adjust(stripe: Stripe, event: EventView): Promise<string | undefined> {
  const params = {
    event_name: event.eventName,
    type: 'cancel',
    cancel: { identifier: event.identifier },
  } as const;
  const options = { maxNetworkRetries: 0, timeout: STRIPE_TIMEOUT_MS };
  const ask = (api: 'v1' | 'v2'): Promise<unknown> =>
    within<unknown>(
      api === 'v1'
        ? stripe.billing.meterEventAdjustments.create(params, options)
        : stripe.v2.billing.meterEventAdjustments.create(params, options),
      realDeadline(STRIPE_TIMEOUT_MS),
    );
  try {
    const answer = await (event.transport === 'v1' ? ask('v1') : ask('v2').catch(orBy(() => ask('v1'))));
    return isAdjustment(answer, event) ? undefined : `${UNCLEAR} The answer is no adjustment. ${NOT_STRIPE}`;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (/already (been )?cancell?ed/i.test(text)) return undefined;
    const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
    return status === undefined || status >= 500
      ? `${UNCLEAR} ${text}`
      : `Stripe did not take it back: ${text}`;
  }
}

/** A repeat finds it out: Stripe says of what it took back that it is cancelled already. */
const UNCLEAR = 'Nobody knows whether Stripe took it back. To do: cancel it again.';

/** The SDK takes any JSON without an `error` member for success. */
function isAdjustment(answer: unknown, { identifier }: EventView): boolean {
  const { object, cancel } = membersIfAny(answer);
  if (typeof object !== 'string' || !object.endsWith('billing.meter_event_adjustment')) return false;
  return (membersIfAny(cancel)['identifier'] ?? identifier) === identifier;
}

const orBy =
  (other: () => Promise<unknown>) =>
  (error: unknown): Promise<unknown> => {
    if (error instanceof Stripe.errors.StripeError && isMisdirected(error)) return other();
    throw error;
  };
