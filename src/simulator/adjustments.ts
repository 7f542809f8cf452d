/** Meter event adjustments: an event is cancelled within 24 hours of its receipt, or never. */
import { z } from 'zod';
import { invalid, missing } from './http.ts';
import { isoTime, knownEvent } from './meter-events.ts';
import { expand, parseParams, parseV2Params } from './params.ts';
import type { Route } from './routes.ts';
import { stripeId, type Account } from './world.ts';

const shape = {
  event_name: z.string().max(100),
  type: z.literal('cancel'),
  cancel: z.strictObject({ identifier: z.string().max(100) }),
};
const v1Schema = z.strictObject({ ...shape, ...expand });
const v2Schema = z.strictObject(shape);

export const adjustmentRoutes: readonly Route[] = [
  [
    'POST',
    '/v1/billing/meter_event_adjustments',
    ({ account, body }) => ({
      object: 'billing.meter_event_adjustment',
      livemode: false,
      ...cancel(account, parseParams(v1Schema, body)),
    }),
  ],
  [
    'POST',
    '/v2/billing/meter_event_adjustments',
    ({ account, body }) => ({
      id: stripeId('mea'),
      object: 'v2.billing.meter_event_adjustment',
      created: isoTime(account.now()),
      livemode: false,
      ...cancel(account, parseV2Params(v2Schema, body)),
    }),
  ],
];

/** The answer says `pending`, as Stripe's does; the sums leave the event out from here on. */
function cancel(account: Account, params: z.output<typeof v2Schema>): Record<string, unknown> {
  const event = knownEvent(account, params.cancel.identifier);
  if (event === undefined || event.event_name !== params.event_name) {
    throw missing('meter event within the last 24 hours', params.cancel.identifier, 'cancel[identifier]');
  }
  if (event.cancelled) throw invalid(`The event ${event.identifier} is already cancelled.`);
  event.cancelled = true;
  account.changed();
  return {
    cancel: { identifier: event.identifier },
    event_name: event.event_name,
    status: 'pending',
    type: 'cancel',
  };
}
