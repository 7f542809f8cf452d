/** Customers: created, read, changed, deleted. Their addresses and taxes play no part here. */
import { z } from 'zod';
import { missing } from './http.ts';
import { expand, metadata, page, paging, parseParams } from './params.ts';
import { methodOf } from './payment-methods.ts';
import type { Route } from './routes.ts';
import { newestFirst, stripeId, type Account, type Customer } from './world.ts';

const text = z.string().max(5_000).optional();
const invoiceSettings = z.strictObject({ default_payment_method: z.string() }).optional();
const fields = { name: text, email: text, description: text, metadata: metadata.optional(), ...expand };
// `id` is not in Stripe's reference, yet Stripe takes it; the sandbox needs it for `cus_demo`.
const createSchema = z.strictObject({ id: z.string().max(255).optional(), ...fields });
const updateSchema = z.strictObject({ invoice_settings: invoiceSettings, ...fields });
const listSchema = z.strictObject({ email: text, created: z.unknown().optional(), ...paging });

export const customerRoutes: readonly Route[] = [
  ['POST', '/v1/customers', ({ account, body }) => createCustomer(account, parseParams(createSchema, body))],
  [
    'GET',
    '/v1/customers',
    ({ account, query }) => {
      const params = parseParams(listSchema, query);
      const all = newestFirst(account.world.customers.values());
      const some = params.email === undefined ? all : all.filter(({ email }) => email === params.email);
      return page(some, params, '/v1/customers');
    },
  ],
  [
    'GET',
    '/v1/customers/:id',
    ({ account, id }) =>
      account.world.deleted.has(id) ? deletedCustomer(id) : existingCustomer(account, id, 'id'),
  ],
  [
    'POST',
    '/v1/customers/:id',
    ({ account, id, body }) => {
      const customer = existingCustomer(account, id, 'id');
      const params = parseParams(updateSchema, body);
      const { expand: _ignored, metadata: changes, invoice_settings: settings, ...changed } = params;
      if (settings !== undefined) {
        methodOf(account, settings.default_payment_method, id);
        customer['invoice_settings'] = { ...(customer['invoice_settings'] as object), ...settings };
      }
      Object.assign(customer, changed);
      if (changes === '') customer.metadata = {};
      else Object.assign(customer.metadata, changes);
      account.emit('customer.updated', customer);
      return customer;
    },
  ],
  ['DELETE', '/v1/customers/:id', ({ account, id }) => deleteCustomer(account, id)],
];

/** Creates a customer, with the given id where there is one. An id that exists is answered as it is. */
export function createCustomer(account: Account, params: z.output<typeof createSchema>): Customer {
  const id = params.id ?? stripeId('cus');
  const existing = account.world.customers.get(id);
  if (existing !== undefined) return existing;
  const customer: Customer = {
    id,
    object: 'customer',
    address: null,
    balance: 0,
    created: account.seconds(),
    currency: null,
    default_source: null,
    delinquent: false,
    description: params.description ?? null,
    discount: null,
    email: params.email ?? null,
    invoice_prefix: id.slice(-8).toUpperCase(),
    invoice_settings: {
      custom_fields: null,
      default_payment_method: null,
      footer: null,
      rendering_options: null,
    },
    livemode: false,
    metadata: params.metadata === '' || params.metadata === undefined ? {} : params.metadata,
    name: params.name ?? null,
    phone: null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: 'none',
    test_clock: null,
  };
  account.world.deleted.delete(id);
  account.world.customers.set(id, customer);
  account.emit('customer.created', customer);
  return customer;
}

/** Deletes the customer for good and says so by webhook. */
export function deleteCustomer(account: Account, id: string): unknown {
  const customer = existingCustomer(account, id, 'id');
  account.world.customers.delete(id);
  account.world.deleted.add(id);
  account.emit('customer.deleted', customer);
  return deletedCustomer(id);
}

/** The customer, or Stripe's 404 for one that never was or is deleted. */
export function existingCustomer(account: Account, id: string, param = 'customer'): Customer {
  const customer = account.world.customers.get(id);
  if (customer === undefined) throw missing('customer', id, param);
  return customer;
}

const deletedCustomer = (id: string): unknown => ({ id, object: 'customer', deleted: true });
