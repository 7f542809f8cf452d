/** What the accepted events come to: Stripe's event summaries, and the finer sums that only a test may see. */
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { invalid } from './http.ts';
import { eventValue } from './meter-events.ts';
import { existingMeter } from './meters.ts';
import { page, paging, parseParams, seconds } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { type AcceptedEvent, type Account, type Meter, type World } from './world.ts';

const WINDOW_SECONDS = { hour: 3_600, day: 86_400 } as const;

const schema = z.strictObject({
  customer: z.string(),
  start_time: seconds,
  end_time: seconds,
  value_grouping_window: z.enum(['hour', 'day']).optional(),
  ...paging,
});

/** `lagMs`: how long after its receipt an event shows in the summaries, which are eventually consistent. */
export const summaryRoutes = (lagMs: number): readonly Route[] => [
  ['GET', '/v1/billing/meters/:id/event_summaries', (call) => summaries(call, lagMs)],
];

/** One customer's usage of one event name, apart by everything else the payloads say. */
export interface UsageSum {
  readonly event_name: string;
  readonly customer: string;
  /** Payload keys other than the customer and the value: `model`, `token_type`, and what else was sent. */
  readonly dimensions: Readonly<Record<string, string>>;
  readonly value: number;
  readonly events: number;
}

/** Sums of all events not cancelled, by event name, customer and every other payload key. */
export function sumUsage(world: World): UsageSum[] {
  const sums = new Map<string, { -readonly [key in keyof UsageSum]: UsageSum[key] }>();
  for (const event of world.accepted) {
    const meter = world.meters.get(event.meter);
    if (event.cancelled || meter === undefined) continue;
    const { [meter.customer_mapping.event_payload_key]: _customer, ...rest } = event.payload;
    const { [meter.value_settings.event_payload_key]: _value, ...unsorted } = rest;
    const dimensions = Object.fromEntries(Object.entries(unsorted).sort(([a], [b]) => (a < b ? -1 : 1)));
    const key = JSON.stringify([event.event_name, event.customer, dimensions]);
    const sum = sums.get(key) ?? {
      event_name: event.event_name,
      customer: event.customer,
      dimensions,
      value: 0,
      events: 0,
    };
    sum.value += eventValue(meter, event);
    sum.events += 1;
    sums.set(key, sum);
  }
  return [...sums.values()];
}

function summaries({ account, id, query }: RouteCall, lagMs: number): unknown {
  const meter = existingMeter(account, id);
  const params = parseParams(schema, query);
  existingCustomer(account, params.customer);
  const step = params.value_grouping_window && WINDOW_SECONDS[params.value_grouping_window];
  checkAligned(params.start_time, step ?? 60, 'start_time');
  checkAligned(params.end_time, step ?? 60, 'end_time');
  if (params.end_time <= params.start_time) {
    throw invalid('end_time must be after start_time.', { param: 'end_time' });
  }
  const events = visibleEvents(account, meter, { ...params, lagMs });
  const groups =
    step === undefined
      ? [summary(meter, events, params.start_time, params.end_time)]
      : grouped(meter, events, step);
  return page(groups, params, `/v1/billing/meters/${id}/event_summaries`);
}

function checkAligned(time: number, step: number, param: string): void {
  if (time % step === 0) return;
  const unit = { 60: 'minute', 3600: 'hour', 86400: 'day' }[step] ?? 'window';
  throw invalid(`${param} must be aligned with ${unit} boundaries, got ${time}.`, { param });
}

function visibleEvents(
  { world, now }: Account,
  meter: Meter,
  span: { customer: string; start_time: number; end_time: number; lagMs: number },
): AcceptedEvent[] {
  const receivedBy = now() - span.lagMs;
  return world.accepted.filter(
    (event) =>
      event.meter === meter.id &&
      event.customer === span.customer &&
      !event.cancelled &&
      event.timestamp >= span.start_time &&
      event.timestamp < span.end_time &&
      event.receivedAtMs <= receivedBy,
  );
}

/** The windows that have events, newest first. */
function grouped(meter: Meter, events: readonly AcceptedEvent[], step: number): ReturnType<typeof summary>[] {
  const windows = Map.groupBy(events, ({ timestamp }) => timestamp - (timestamp % step));
  return [...windows]
    .sort(([a], [b]) => b - a)
    .map(([start, inside]) => summary(meter, inside, start, start + step));
}

function summary(meter: Meter, events: readonly AcceptedEvent[], start: number, end: number) {
  return {
    // The same window has the same id, or a second page would begin nowhere.
    id: `mtrusg_test_${meter.id}_${start}_${end}`,
    object: 'billing.meter_event_summary' as const,
    aggregated_value: aggregate(meter, events),
    end_time: end,
    livemode: false,
    meter: meter.id,
    start_time: start,
  };
}

function aggregate(meter: Meter, events: readonly AcceptedEvent[]): number {
  if (meter.default_aggregation.formula === 'last') {
    const last = events.reduce<AcceptedEvent | undefined>(
      (latest, event) => (latest === undefined || event.timestamp >= latest.timestamp ? event : latest),
      undefined,
    );
    return last === undefined ? 0 : eventValue(meter, last);
  }
  return events.reduce((sum, event) => sum + eventValue(meter, event), 0);
}
