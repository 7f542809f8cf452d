/**
 * A Stripe customer's id as every room checks it: `cus_`, then letters, digits and underscores, 255 characters in all at
 * most. Stripe's are far shorter; the bound keeps a header from becoming a database key of any size.
 */
export const CUSTOMER_ID = /^cus_[A-Za-z0-9_]{1,251}$/;

export const isCustomerId = (value: unknown): value is string =>
  typeof value === 'string' && CUSTOMER_ID.test(value);
