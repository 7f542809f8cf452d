/** Events as the API lists them, and the webhook endpoints they go to. */
import { z } from 'zod';
import { missing } from './http.ts';
import { expand, integer, metadata, page, paging, parseParams } from './params.ts';
import type { Route, RouteCall } from './routes.ts';
import { newestFirst, stripeId, type Account, type StripeEvent, type WebhookEndpoint } from './world.ts';

const range = z.union([
  integer,
  z.strictObject({
    gt: integer.optional(),
    gte: integer.optional(),
    lt: integer.optional(),
    lte: integer.optional(),
  }),
]);
const listSchema = z.strictObject({
  type: z.string().optional(),
  types: z.array(z.string()).max(20).optional(),
  created: range.optional(),
  delivery_success: z.unknown().optional(),
  ...paging,
});
const fields = {
  api_version: z.string().optional(),
  description: z.string().optional(),
  metadata: metadata.optional(),
  ...expand,
};
const createSchema = z.strictObject({
  enabled_events: z.array(z.string()).min(1),
  url: z.url(),
  connect: z.unknown().optional(),
  ...fields,
});
const updateSchema = z.strictObject({
  enabled_events: z.array(z.string()).min(1).optional(),
  url: z.url().optional(),
  disabled: z.union([z.enum(['true', 'false']), z.boolean()]).optional(),
  ...fields,
});
const pagingSchema = z.strictObject(paging);

/** `fixed`: the URL and secret the simulator was given from outside; an endpoint made for that URL shares the secret. */
export const eventRoutes = (
  fixed: () => { readonly url: string; readonly secret: string } | undefined,
): readonly Route[] => [
  ['GET', '/v1/events', listEvents],
  [
    'GET',
    '/v1/events/:id',
    ({ account, id }) => {
      const event = account.world.events.find((one) => one.id === id);
      if (event === undefined) throw missing('event', id);
      return event;
    },
  ],
  [
    'POST',
    '/v1/webhook_endpoints',
    ({ account, body }) => {
      const params = parseParams(createSchema, body);
      const given = fixed();
      const secret = given?.url === params.url ? given.secret : stripeId('whsec');
      return createEndpoint(account, params, secret);
    },
  ],
  [
    'GET',
    '/v1/webhook_endpoints',
    ({ account, query }) => {
      const all = newestFirst(account.world.endpoints.values()).map(withoutSecret);
      return page(all, parseParams(pagingSchema, query), '/v1/webhook_endpoints');
    },
  ],
  ['GET', '/v1/webhook_endpoints/:id', ({ account, id }) => withoutSecret(existingEndpoint(account, id))],
  ['POST', '/v1/webhook_endpoints/:id', updateEndpoint],
  [
    'DELETE',
    '/v1/webhook_endpoints/:id',
    ({ account, id }) => {
      existingEndpoint(account, id);
      account.world.endpoints.delete(id);
      account.changed();
      return { id, object: 'webhook_endpoint', deleted: true };
    },
  ],
];

function listEvents({ account, query }: RouteCall): unknown {
  const params = parseParams(listSchema, query);
  const { type, types, created } = params;
  const wanted = (event: StripeEvent): boolean =>
    (type === undefined || matches(type, event.type)) &&
    (types === undefined || types.some((one) => matches(one, event.type))) &&
    within(event.created, created);
  return page(newestFirst(account.world.events).filter(wanted), params, '/v1/events');
}

/** `invoice.*` stands for every invoice event. */
const matches = (pattern: string, type: string): boolean =>
  pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type;

function within(time: number, wanted: z.output<typeof range> | undefined): boolean {
  if (wanted === undefined) return true;
  if (typeof wanted === 'number') return time === wanted;
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = wanted;
  return time > gt && time >= gte && time < lt && time <= lte;
}

function createEndpoint(
  account: Account,
  params: z.output<typeof createSchema>,
  secret: string,
): WebhookEndpoint {
  const endpoint: WebhookEndpoint = {
    id: stripeId('we'),
    object: 'webhook_endpoint',
    api_version: params.api_version ?? null,
    application: null,
    created: account.seconds(),
    description: params.description ?? null,
    enabled_events: params.enabled_events,
    livemode: false,
    metadata: params.metadata === '' || params.metadata === undefined ? {} : params.metadata,
    secret,
    status: 'enabled',
    url: params.url,
  };
  account.world.endpoints.set(endpoint.id, endpoint);
  account.changed();
  return endpoint;
}

function updateEndpoint({ account, id, body }: RouteCall): unknown {
  const endpoint = existingEndpoint(account, id);
  const params = parseParams(updateSchema, body);
  endpoint.enabled_events = params.enabled_events ?? endpoint.enabled_events;
  endpoint.url = params.url ?? endpoint.url;
  endpoint.description = params.description ?? endpoint.description;
  if (params.disabled !== undefined) {
    endpoint.status = String(params.disabled) === 'true' ? 'disabled' : 'enabled';
  }
  if (params.metadata === '') endpoint.metadata = {};
  else Object.assign(endpoint.metadata, params.metadata);
  account.changed();
  return withoutSecret(endpoint);
}

function existingEndpoint(account: Account, id: string): WebhookEndpoint {
  const endpoint = account.world.endpoints.get(id);
  if (endpoint === undefined) throw missing('webhook endpoint', id);
  return endpoint;
}

/** Stripe shows the signing secret once, in the answer to the creation. */
const withoutSecret = ({ secret: _secret, ...shown }: WebhookEndpoint): Omit<WebhookEndpoint, 'secret'> =>
  shown;
