/** Step 1: who is calling, and for which customer. */
import { Refusal } from '../errors.ts';
import type { ApiKey, Keys } from '../keys/keys.ts';
import type { RequestHeaders } from './headers.ts';

/**
 * The key a request was made with.
 *
 * @throws {Refusal} 401 when there is none or it is not valid.
 */
export async function authenticate(keys: Keys, headers: RequestHeaders): Promise<ApiKey> {
  if (headers.secret === undefined) {
    throw new Refusal(
      'invalid_api_key',
      'No API key was sent. Send a Faregate key as "Authorization: Bearer sk-fg-...", x-api-key or x-goog-api-key.',
    );
  }
  const key = await keys.find(headers.secret);
  if (key !== undefined) return key;
  throw new Refusal(
    'invalid_api_key',
    `The API key ending in "${headers.secret.slice(-4)}" is unknown or revoked. Check it, or make one with "faregate keys create".`,
  );
}

/**
 * The customer a call is billed to: a bound key's own, or the one a service key names.
 *
 * @throws {Refusal} 400 when nobody is named, 403 when a bound key names somebody else.
 */
export function customerOf(key: ApiKey, headers: RequestHeaders): string {
  if (key.customer === null) {
    if (headers.customer !== undefined) return headers.customer;
    throw new Refusal(
      'customer_required',
      'No customer was named, and nothing is served unbilled. Send the header x-stripe-customer-id: cus_..., or use a key bound to a customer.',
    );
  }
  if (headers.customer === undefined || headers.customer === key.customer) return key.customer;
  throw new Refusal(
    'customer_mismatch',
    `This key belongs to another customer than ${headers.customer}. Leave the customer header out, or use a service key.`,
  );
}
