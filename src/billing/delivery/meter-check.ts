/** Whether the account's meters are what the layouts need. Asked at the start, never on a call's way. */
import type { Stripe } from 'stripe';
import { realDeadline, within } from '../stripe/deadline.ts';
import { eventNames } from './layouts.ts';
import type { Layout } from './layouts.ts';

export interface MeterCheckOptions {
  readonly stripe: Stripe;
  readonly layouts: readonly Layout[];
  readonly eventName: string;
  readonly classes: readonly string[];
  readonly tokenTypes: readonly string[];
}

const ASK_MS = 8_000;
const METERS_MAX = 1_000;

/** What is wrong, one sentence each with what to do. Rejects when Stripe cannot be asked. */
export async function meterWarnings({
  stripe,
  layouts,
  ...names
}: MeterCheckOptions): Promise<readonly string[]> {
  const list = stripe.billing.meters
    .list({ status: 'active', limit: 100 }, { timeout: ASK_MS, maxNetworkRetries: 0 })
    .autoPagingToArray({ limit: METERS_MAX });
  const meters = new Map(
    (await within(list, realDeadline(ASK_MS))).map((meter) => [meter.event_name, meter]),
  );
  const missing = eventNames(layouts, names).filter((name) => !meters.has(name));
  const main = layouts.includes('dimensions') ? meters.get(names.eventName) : undefined;
  return [
    ...missing.map(
      (name) =>
        `Stripe has no active meter with the event name ${name}: its events will be refused. Create it.`,
    ),
    ...(main === undefined || hasDimensions(main)
      ? []
      : [
          `The meter ${main.id} (${names.eventName}) shows no dimensions: Stripe would add all models and token types into ` +
            'one number. Give it the dimensions model and token_type (a preview of Stripe), or use billing.layouts: [per_type] or [cost].',
        ]),
  ];
}

/** Only in previews of Stripe's API, so in no type of the package. */
function hasDimensions(meter: Stripe.Billing.Meter): boolean {
  const keys: unknown = 'dimension_payload_keys' in meter ? meter.dimension_payload_keys : undefined;
  return Array.isArray(keys) && keys.includes('model') && keys.includes('token_type');
}
