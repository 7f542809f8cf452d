/**
 * What Stripe finds out about meter events only afterwards: gathered over a window, told by a thin event, which carries
 * nothing, and to be fetched from `/v2/core/events/:id`. The samples are a part of what failed.
 */
import { missing } from './http.ts';
import type { Route } from './routes.ts';
import { stripeId } from './world.ts';

export interface MeterError {
  /** Null where no meter has the event's name. */
  readonly meter: string | null;
  readonly code: string;
  readonly message: string;
  readonly identifier: string;
}

export interface ThinEvent {
  readonly id: string;
  readonly object: 'v2.core.event';
  readonly type: string;
  readonly created: string;
  readonly livemode: false;
  readonly context: null;
  readonly related_object?: { readonly id: string; readonly type: 'billing.meter'; readonly url: string };
  readonly data: unknown;
}

export interface MeterErrors {
  add(error: MeterError): void;
  /** Ends the window: one event for each meter that has errors. By itself after the delay. */
  report(): ThinEvent[];
  /** A report of this error alone, which can be fetched and is not sent. */
  tell(error: MeterError): ThinEvent;
  readonly routes: readonly Route[];
  close(): void;
}

const SAMPLES_MAX = 100;
const EVENTS_MAX = 1_000;

export function createMeterErrors(options: {
  readonly now: () => number;
  readonly errorReportDelayMs?: number | undefined;
  /** How many of a kind are shown; Stripe may show none. */
  readonly errorSamples?: number | undefined;
  readonly send: (event: ThinEvent) => void;
}): MeterErrors {
  const { now, errorReportDelayMs: delayMs = 10_000, errorSamples = 5, send } = options;
  const told: ThinEvent[] = [];
  let errors: MeterError[] = [];
  let startMs = 0;
  let timer: NodeJS.Timeout | undefined;

  const keep = (events: readonly ThinEvent[]): void => {
    told.push(...events);
    told.splice(0, told.length - EVENTS_MAX);
  };
  const report = (): ThinEvent[] => {
    clearTimeout(timer);
    timer = undefined;
    const byMeter = Map.groupBy(errors, ({ meter }) => meter);
    errors = [];
    const window = { startMs, endMs: now() };
    const samples = Math.min(errorSamples, SAMPLES_MAX);
    const events = [...byMeter].map(([meter, some]) => thinEvent(meter, some, { ...window, samples }));
    keep(events);
    for (const event of events) send(event);
    return events;
  };

  return {
    add(error) {
      if (errors.length === 0) startMs = now();
      errors.push(error);
      timer ??= setTimeout(report, delayMs).unref();
    },
    report,
    tell(error) {
      const event = thinEvent(error.meter, [error], { startMs: now(), endMs: now(), samples: 1 });
      keep([event]);
      return event;
    },
    routes: [
      [
        'GET',
        '/v2/core/events/:id',
        ({ id }) => {
          const event = told.find((one) => one.id === id);
          if (event === undefined) throw missing('event', id);
          return event;
        },
      ],
    ],
    close: () => clearTimeout(timer),
  };
}

function thinEvent(
  meter: string | null,
  errors: readonly MeterError[],
  { startMs, endMs, samples }: { startMs: number; endMs: number; samples: number },
): ThinEvent {
  const types = [...Map.groupBy(errors, ({ code }) => code)].map(([code, some]) => ({
    code,
    error_count: some.length,
    sample_errors: some.slice(0, samples).map(({ message, identifier }) => ({
      error_message: message,
      request: { identifier },
    })),
  }));
  return {
    id: stripeId('evt_test'),
    object: 'v2.core.event',
    type: meter === null ? 'v1.billing.meter.no_meter_found' : 'v1.billing.meter.error_report_triggered',
    created: new Date(endMs).toISOString(),
    livemode: false,
    context: null,
    ...(meter === null
      ? {}
      : {
          related_object: {
            id: meter,
            type: 'billing.meter' as const,
            url: `/v1/billing/meters/${meter}`,
          },
        }),
    data: {
      developer_message_summary: `There ${errors.length === 1 ? 'is 1 invalid event' : `are ${errors.length} invalid events`}.`,
      reason: { error_count: errors.length, error_types: types },
      validation_start: new Date(startMs).toISOString(),
      validation_end: new Date(endMs).toISOString(),
    },
  };
}
