/** Reads the few members of Stripe's webhook events that matter here. Everything arrives as `unknown` and leaves typed. */
import { isCustomerId } from '../../customer-id.ts';

/** The event is signed but not of the shape Stripe documents. The message names the member. */
export class UnreadableEvent extends Error {
  override readonly name = 'UnreadableEvent';
}

/** A snapshot event, or only the news that there was a thin one. */
export type StripeEvent =
  | { readonly kind: 'thin'; readonly id: string; readonly type: string }
  | {
      readonly kind: 'snapshot';
      readonly id: string;
      readonly type: string;
      /** Seconds. */
      readonly createdS: number;
      /** `data.object`. */
      readonly object: Members;
      /** `data.previous_attributes`: what an update changed, as it was before. Empty where Stripe names none. */
      readonly previous: Members;
    };

export type Members = Readonly<Record<string, unknown>>;

/** Stripe's ids are about 30 characters. */
const EVENT_ID = /^evt_[A-Za-z0-9_]{1,250}$/;

/** Throws `UnreadableEvent`. */
export function parseStripeEvent(text: string): StripeEvent {
  const event = membersOf(parseJson(text), 'the body');
  const { id, type, created } = event;
  if (typeof id !== 'string' || !EVENT_ID.test(id)) throw new UnreadableEvent('id is no event id');
  if (typeof type !== 'string' || type === '' || type.length > 200)
    throw new UnreadableEvent('type is no event type');
  if (event['object'] === 'v2.core.event') return { kind: 'thin', id, type };
  if (typeof created !== 'number' || !Number.isSafeInteger(created) || created < 0) {
    throw new UnreadableEvent('created is no whole number of seconds');
  }
  const data = membersOf(event['data'], 'data');
  const object = membersOf(data['object'], 'data.object');
  const previous = membersOf(data['previous_attributes'] ?? {}, 'data.previous_attributes');
  return { kind: 'snapshot', id, type, createdS: created, object, previous };
}

export function membersOf(value: unknown, name: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UnreadableEvent(`${name} is no object`);
  }
  return value as Members;
}

/** The same of an answer that may be anything at all: what is no object has no members. */
export const membersIfAny = (value: unknown): Members => ({ ...Object(value) });

/** The id of a reference, which Stripe sends as an id or expanded; null when there is none. */
export function referenceOf(value: unknown, name: string): string | null {
  if (value === undefined || value === null) return null;
  const id = typeof value === 'object' ? membersOf(value, name)['id'] : value;
  if (typeof id !== 'string' || id === '' || id.length > 255)
    throw new UnreadableEvent(`${name} is no reference`);
  return id;
}

/** The object's customer; null when it has none, or one whose id was chosen by hand: such are not served here. */
export function customerOf(object: Members, member = 'customer'): string | null {
  const id = referenceOf(object[member], member);
  return isCustomerId(id) ? id : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UnreadableEvent('the body is no JSON', { cause: error });
  }
}
