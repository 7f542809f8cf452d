/** Usage alerts: each fires once per customer, for usage reported after the alert was made. */
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { invalid, missing } from './http.ts';
import { existingMeter } from './meters.ts';
import { expand, integer, page, paging, parseParams } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type AcceptedEvent, type Account, type Alert } from './world.ts';

/** Stripe's own bound, for one meter and customer. */
const PER_METER_AND_CUSTOMER_MAX = 25;

const createSchema = z.strictObject({
  alert_type: z.literal('usage_threshold'),
  title: z.string().min(1).max(256),
  usage_threshold: z.strictObject({
    filters: z
      .array(z.strictObject({ customer: z.string().optional(), type: z.literal('customer') }))
      .max(1)
      .optional(),
    gte: integer.refine((value) => value > 0, 'must be greater than 0'),
    meter: z.string(),
    recurrence: z.literal('one_time'),
  }),
  ...expand,
});
const listSchema = z.strictObject({
  alert_type: z.literal('usage_threshold').optional(),
  meter: z.string().optional(),
  ...paging,
});

export const alertRoutes: readonly Route[] = [
  [
    'POST',
    '/v1/billing/alerts',
    ({ account, body }) => createAlert(account, parseParams(createSchema, body)),
  ],
  [
    'GET',
    '/v1/billing/alerts',
    ({ account, query }) => {
      const params = parseParams(listSchema, query);
      const all = newestFirst(account.world.alerts.values());
      const some =
        params.meter === undefined ? all : all.filter((alert) => meterIdOf(alert) === params.meter);
      return page(some, params, '/v1/billing/alerts');
    },
  ],
  ['GET', '/v1/billing/alerts/:id', ({ account, id }) => existingAlert(account, id)],
  ['POST', '/v1/billing/alerts/:id/activate', (call) => switchAlert(call, 'active')],
  ['POST', '/v1/billing/alerts/:id/deactivate', (call) => switchAlert(call, 'inactive')],
  ['POST', '/v1/billing/alerts/:id/archive', (call) => switchAlert(call, 'archived')],
];

/** Throws a 400 past Stripe's 25 alerts for one meter and customer. */
export function createAlert(account: Account, params: z.output<typeof createSchema>): Alert {
  const { usage_threshold: threshold } = params;
  const meter = existingMeter(account, threshold.meter);
  const customer = threshold.filters?.[0]?.customer ?? null;
  if (customer !== null) existingCustomer(account, customer);
  const alike = [...account.world.alerts.values()].filter(
    (alert) => alert.status !== 'archived' && meterIdOf(alert) === meter.id && customerOf(alert) === customer,
  );
  if (alike.length >= PER_METER_AND_CUSTOMER_MAX) {
    throw invalid(`You can have at most ${PER_METER_AND_CUSTOMER_MAX} alerts for one meter and customer.`);
  }
  const alert: Alert = {
    id: stripeId('alrt'),
    object: 'billing.alert',
    alert_type: 'usage_threshold',
    livemode: false,
    status: 'active',
    title: params.title,
    usage_threshold: {
      filters: customer === null ? null : [{ customer, type: 'customer' }],
      gte: threshold.gte,
      meter: meter.id,
      recurrence: 'one_time',
    },
  };
  account.world.alerts.set(alert.id, alert);
  account.changed();
  return alert;
}

export function existingAlert(account: Account, id: string): Alert {
  const alert = account.world.alerts.get(id);
  if (alert === undefined) throw missing('billing alert', id);
  return alert;
}

/** Adds an accepted event to the alerts that watch it and fires those it takes past their threshold. */
export function noteAlertUsage(account: Account, event: AcceptedEvent, value: number): void {
  const { alerts, alertUsage, fired } = account.world;
  for (const alert of alerts.values()) {
    const watched = customerOf(alert);
    if (alert.status !== 'active' || meterIdOf(alert) !== event.meter) continue;
    if (watched !== null && watched !== event.customer) continue;
    const key = `${alert.id}|${event.customer}`;
    const usage = (alertUsage.get(key) ?? 0) + value;
    alertUsage.set(key, usage);
    if (usage < (alert.usage_threshold?.gte ?? Infinity) || fired.has(key)) continue;
    fired.add(key);
    account.emit('billing.alert.triggered', alertTriggered(account, alert, event.customer, usage));
  }
}

export const alertTriggered = (
  account: Account,
  alert: Alert,
  customer: string,
  value: number,
): Record<string, unknown> => ({
  object: 'billing.alert_triggered',
  alert: structuredClone(alert),
  created: account.seconds(),
  customer,
  livemode: false,
  value,
});

export const meterIdOf = (alert: Alert): string | undefined => alert.usage_threshold?.meter;
const customerOf = (alert: Alert): string | null => alert.usage_threshold?.filters?.[0]?.customer ?? null;

function switchAlert({ account, id }: RouteCall, status: NonNullable<Alert['status']>): Alert {
  const alert = existingAlert(account, id);
  if (alert.status === 'archived') throw invalid(`The alert ${id} is archived, which is for good.`);
  alert.status = status;
  account.changed();
  return alert;
}
