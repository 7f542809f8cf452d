/** What a caller may read with his key: the usage, credit and calls of the key's own customer, and the key itself. */
import { Refusal } from '../errors.ts';
import type { ApiKey, KeyLimits, Keys } from '../keys/keys.ts';
import type { Runtime } from '../runtime.ts';
import type { CustomerDirectory } from './admit.ts';
import { authenticate, customerOf } from './authenticate.ts';
import { readRequestHeaders } from './headers.ts';
import type { Caller } from './ports.ts';

export type ReadName = 'usage' | 'invoice-preview' | 'credits' | 'key' | 'generation';

/** Each answers the reply's JSON. They throw a `Refusal` where the query is wrong or nothing is there. */
export interface Reports {
  usage(customer: string, query: URLSearchParams): Promise<object>;
  invoicePreview(customer: string): Promise<object>;
  credits(customer: string): Promise<object>;
  generation(customer: string, id: string): Promise<object>;
}

export interface ReadsOptions {
  readonly keys: Keys;
  readonly reports: Reports;
  readonly customers: CustomerDirectory;
  readonly runtime: Pick<Runtime, 'id'>;
  /** The limits of keys that carry none of their own. */
  readonly limits: KeyLimits;
}

/**
 * Answers one read.
 *
 * @throws {Refusal} 401 without a valid key, 400 or 403 for a customer as in an inference call, and what the report throws.
 */
export type Reads = (name: ReadName, caller: Caller) => Promise<void>;

export function createReads(options: ReadsOptions): Reads {
  const { reports } = options;
  return async (name, caller) => {
    const headers = readRequestHeaders(caller.headers);
    const key = await authenticate(options.keys, headers);
    const query = new URLSearchParams(caller.query);
    if (name === 'key') {
      const customer = headers.customer === undefined ? key.customer : customerOf(key, headers);
      return answer(caller, { data: keyJson(key, customer, options.limits) }, options.runtime);
    }
    const customer = customerOf(key, headers);
    switch (name) {
      case 'usage':
        return answer(caller, await reports.usage(customer, query), options.runtime);
      case 'invoice-preview':
        return answer(caller, await reports.invoicePreview(customer), options.runtime);
      case 'credits':
        // Who is seen for the first time may have credit that no webhook told of. What Stripe cannot say is not waited for longer.
        await options.customers.verify(customer);
        return answer(caller, await reports.credits(customer), options.runtime);
      case 'generation':
        return answer(caller, await reports.generation(customer, idOf(query)), options.runtime);
    }
  };
}

function idOf(query: URLSearchParams): string {
  const id = query.get('id') ?? '';
  if (/^[\x21-\x7e]{1,100}$/.test(id)) return id;
  throw new Refusal(
    'invalid_request',
    'Name the call: ?id=req_..., as the reply to it said in x-request-id.',
    {
      param: 'id',
    },
  );
}

const keyJson = (key: ApiKey, customer: string | null, limits: KeyLimits): object => ({
  id: key.id,
  label: key.label,
  last4: key.last4,
  customer,
  service: key.customer === null,
  limits: { ...limits, ...key.limits },
  created_at: isoTime(key.createdAtMs === 0 ? null : key.createdAtMs),
  expires_at: isoTime(key.expiresAtMs ?? null),
});

const isoTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function answer(caller: Caller, json: object, runtime: Pick<Runtime, 'id'>): void {
  const bytes = new TextEncoder().encode(JSON.stringify(json));
  caller.reply.head(200, {
    'content-type': 'application/json',
    'content-length': String(bytes.length),
    'cache-control': 'no-store',
    'x-request-id': `req_${runtime.id()}`,
  });
  caller.reply.write(bytes);
  caller.reply.end();
}
