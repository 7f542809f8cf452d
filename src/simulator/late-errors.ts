/** Late errors on order: an event that was taken is taken out of the sums again, and a thin event tells of it. */
import { invalid, missing } from './http.ts';
import type { MeterErrors, ThinEvent } from './meter-errors.ts';
import type { Delivery, DeliveryOrder, WebhookSender } from './webhooks.ts';
import type { World } from './world.ts';

/** The thin types that can be ordered, each with the error it tells. */
const ERRORS: Readonly<Record<string, { readonly code: string; readonly message: string }>> = {
  'v1.billing.meter.error_report_triggered': {
    code: 'archived_meter',
    message: 'The meter for this event is archived.',
  },
  'v1.billing.meter.no_meter_found': { code: 'no_meter', message: 'No meter found for this event name.' },
};
export const THIN_TYPES: readonly string[] = Object.keys(ERRORS);

export interface ToldLate {
  readonly event: ThinEvent;
  /** The first attempt at each endpoint; empty while deliveries are held. */
  readonly deliveries: readonly Delivery[];
}

export type TriggerLate = (
  type: string,
  overrides?: Readonly<Record<string, unknown>>,
  order?: DeliveryOrder,
) => Promise<ToldLate>;

/**
 * `identifier` says which event; else it is the newest that counts, of `customer` where one is named. The answer rejects
 * with a 400 for a type not in `THIN_TYPES` and a 404 where there is no such event.
 */
export function createLateErrors(
  world: World,
  errors: Pick<MeterErrors, 'tell'>,
  sender: Pick<WebhookSender, 'send'>,
): TriggerLate {
  return async (type, { customer, identifier } = {}, order = {}) => {
    const error = Object.hasOwn(ERRORS, type) ? ERRORS[type] : undefined;
    if (error === undefined) throw invalid(`The simulator has no thin event ${type}.`, { param: 'type' });
    const event = world.accepted.findLast(
      (one) =>
        !one.cancelled &&
        (typeof identifier === 'string'
          ? one.identifier === identifier
          : typeof customer !== 'string' || one.customer === customer),
    );
    if (event === undefined)
      throw missing(
        'meter event of',
        String(identifier ?? customer ?? 'any customer'),
        typeof identifier === 'string' ? 'identifier' : 'customer',
      );
    event.cancelled = true;
    const meter = type.endsWith('no_meter_found') ? null : event.meter;
    const thin = errors.tell({ meter, identifier: event.identifier, ...error });
    return { event: thin, deliveries: await sender.send(thin, order) };
  };
}
