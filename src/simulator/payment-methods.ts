/** Whose a payment method is. */
import { invalid, missing } from './http.ts';
import type { Account, PaymentMethod } from './world.ts';

/** Throws Stripe's refusal for a method that is not the customer's. */
export function methodOf(account: Account, id: string, customer: string | undefined): PaymentMethod {
  const method = existingMethod(account, id);
  if (method.customer === customer) return method;
  throw invalid(
    `The customer does not have a payment method with the ID ${id}. The payment method must be attached to the customer.`,
    { code: 'resource_missing', param: 'payment_method' },
  );
}

/** Throws Stripe's 404 for one that never was. */
export function existingMethod(account: Account, id: string): PaymentMethod {
  const method = account.world.paymentMethods.get(id);
  if (method === undefined) throw missing('PaymentMethod', id, 'payment_method');
  return method;
}
