/**
 * Which header lines mean something to the gateway and which travel on. One pass over a request's lines; an allow-list
 * for a reply's.
 */
import { isCustomerId } from '../customer-id.ts';
import { Refusal } from '../errors.ts';

export interface RequestHeaders {
  /** The API key's secret; undefined when none was sent. */
  readonly secret: string | undefined;
  /** The customer named in a header; undefined when none was. */
  readonly customer: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** As it was sent; of repeated lines, all of them joined, which no parser here takes for one. */
  readonly contentType: string | undefined;
  /** What the provider may see. */
  readonly forwarded: Readonly<Record<string, string>>;
}

/**
 * Reads the header lines of an inference request.
 *
 * @throws {Refusal} 400 for a credential or customer given twice or in two that differ, for a second Host, and for a malformed customer id;
 *   401 for a credential that is no Bearer token.
 */
export function readRequestHeaders(lines: readonly string[]): RequestHeaders {
  const credentials: Line[] = [];
  const customers: Line[] = [];
  const hosts: Line[] = [];
  const forwarded: Record<string, string> = {};
  let contentEncoding: string | undefined;
  let idempotencyKey: string | undefined;
  let contentType: string | undefined;
  let connection: string | undefined;
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const name = lines[index] ?? '';
    const value = lines[index + 1] ?? '';
    switch (name) {
      case 'authorization':
      case 'x-api-key':
      case 'x-goog-api-key':
        setOnce(credentials, name, value);
        break;
      case 'x-stripe-customer-id':
      case 'stripe-customer-id':
        setOnce(customers, name, value);
        break;
      // RFC 9112, 3.2: a request with two must be refused, as somebody before us may have read the other one.
      case 'host':
        setOnce(hosts, name, value);
        break;
      case 'idempotency-key':
        idempotencyKey = keyOf(idempotencyKey, value);
        break;
      case 'content-encoding':
        contentEncoding = joined(contentEncoding, value);
        break;
      case 'content-type':
        contentType = joined(contentType, value);
        break;
      case 'connection':
        connection = joined(connection, value);
        break;
      default:
        if (travelsOn(name))
          forwarded[name] = Object.hasOwn(forwarded, name) ? `${forwarded[name]}, ${value}` : value;
    }
  }
  if (connection !== undefined) dropNamed(forwarded, connection);
  return {
    secret: secretOf(credentials),
    customer: customerOf(customers),
    contentEncoding,
    contentType,
    idempotencyKey,
    forwarded,
  };
}

/** Repeated lines are one list (RFC 9110, 5.3). */
const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`;

/** A name and its value. */
type Line = readonly [string, string];

/** A comma joins repeated lines where the runtime has already folded them; no key and no customer id holds one. */
function setOnce(into: Line[], name: string, value: string): void {
  if (into.some(([known]) => known === name) || value.includes(',')) {
    throw new Refusal('invalid_request', `The header ${name} was sent more than once. Send it once.`);
  }
  into.push([name, value]);
}

/** As long as Stripe's may be; a key is hashed, never kept. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

function keyOf(before: string | undefined, value: string): string {
  if (before === undefined && IDEMPOTENCY_KEY.test(value)) return value;
  const what = before === undefined ? 'must be 1 to 255 plain characters' : 'was sent more than once';
  throw new Refusal('invalid_request', `The header idempotency-key ${what}.`, { param: 'idempotency-key' });
}

function secretOf(credentials: readonly Line[]): string | undefined {
  let secret: string | undefined;
  for (const [name, value] of credentials) {
    const given = name === 'authorization' ? bearer(value) : value.trim();
    if (secret !== undefined && secret !== given) {
      throw new Refusal(
        'invalid_request',
        'Two different API keys were sent in one request. Send one, in Authorization, x-api-key or x-goog-api-key.',
      );
    }
    secret = given;
  }
  return secret === '' ? undefined : secret;
}

function bearer(value: string): string {
  const match = /^Bearer +(\S+) *$/i.exec(value);
  if (match?.[1] !== undefined) return match[1];
  throw new Refusal('invalid_api_key', 'The Authorization header is not of the form "Bearer <API key>".');
}

function customerOf(customers: readonly Line[]): string | undefined {
  let customer: string | undefined;
  for (const [name, value] of customers) {
    if (!isCustomerId(value)) {
      throw new Refusal(
        'invalid_request',
        `The header ${name} is not a Stripe customer id: it must be cus_ and letters, digits or underscores, 255 characters at most.`,
        { param: name },
      );
    }
    if (customer !== undefined && customer !== value) {
      throw new Refusal(
        'invalid_request',
        `The request names two customers, ${customer} and ${value}. Name one.`,
      );
    }
    customer = value;
  }
  return customer;
}

/**
 * Never sent on: hop-by-hop headers (RFC 9110, 7.6.1), what the gateway sets itself, cookies, the caller's whereabouts,
 * and what would choose an account at the vendor.
 */
const STAYS = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'via',
  'forwarded',
  'x-real-ip',
  'true-client-ip',
  'content-length',
  'content-type',
  'content-encoding',
  'accept-encoding',
  'cookie',
  'cookie2',
  'set-cookie',
  'origin',
  'referer',
  'api-key',
  'stripe-restricted-access-key',
  'openai-organization',
  'openai-project',
  'anthropic-organization-id',
  'anthropic-workspace-id',
  'x-goog-user-project',
  // These would have the vendor leave the usage out of its reply, or take the request for another.
  'x-goog-fieldmask',
  'x-http-method-override',
  'idempotency-key',
  // The gateway's own word for the call; who wants to name a request to OpenAI sends x-client-request-id, which travels.
  'x-request-id',
]);
const STAYS_PREFIXES = [
  'x-faregate-',
  'x-stripe-',
  'x-forwarded-',
  'proxy-',
  'cf-',
  'sec-',
  'access-control-',
];

const travelsOn = (name: string): boolean =>
  !STAYS.has(name) && !STAYS_PREFIXES.some((prefix) => name.startsWith(prefix)) && name !== '__proto__';

/** Connection names further headers that end at this hop. */
function dropNamed(forwarded: Record<string, string>, connection: string): void {
  if (connection === 'keep-alive' || connection === 'close') return;
  for (const named of connection.split(',')) delete forwarded[named.trim().toLowerCase()];
}

/** A provider's reply headers that the caller may see. Its request ids, cookies, limits and account stay here. */
const REPLY_HEADERS = [
  'content-type',
  'content-disposition',
  'content-language',
  'cache-control',
  'retry-after',
  'retry-after-ms',
  'x-should-retry',
  'openai-processing-ms',
  'openai-version',
  'openai-model',
];

/** The headers of a provider's reply that travel on to the caller. */
export function replyHeaders(upstream: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of REPLY_HEADERS) {
    const value = upstream[name];
    // A runtime throws over a character that no header line can hold, when the call is already paid for.
    if (value !== undefined) headers[name] = value.replace(/[^\t\x20-\x7e]/g, '?');
  }
  return headers;
}

/** The encoding that a reply still has behind the relay, which undoes those it knows. */
export function undecoded(headers: Readonly<Record<string, string>>): string | undefined {
  const encoding = (headers['content-encoding'] ?? '').trim().toLowerCase();
  return encoding === '' || encoding === 'identity' ? undefined : encoding.slice(0, 100);
}
