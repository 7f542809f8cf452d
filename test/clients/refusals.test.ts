/** Every refusal of the gateway's own, by the official clients: one request, their class for the status, message and code. */
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI, ApiError as GeminiError } from '@google/genai';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GrantFact } from '../../src/ledger/accounts-port.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

const MODELS = { openai: 'gpt-4o-mini', anthropic: 'claude-haiku-4-5', gemini: 'gemini-2.5-flash' } as const;
type Client = keyof typeof MODELS;
const nowhere = { api_key: 'unused-by-these-tests', base_url: 'http://127.0.0.1:9' };
let gateway: TestGateway;
let made = 0;
beforeAll(async () => {
  gateway = await startTestGateway({ providers: { anthropic: nowhere, google: nowhere } });
});
afterAll(() => gateway.close());

const grant = (pico: string): GrantFact => ({
  id: `credgr_${(made += 1)}`,
  name: null,
  category: 'paid',
  priority: 50,
  amountPico: pico,
  balancePico: pico,
  applies: true,
  effectiveAtMs: 0,
  expiresAtMs: null,
  createdAtMs: 0,
  voidedAtMs: null,
});
const fund = (customer: string, pico: string): Promise<void> =>
  gateway.running.ledger.recordGrants({ customer, readAtMs: 1, grants: [grant(pico)] });

interface Case {
  readonly status: number;
  /** What brings the refusal about. */
  readonly cause: (customer: string) => Promise<unknown>;
  readonly model?: string;
  readonly says: string;
}
const CASES = {
  credit_balance_exhausted: {
    status: 402,
    cause: (customer) => fund(customer, '0'),
    says: 'it is used up',
  },
  request_exceeds_balance: {
    status: 402,
    cause: (customer) => fund(customer, '1'),
    says: 'this request may cost',
  },
  budget_exceeded: {
    status: 402,
    cause: (subject) =>
      gateway.running.ledger.putBudget(
        { id: `bud_${subject}`, scope: 'customer', subject, span: 'month', limitPico: '0' },
        Date.now(),
      ),
    says: 'has $0.00 left',
  },
  alert_triggered: {
    status: 402,
    cause: (customer) => gateway.stripe.trigger('billing.alert.triggered', { customer }),
    says: 'a spending alert has fired',
  },
  customer_frozen: {
    status: 402,
    cause: (customer) => gateway.running.ledger.changeAccount(customer, { frozen: { why: 'fraud' } }, 1),
    says: 'is frozen by the operator',
  },
  subscription_inactive: {
    status: 402,
    cause: (customer) =>
      gateway.running.ledger.recordSubscription({
        customer,
        readAtMs: Date.now() + 3_600_000,
        subscription: { id: 'sub_1', state: 'past_due' },
        paymentBlock: { atMs: 1, why: 'the subscription is past due' },
        period: null,
      }),
    says: 'the subscription is past due',
  },
  model_not_priced: {
    status: 403,
    cause: (customer) => fund(customer, '1000000000000'),
    model: 'no-such-price-9',
    says: 'has no price to take from it',
  },
  customer_not_found: {
    status: 403,
    cause: () => Promise.resolve(),
    says: 'Stripe has no customer',
  },
} as const satisfies Record<string, Case>;

/** What a client made of it, and how often it asked. */
interface Seen {
  readonly error: unknown;
  readonly requests: number;
}

async function seenBy(client: Client, customer: string, model: string): Promise<Seen> {
  let requests = 0;
  const own = globalThis.fetch;
  const counted: typeof fetch = (input, init) => {
    // The gateway is in this process and asks Stripe: only what goes to it counts.
    if (String(input instanceof Request ? input.url : input).startsWith(gateway.url)) requests += 1;
    return own(input, init);
  };
  const error = await ASK[client]({ customer, model, fetch: counted }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { error, requests };
}

interface Asking {
  readonly customer: string;
  readonly model: string;
  readonly fetch: typeof fetch;
}
const messages = [{ role: 'user' as const, content: 'hi' }];
const ASK: Readonly<Record<Client, (asking: Asking) => Promise<unknown>>> = {
  openai: ({ customer, model, fetch: counted }) =>
    new OpenAI({
      baseURL: `${gateway.url}/v1`,
      apiKey: SERVICE_KEY,
      fetch: counted,
      defaultHeaders: { 'x-stripe-customer-id': customer },
    }).chat.completions.create({ model, max_tokens: 50, messages }),
  anthropic: ({ customer, model, fetch: counted }) =>
    new Anthropic({
      baseURL: gateway.url,
      apiKey: SERVICE_KEY,
      fetch: counted,
      defaultHeaders: { 'x-stripe-customer-id': customer },
    }).messages.create({ model, max_tokens: 50, messages }),
  // It takes no fetch of ours: the process's own is counted while it asks.
  gemini: async ({ customer, model, fetch: counted }) => {
    const own = globalThis.fetch;
    const client = new GoogleGenAI({
      apiKey: SERVICE_KEY,
      httpOptions: { baseUrl: gateway.url, headers: { 'x-stripe-customer-id': customer } },
    });
    globalThis.fetch = counted;
    try {
      return await client.models.generateContent({ model, contents: 'hi', config: { maxOutputTokens: 50 } });
    } finally {
      globalThis.fetch = own;
    }
  },
};

const CLASSES: Readonly<Record<Client, Readonly<Record<number, unknown>>>> = {
  openai: { 402: OpenAI.APIError, 403: OpenAI.PermissionDeniedError },
  anthropic: { 402: Anthropic.APIError, 403: Anthropic.PermissionDeniedError },
  gemini: { 402: GeminiError, 403: GeminiError },
};

/** The code, where the client has it. */
function codeIn(client: Client, error: unknown): unknown {
  if (client === 'openai') return (error as InstanceType<typeof OpenAI.APIError>).code;
  if (client === 'anthropic')
    return (error as InstanceType<typeof Anthropic.APIError>).headers?.get('x-faregate-error');
  const body = JSON.parse((error as Error).message) as {
    error: { details: readonly { metadata: { code: string } }[] };
  };
  return body.error.details[0]?.metadata.code;
}

const unserved = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).catch((error: unknown) => error);

const clients: readonly Client[] = ['openai', 'anthropic', 'gemini'];
const table = Object.entries(CASES).flatMap(([code, one]) =>
  clients.map((client) => [code, client, one as Case] as const),
);

describe('the official clients', () => {
  it.each(table)(
    'show %s to who uses %s after one request',
    async (code, client, { status, cause, ...one }) => {
      const customer = `cus_refused_${(made += 1)}`;
      if (code !== 'customer_not_found') gateway.stripe.addCustomer(customer);
      await cause(customer);
      const { error, requests } = await seenBy(client, customer, one.model ?? MODELS[client]);
      expect(requests).toBe(1);
      expect(error).toBeInstanceOf(CLASSES[client][status] as never);
      expect(error).toMatchObject({ status, message: expect.stringContaining(one.says) });
      expect(codeIn(client, error)).toBe(code);
    },
  );

  it('show what is not served here as their own vendor would, also on paths that several vendors have', async () => {
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: SERVICE_KEY, maxRetries: 0 });
    const google = new GoogleGenAI({ apiKey: SERVICE_KEY, httpOptions: { baseUrl: gateway.url } });
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: SERVICE_KEY, maxRetries: 0 });
    expect(await unserved(anthropic.beta.files.list())).toMatchObject({
      status: 404,
      type: 'not_found_error',
      requestID: expect.stringMatching(/^req_/),
    });
    expect(codeIn('gemini', await unserved(google.files.list()))).toBe('not_found');
    expect(codeIn('openai', await unserved(openai.files.list()))).toBe('not_found');
  });
});
