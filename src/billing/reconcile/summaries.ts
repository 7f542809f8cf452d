/** Stripe's meters, and what it says a customer has used of one, hour by hour. */
import { Stripe } from 'stripe';
import { realDeadline, within } from '../stripe/deadline.ts';
import type { Deadline } from '../stripe/deadline.ts';
import { StripeUnreachable } from '../ports.ts';

export interface MeterInfo {
  readonly id: string;
  readonly eventName: string;
  readonly isActive: boolean;
  readonly isSum: boolean;
  /** Whether models and token types are told apart. */
  readonly hasDimensions: boolean;
  /** Ids of the others that had this event name, now archived: what they counted stays counted. */
  readonly former?: readonly string[];
}

export interface SumsQuery {
  readonly meter: string;
  readonly customer: string;
  /** Both at an hour's beginning. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** Stripe answered, and gives no sums of this customer that can be compared: of others it may. */
export class NoSums extends Error {
  override readonly name = 'NoSums';
}

/** Each rejects with `StripeUnreachable` when Stripe gives no answer that can be read. */
export interface StripeSums {
  /** One for each event name: the active one, where there are several. */
  meters(): Promise<ReadonlyMap<string, MeterInfo>>;
  /**
   * By the hour's beginning, hours with usage only; undefined when Stripe does not know the customer. Rejects with
   * `NoSums` where the answer is about this question alone.
   */
  hours(query: SumsQuery): Promise<ReadonlyMap<number, bigint> | undefined>;
}

/** One page of answers. */
const ASK_MS = 10_000;
/** All pages of one question. */
const ANSWER_MS = 60_000;
const METERS_MAX = 10_000;
/** 35 days and more. */
const HOURS_MAX = 10_000;

export function createStripeSums({
  stripe,
  deadline = realDeadline,
}: {
  readonly stripe: Stripe;
  readonly deadline?: Deadline | undefined;
}): StripeSums {
  const options = { timeout: ASK_MS, maxNetworkRetries: 0 };
  return {
    async meters() {
      const list = stripe.billing.meters
        .list({ limit: 100 }, options)
        .autoPagingToArray({ limit: METERS_MAX });
      const found = await within(list, deadline(ANSWER_MS)).catch(unreachable);
      const infos = Map.groupBy(found.map(meterInfo), ({ eventName }) => eventName);
      return new Map([...infos].map(([eventName, named]) => [eventName, presentOf(named)]));
    },
    async hours({ meter, customer, fromMs, toMs }) {
      const list = stripe.billing.meters
        .listEventSummaries(
          meter,
          {
            customer,
            start_time: fromMs / 1000,
            end_time: toMs / 1000,
            value_grouping_window: 'hour',
            limit: 100,
          },
          options,
        )
        .autoPagingToArray({ limit: HOURS_MAX });
      try {
        const found = await within(list, deadline(ANSWER_MS));
        return new Map(found.map((one) => [one.start_time * 1000, wholeOf(one.aggregated_value)]));
      } catch (error) {
        if (isMissing(error)) return undefined;
        if (isOfQuestion(error)) throw new NoSums(`Stripe gave no sums: ${error.message}`, { cause: error });
        return unreachable(error);
      }
    },
  };
}

/** The active one, with the others that summed. */
function presentOf(named: readonly MeterInfo[]): MeterInfo {
  const [present, ...others] = named.toSorted((a, b) => Number(b.isActive) - Number(a.isActive));
  if (present === undefined) throw new Error('A group of meters has none.');
  return { ...present, former: others.filter(({ isSum }) => isSum).map(({ id }) => id) };
}

const meterInfo = (meter: Stripe.Billing.Meter): MeterInfo => ({
  id: meter.id,
  eventName: meter.event_name,
  isActive: meter.status === 'active',
  isSum: meter.default_aggregation.formula === 'sum',
  hasDimensions: hasDimensions(meter),
});

/** Only in previews of Stripe's API, so in no type of the package. */
function hasDimensions(meter: Stripe.Billing.Meter): boolean {
  const keys: unknown = 'dimension_payload_keys' in meter ? meter.dimension_payload_keys : undefined;
  return Array.isArray(keys) && keys.includes('model') && keys.includes('token_type');
}

/** Stripe's sum comes as a floating-point number: past 2^53 it says nothing exact any more. */
function wholeOf(value: unknown): bigint {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw new NoSums(
      `Stripe's sum ${String(value)} is no whole number that can be compared: somebody else sends parts of units to this meter, or it is past 2^53.`,
    );
  return BigInt(value);
}

const isMissing = (error: unknown): boolean =>
  error instanceof Stripe.errors.StripeError && error.statusCode === 404 && error.code === 'resource_missing';

/** A fault of the question, such as a customer that Stripe does not take there: another question may be answered. */
const isOfQuestion = (error: unknown): error is Error =>
  error instanceof Stripe.errors.StripeError && (error.statusCode === 400 || error.statusCode === 404);

function unreachable(error: unknown): never {
  if (error instanceof StripeUnreachable || error instanceof NoSums) throw error;
  const text = error instanceof Error ? error.message : String(error);
  const status = error instanceof Stripe.errors.StripeError ? error.statusCode : undefined;
  const hint =
    status === 401 || status === 403
      ? ' The key needs Billing meters, read.'
      : status === undefined
        ? ''
        : ` (HTTP ${String(status)})`;
  throw new StripeUnreachable(`Stripe gave no sums: ${text}${hint}`, { cause: error });
}
