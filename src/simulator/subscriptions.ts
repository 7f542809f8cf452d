/** Subscriptions and invoices as events told of them last, and the preview of the next invoice. */
import { z } from 'zod';
import { existingCustomer } from './customers.ts';
import { missing, StripeFailure } from './http.ts';
import { expand, page, paging, parseParams } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, type Account, type Told } from './world.ts';

const subscriptionList = z.strictObject({
  customer: z.string().optional(),
  status: z.string().optional(),
  ...paging,
});
const invoiceList = z.strictObject({
  customer: z.string().optional(),
  status: z.string().optional(),
  subscription: z.string().optional(),
  ...paging,
});
const previewSchema = z.strictObject({
  customer: z.string().optional(),
  subscription: z.string().optional(),
  ...expand,
});

export const subscriptionRoutes: readonly Route[] = [
  ['GET', '/v1/subscriptions', listSubscriptions],
  [
    'GET',
    '/v1/subscriptions/:id',
    ({ account, id }) => existing(account.world.subscriptions, 'subscription', id),
  ],
  ['GET', '/v1/invoices', listInvoices],
  ['POST', '/v1/invoices/create_preview', previewInvoice],
  ['GET', '/v1/invoices/:id', ({ account, id }) => existing(account.world.invoices, 'invoice', id)],
];

/** Without `status` Stripe leaves out what has ended. */
function listSubscriptions({ account, query }: RouteCall): unknown {
  const { status, ...params } = parseParams(subscriptionList, query);
  const wanted = ({ customer, status: state }: Told): boolean =>
    (params.customer === undefined || customer === params.customer) &&
    (status === 'all' || (status === undefined ? state !== 'canceled' : state === status));
  const all = newestFirst(account.world.subscriptions.values());
  return page(all.filter(wanted), params, '/v1/subscriptions');
}

function listInvoices({ account, query }: RouteCall): unknown {
  const { status, ...params } = parseParams(invoiceList, query);
  const wanted = (invoice: Told): boolean =>
    (params.customer === undefined || invoice.customer === params.customer) &&
    (status === undefined || invoice.status === status);
  return page(newestFirst(account.world.invoices.values()).filter(wanted), params, '/v1/invoices');
}

/** The usage is not priced here: the preview is of an invoice with nothing on it but the period. */
function previewInvoice({ account, body }: RouteCall): unknown {
  const params = parseParams(previewSchema, body);
  if (params.customer !== undefined) existingCustomer(account, params.customer);
  const subscription = newestFirst(account.world.subscriptions.values()).find(
    ({ id, customer, status }) =>
      (customer === params.customer || id === params.subscription) && status !== 'canceled',
  );
  if (subscription === undefined) throw noUpcoming(params.customer ?? '');
  return { ...emptyInvoice(account, subscription), customer: subscription.customer };
}

const emptyInvoice = (account: Account, subscription: Told): object => ({
  id: 'upcoming_in_sandbox',
  object: 'invoice',
  amount_due: 0,
  amount_remaining: 0,
  currency: 'usd',
  lines: { object: 'list', data: [], has_more: false, url: '/v1/invoices/upcoming/lines' },
  livemode: false,
  period_end: account.seconds(),
  period_start: account.seconds(),
  status: 'draft',
  subscription: subscription.id,
  subtotal: 0,
  total: 0,
});

const noUpcoming = (customer: string): StripeFailure =>
  new StripeFailure({
    status: 404,
    type: 'invalid_request_error',
    code: 'invoice_upcoming_none',
    message: `No upcoming invoices for customer: ${customer}`,
  });

function existing(from: ReadonlyMap<string, Told>, what: string, id: string): Told {
  const found = from.get(id);
  if (found === undefined) throw missing(what, id);
  return found;
}
