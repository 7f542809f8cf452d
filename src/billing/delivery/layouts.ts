/**
 * How usage is laid out as Stripe's meter events. `dimensions`: one meter, model and token type in the payload.
 * `per_type`: a meter for each token type, or price class and token type, for accounts whose meters have no dimensions.
 * `cost`: one meter of what the customer is charged, in millionths of a US dollar.
 */
import type { MeterEvent } from '../../ledger/ledger.ts';

export type Layout = 'dimensions' | 'per_type' | 'cost';

export interface LayoutOptions {
  /** The meter's event name; the other layouts' names begin with it. */
  readonly eventName: string;
  /** By billed model: the price class that is part of its event names in `per_type`. */
  readonly classOf?: ((model: string) => string | undefined) | undefined;
}

/** The token type of an event of the cost layout, whose model is empty. */
export const COST_TYPE = 'cost';

/** The event name of usage at a destination. Other sinks get what `dimensions` gets. */
export function eventNameOf(
  destination: string,
  line: { readonly model: string; readonly tokenType: string },
  { eventName, classOf }: LayoutOptions,
): string {
  if (destination === 'cost') return `${eventName}-${COST_TYPE}`;
  if (destination !== 'per_type') return eventName;
  const priceClass = classOf?.(line.model);
  return [eventName, ...(priceClass === undefined ? [] : [priceClass]), line.tokenType].join('-');
}

/** Every event name that the configuration can give: the meters there must be. */
export function eventNames(
  layouts: readonly Layout[],
  {
    eventName,
    classes,
    tokenTypes,
  }: { eventName: string; classes: readonly string[]; tokenTypes: readonly string[] },
): readonly string[] {
  return layouts.flatMap((layout) => {
    if (layout !== 'per_type') return [eventNameOf(layout, { model: '', tokenType: '' }, { eventName })];
    return [undefined, ...classes].flatMap((name) =>
      tokenTypes.map((tokenType) =>
        eventNameOf(layout, { model: '', tokenType }, { eventName, classOf: () => name }),
      ),
    );
  });
}

/** What Stripe gets. A meter without dimensions ignores the model; it is there to be read in Stripe's log. */
export function payloadOf({
  destination,
  customer,
  value,
  model,
  tokenType,
}: MeterEvent): Record<string, string> {
  const base = { stripe_customer_id: customer, value };
  switch (destination) {
    case 'cost':
      return base;
    case 'per_type':
      return { ...base, model };
    default:
      // What was recorded without a call has neither.
      return model === '' ? base : { ...base, model, token_type: tokenType };
  }
}

/** The price class of each model: by its billed name, or by a beginning that ends in `*`. The first that fits. */
export function createClasses(
  classes: ReadonlyMap<string, readonly string[]>,
): (model: string) => string | undefined {
  const rules = [...classes].flatMap(([name, patterns]) => patterns.map((pattern) => ({ name, pattern })));
  return (model) =>
    rules.find(({ pattern }) =>
      pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern,
    )?.name;
}
