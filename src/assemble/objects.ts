/** On Workers: whose Durable Object a request is for. Whoever is refused here reaches none. */
import type { Endpoint } from '../../providers/provider.ts';
import { BODY_BYTES_MAX } from '../admin/request.ts';
import { isCustomerId } from '../customer-id.ts';
import { type Dialect, Refusal } from '../errors.ts';
import { authenticate, customerOf } from '../gateway/authenticate.ts';
import { askedAt, ENDPOINTS, modelInPath } from '../gateway/endpoints.ts';
import { readRequestHeaders } from '../gateway/headers.ts';
import { modelsDialect } from '../gateway/models.ts';
import type { Caller } from '../gateway/ports.ts';
import type { Keys } from '../keys/keys.ts';
import { type Database, LedgerUnavailable } from '../ledger/ledger.ts';
import { textUpTo } from '../request-body.ts';

export const KEYS_OBJECT = 'keys';
/** Account-wide events of Stripe, which speak of no customer; and what bills nothing, where no customer is named. */
export const ACCOUNT_OBJECT = 'account';

/** As it was sent, but for what the runtime has made of `..` and backslashes: nothing is decoded. */
export const pathOf = ({ url }: Request): string => new URL(url).pathname;

/** Whose object serves a caller's request: refused here, it reaches none. */
export async function objectOf(request: Request, keys: Keys): Promise<string> {
  const headers = readRequestHeaders([...request.headers].flat());
  const key = await authenticate(keys, headers);
  if (isBilled(request)) return customerOf(key, headers);
  return key.customer ?? headers.customer ?? ACCOUNT_OBJECT;
}

const isRead = ({ method }: Request): boolean => method === 'GET' || method === 'HEAD';

/** Lists of models, counts of tokens and moderations are nobody's in particular. */
function isBilled(request: Request): boolean {
  if (isRead(request)) return false;
  const endpoint = endpointOf(request);
  return endpoint === undefined || ENDPOINTS[endpoint].metered;
}

function endpointOf(request: Request): Endpoint | undefined {
  if (isRead(request)) return undefined;
  const path = pathOf(request);
  const rest = /^\/v1(?:beta)?\/models\/(.+)$/.exec(path)?.[1];
  return (rest === undefined ? askedAt(path) : modelInPath(rest))?.endpoint;
}

/** The dialect in which the object would refuse the request. */
export function dialectOf(request: Request, callerOf: (request: Request) => Caller): Dialect {
  const endpoint = endpointOf(request);
  if (endpoint !== undefined) return ENDPOINTS[endpoint].dialect;
  if (!isRead(request) || pathOf(request).startsWith('/v1/responses/')) return 'openai';
  return modelsDialect(callerOf(request));
}

/** Their bodies name whom they are about, where they are not about a key. */
const NAMED_IN_BODY: ReadonlySet<string> = new Set(['/admin/v1/budgets', '/admin/v1/reconciliations']);

/**
 * Ledgers lie apart here, one a customer: what reads one must say whose. Who is named by what is changed, in the path or the
 * body, is the one, whatever the query says: in another's ledger it would hold for nobody.
 */
export async function adminObject(request: Request): Promise<string> {
  const path = pathOf(request);
  if (path.startsWith('/admin/v1/keys')) return KEYS_OBJECT;
  const named =
    customerInPath(path) ??
    (await customerInBody(request, path)) ??
    new URL(request.url).searchParams.get('customer');
  if (isCustomerId(named)) return named;
  throw new Refusal(
    'invalid_request',
    'Say whose: on Workers every customer has a ledger of his own. Add ?customer=cus_....',
    {
      param: 'customer',
    },
  );
}

/** As the route reads it: decoded. */
function customerInPath(path: string): string | undefined {
  const segment = /^\/admin\/v1\/customers\/([^/]+)/.exec(path)?.[1];
  try {
    return segment === undefined ? undefined : decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

async function customerInBody(request: Request, path: string): Promise<unknown> {
  if (request.method !== 'POST' || !NAMED_IN_BODY.has(path)) return undefined;
  // The object reads it again.
  const body = readJson(await textUpTo(BODY_BYTES_MAX, request.clone()));
  return ((body ?? {}) as { customer?: unknown }).customer;
}

/** The database of another object, which errors leave without their class. */
export const databaseOf = (object: Database): Database => ({
  async batch(statements) {
    try {
      return await object.batch([...statements]);
    } catch (cause) {
      throw new LedgerUnavailable(`The object could not be asked: ${String(cause)}`, { cause });
    }
  },
});

/** Null for what is no JSON: the object it is sent to says so. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What an object's refusal says. */
export function messageOf(body: string): string {
  const { error } = (readJson(body) ?? {}) as { error?: { message?: unknown } };
  return typeof error?.message === 'string' ? error.message : body;
}

interface EventOfCustomer {
  readonly data?: { readonly object?: { object?: unknown; id?: unknown; customer?: unknown } };
}

/** The customer an event of Stripe's speaks of; what makes no sense is refused by the object it is sent to. */
export function customerOfEvent(body: string): string {
  try {
    const object = (JSON.parse(body) as EventOfCustomer).data?.object;
    const named = object?.object === 'customer' ? object : object?.customer;
    const id = typeof named === 'object' && named !== null && 'id' in named ? named.id : named;
    return typeof id === 'string' && id.startsWith('cus_') ? id : ACCOUNT_OBJECT;
  } catch {
    return ACCOUNT_OBJECT;
  }
}
