/** The meter event stream: sessions of 15 minutes, up to 100 events a request, nothing checked before the answer. */
import { z } from 'zod';
import { StripeFailure } from './http.ts';
import type { MeterErrors } from './meter-errors.ts';
import { acceptEvent, isoTime, v2Schema } from './meter-events.ts';
import { meterOf } from './meters.ts';
import { parseV2Params } from './params.ts';
import type { Route } from './routes.ts';
import { stripeId, type Account } from './world.ts';

export const STREAM_PATH = '/v2/billing/meter_event_stream';
const SESSION_MS = 900_000;
const EVENTS_MAX = 100;

export interface Sessions {
  /** Throws unless the token is of a session that is still open. */
  check(token: string): void;
  readonly routes: readonly Route[];
}

const sessionSchema = z.strictObject({});
const streamSchema = z.strictObject({ events: z.array(v2Schema).min(1).max(EVENTS_MAX) });

export function createSessions(now: () => number, errors: MeterErrors): Sessions {
  const ends = new Map<string, number>();
  return {
    check(token) {
      const endMs = ends.get(token);
      if (endMs !== undefined && now() < endMs) return;
      throw new StripeFailure({
        status: 401,
        type: 'temporary_session_expired',
        code: 'billing_meter_event_session_expired',
        message: 'Session is expired or unknown: create a new meter event session.',
      });
    },
    routes: [
      [
        'POST',
        '/v2/billing/meter_event_session',
        ({ body }) => {
          parseV2Params(sessionSchema, body);
          const token = stripeId('token');
          ends.set(token, now() + SESSION_MS);
          return {
            id: stripeId('mes'),
            object: 'v2.billing.meter_event_session',
            authentication_token: token,
            created: isoTime(now()),
            expires_at: isoTime(now() + SESSION_MS),
            livemode: false,
          };
        },
      ],
      [
        'POST',
        STREAM_PATH,
        ({ account, body }) => {
          for (const event of parseV2Params(streamSchema, body).events) takeLater(account, event, errors);
          return {};
        },
      ],
    ],
  };
}

/** A duplicate is dropped without a word: no error report has a code for it. */
function takeLater(account: Account, event: z.output<typeof v2Schema>, errors: MeterErrors): void {
  const { timestamp, ...rest } = event;
  const at = timestamp === undefined ? undefined : Math.floor(Date.parse(timestamp) / 1_000);
  try {
    acceptEvent(account, { ...rest, timestamp: at, api: 'stream' });
  } catch (error) {
    if (!(error instanceof StripeFailure)) throw error;
    const { code, message } = error.fields;
    if (code === undefined || code === 'duplicate_meter_event') return;
    const meter = meterOf(account, event.event_name)?.id ?? null;
    errors.add({ meter, code, message, identifier: event.identifier ?? '' });
  }
}
