/** The official Stripe client, set up so that nothing is decided twice: delivery owns retries, and waits are short. */
import { Stripe } from 'stripe';

type HttpClient = NonNullable<NonNullable<ConstructorParameters<typeof Stripe>[1]>['httpClient']>;

export interface StripeClientOptions {
  /** A secret or restricted key. */
  readonly secretKey: string;
  /** Sends every call there instead of to Stripe: scheme, host and port only, since the SDK knows no path prefix. */
  readonly apiBase?: string | undefined;
  /** Needed on Workers: `Stripe.createFetchHttpClient()`. */
  readonly httpClient?: HttpClient | undefined;
}

/** Stripe acknowledges a meter event in about 0.1 s; after this long the outcome is unknown and the lease runs on. */
export const STRIPE_TIMEOUT_MS = 10_000;

/** Throws `TypeError` for a blank key or a base URL that is not plain http(s). The API version is the package's own. */
export function createStripeClient({ secretKey, apiBase, httpClient }: StripeClientOptions): Stripe {
  if (secretKey.trim() === '') throw new TypeError('The Stripe key is blank: set STRIPE_SECRET_KEY.');
  const stripe = new Stripe(secretKey.trim(), {
    maxNetworkRetries: 0,
    timeout: STRIPE_TIMEOUT_MS,
    telemetry: false,
    appInfo: { name: 'faregate' },
    httpClient: objectsOnly(httpClient ?? Stripe.createNodeHttpClient()),
    ...(apiBase === undefined ? {} : endpointOf(apiBase, httpClient === undefined)),
  });
  return rememberingAgent(stripe);
}

/** How the SDK says what it is never changes here, and it would put it together anew for each request: 20 of some 250 us. */
function rememberingAgent(stripe: Stripe): Stripe {
  const own: unknown = Reflect.get(stripe, 'getClientUserAgent');
  if (typeof own !== 'function') return stripe;
  let known: string | undefined;
  const getClientUserAgent = (told: (agent: string) => void): void => {
    if (known !== undefined) told(known);
    else
      Reflect.apply(own, stripe, [
        (agent: string) => {
          known = agent;
          told(agent);
        },
      ]);
  };
  return Object.assign(stripe, { getClientUserAgent });
}

/**
 * Begins a request without the stack it is begun from: the SDK writes one down for each, in case it fails, and it takes 25
 * of some 250 us. Only what happens before this returns has none.
 */
export function withoutStack<T>(begin: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return begin();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/**
 * Stripe answers with JSON objects. Of another JSON value, such as a proxy's `"OK"`, the SDK (23.1) fails where nobody can
 * catch it, and the process would end; so it is given as what cannot be read. Of a failure that is no error of Stripe's,
 * such as a proxy's page, the SDK would forget the status, or take it for success: it is given as an error without a type.
 */
function objectsOnly(client: HttpClient): HttpClient {
  const ask = client.makeRequest.bind(client);
  client.makeRequest = async (...request) => {
    const response = await ask(...request).catch((error: unknown) => {
      throw isMeterEvent(request) && isBroken(error) ? new Error(BROKEN, { cause: error }) : error;
    });
    const read: () => Promise<unknown> = response.toJSON.bind(response);
    response.toJSON = async () => {
      const failed = response.getStatusCode() >= 400;
      const json = await read().catch((error: unknown) => {
        if (failed && error instanceof SyntaxError) return null;
        throw error;
      });
      if (typeof json === 'object' && json !== null && !(failed && !('error' in json))) return json;
      if (failed) return { error: { message: 'The answer is no error of the kind that Stripe sends.' } };
      throw new SyntaxError('The answer is no JSON object.');
    };
    return response;
  };
  return client;
}

/**
 * What broke behind a meter event is not asked over by the SDK, which does so even with retries off: of the first nobody
 * knows whether it arrived, and what the second is answered, such as a 429, would be taken for the answer to both.
 */
const isMeterEvent = ([, , path, method]: Parameters<HttpClient['makeRequest']>): boolean =>
  method === 'POST' && path.includes('/billing/meter_event');
const BROKEN = 'The connection broke.';
const isBroken = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');

interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly protocol: 'http' | 'https';
}

/** Node's http takes an IPv6 address bare, a URL wants it in brackets. */
function endpointOf(apiBase: string, bareAddress: boolean): Endpoint {
  const url = URL.parse(apiBase);
  const isPlain =
    url !== null &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    url.pathname === '/' &&
    `${url.search}${url.hash}${url.username}${url.password}` === '';
  if (!isPlain) {
    throw new TypeError(
      'STRIPE_API_BASE must be scheme, host and port only, such as http://127.0.0.1:12111: no path, query or credentials.',
    );
  }
  const protocol = url.protocol === 'http:' ? 'http' : 'https';
  return {
    protocol,
    host: bareAddress ? url.hostname.replace(/^\[|\]$/g, '') : url.hostname,
    port: url.port === '' ? { http: 80, https: 443 }[protocol] : Number(url.port),
  };
}
