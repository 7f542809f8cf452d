/** Billing meters: what kind of event there is, and how its values add up. */
import { z } from 'zod';
import { invalid, missing } from './http.ts';
import { expand, page, paging, parseParams } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type Account, type Meter } from './world.ts';

const key = z.string().min(1).max(100);
const createSchema = z.strictObject({
  default_aggregation: z.strictObject({ formula: z.enum(['count', 'last', 'sum']) }),
  display_name: z.string().min(1).max(250),
  event_name: key,
  customer_mapping: z.strictObject({ event_payload_key: key, type: z.literal('by_id') }).optional(),
  event_time_window: z.enum(['day', 'hour']).optional(),
  value_settings: z.strictObject({ event_payload_key: key }).optional(),
  dimension_payload_keys: z.array(key).optional(),
  ...expand,
});
const updateSchema = z.strictObject({ display_name: z.string().min(1).max(250).optional(), ...expand });
const listSchema = z.strictObject({ status: z.enum(['active', 'inactive']).optional(), ...paging });

export const meterRoutes: readonly Route[] = [
  [
    'POST',
    '/v1/billing/meters',
    ({ account, body }) => createMeter(account, parseParams(createSchema, body)),
  ],
  [
    'GET',
    '/v1/billing/meters',
    ({ account, query }) => {
      const params = parseParams(listSchema, query);
      const all = newestFirst(account.world.meters.values());
      const some = params.status === undefined ? all : all.filter(({ status }) => status === params.status);
      return page(some, params, '/v1/billing/meters');
    },
  ],
  ['GET', '/v1/billing/meters/:id', ({ account, id }) => existingMeter(account, id)],
  [
    'POST',
    '/v1/billing/meters/:id',
    ({ account, id, body }) => {
      const meter = existingMeter(account, id);
      meter.display_name = parseParams(updateSchema, body).display_name ?? meter.display_name;
      meter.updated = account.seconds();
      account.emit('billing.meter.updated', meter);
      return meter;
    },
  ],
  ['POST', '/v1/billing/meters/:id/deactivate', (call) => switchMeter(call, 'inactive')],
  ['POST', '/v1/billing/meters/:id/reactivate', (call) => switchMeter(call, 'active')],
];

export type MeterParams = z.output<typeof createSchema>;

/** Throws a 400 when an active meter already has the event name. */
export function createMeter(account: Account, params: MeterParams): Meter {
  const taken = meterOf(account, params.event_name);
  if (taken?.status === 'active') {
    throw invalid(`There is already an active meter with event_name ${params.event_name}: ${taken.id}.`, {
      param: 'event_name',
    });
  }
  const now = account.seconds();
  const meter: Meter = {
    id: stripeId('mtr_test'),
    object: 'billing.meter',
    created: now,
    customer_mapping: params.customer_mapping ?? { event_payload_key: 'stripe_customer_id', type: 'by_id' },
    default_aggregation: params.default_aggregation,
    dimension_payload_keys: params.dimension_payload_keys ?? null,
    display_name: params.display_name,
    event_name: params.event_name,
    event_time_window: params.event_time_window ?? null,
    livemode: false,
    status: 'active',
    status_transitions: { deactivated_at: null },
    updated: now,
    value_settings: params.value_settings ?? { event_payload_key: 'value' },
  };
  account.world.meters.set(meter.id, meter);
  account.emit('billing.meter.created', meter);
  return meter;
}

/** The event name's active meter; else its newest inactive one; else nothing. */
export function meterOf(account: Account, eventName: string): Meter | undefined {
  const named = newestFirst(account.world.meters.values()).filter(
    ({ event_name }) => event_name === eventName,
  );
  return named.find(({ status }) => status === 'active') ?? named[0];
}

export function existingMeter(account: Account, id: string): Meter {
  const meter = account.world.meters.get(id);
  if (meter === undefined) throw missing('billing meter', id);
  return meter;
}

function switchMeter({ account, id }: RouteCall, status: Meter['status']): Meter {
  const meter = existingMeter(account, id);
  if (meter.status === status) throw invalid(`The meter ${id} is already ${status}.`);
  meter.status = status;
  meter.updated = account.seconds();
  meter.status_transitions.deactivated_at = status === 'inactive' ? meter.updated : null;
  account.emit(`billing.meter.${status === 'inactive' ? 'deactivated' : 'reactivated'}`, meter);
  return meter;
}
