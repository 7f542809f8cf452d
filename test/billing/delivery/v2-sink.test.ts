import type { IncomingMessage, ServerResponse } from 'node:http';
import { Stripe } from 'stripe';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeSink } from '../../../src/billing/delivery/v2-sink.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, listen } from '../support.ts';
import type { TestServer } from '../support.ts';

const event: MeterEvent = {
  identifier: 'fg_1',
  destination: 'dimensions',
  eventName: 'token-billing-tokens',
  customer: 'cus_a',
  model: 'openai/gpt-4o-mini',
  tokenType: 'input',
  value: '1234',
  timestampMs: Date.UTC(2026, 10, 21, 12, 0, 0, 250),
};

interface Seen {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let seen: Seen[];
let answer: (response: ServerResponse, request: IncomingMessage) => void;
let server: TestServer;
const runtime = createTestRuntime();

beforeEach(async () => {
  seen = [];
  answer = (response) => {
    json(response, 200, { object: 'v2.billing.meter_event', identifier: 'fg_1' });
  };
  server = await listen((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      seen.push({ url: request.url, headers: request.headers, body });
      answer(response, request);
    });
  });
});
afterEach(() => server.close());

function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

const clients = {
  'the Node client': () => createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url }),
  'the fetch client': () =>
    createStripeClient({
      secretKey: 'sk_test_x',
      apiBase: server.url,
      httpClient: Stripe.createFetchHttpClient(),
    }),
};

/** Sends the event through the given client; without a deadline, the sink's own. */
async function send(createClient: () => Stripe, deadlineMs?: number): Promise<Delivery | undefined> {
  const deadline = deadlineMs === undefined ? {} : { deadline: () => AbortSignal.timeout(deadlineMs) };
  const sink = createStripeSink({ stripe: createClient(), runtime, ...deadline });
  return (await sink.send([event]))[0];
}

interface Refusal {
  readonly status: number;
  readonly error: object;
  readonly headers?: Record<string, string>;
}
function answering(createClient: () => Stripe, refusal: Refusal): Promise<Delivery | undefined> {
  answer = (response) => {
    json(response, refusal.status, { error: refusal.error }, refusal.headers);
  };
  return send(createClient);
}

describe.each(Object.entries(clients))('a meter event sent with %s', (_, createClient) => {
  it('carries what Stripe bills by', async () => {
    expect(await send(createClient)).toEqual({ identifier: 'fg_1', kind: 'accepted' });
    expect(seen).toHaveLength(1);
    expect(seen[0]?.url).toBe('/v2/billing/meter_events');
    expect(seen[0]?.headers['stripe-version']).toBe('2026-10-28.endive');
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      event_name: 'token-billing-tokens',
      identifier: 'fg_1',
      timestamp: '2026-11-21T12:00:00.250Z',
      payload: {
        stripe_customer_id: 'cus_a',
        value: '1234',
        model: 'openai/gpt-4o-mini',
        token_type: 'input',
      },
    });
  });

  it('is delivered when v2 calls it a duplicate', async () => {
    const error = {
      code: 'duplicate_meter_event',
      message: 'A meter event with a duplicate identifier has already been submitted.',
    };
    expect(await answering(createClient, { status: 400, error })).toEqual({
      identifier: 'fg_1',
      kind: 'duplicate',
    });
  });

  it('is delivered when v1 calls it a duplicate', async () => {
    const error = { type: 'invalid_request_error', message: 'An event already exists with identifier fg_1.' };
    expect(await answering(createClient, { status: 400, error })).toEqual({
      identifier: 'fg_1',
      kind: 'duplicate',
    });
  });

  it.each([
    [429, 'busy', { type: 'invalid_request_error', code: 'rate_limit', message: 'Too many requests' }],
    [409, 'contended', { code: 'too_many_concurrent_requests', message: 'Busy' }],
    [429, 'contended', { type: 'invalid_request_error', code: 'lock_timeout', message: 'Busy' }],
    [429, 'busy', { type: 'rate_limit', message: 'Busy' }],
    [429, 'contended', { code: 'too_many_concurrent_requests', message: 'Busy' }],
    [429, 'busy', { code: 'rate_limit', message: 'Busy' }, 'endpoint-rate'],
    [429, 'contended', { code: 'rate_limit', message: 'Busy' }, 'resource-specific'],
  ])(
    'is retried after %i (%s), when Stripe says, and not by the SDK',
    async (status, cause, error, why?: string) => {
      const headers = {
        'retry-after': '7',
        ...(why === undefined ? {} : { 'stripe-rate-limited-reason': why }),
      };
      expect(await answering(createClient, { status, error, headers })).toMatchObject({
        kind: 'retry',
        cause,
        notBeforeMs: runtime.now() + 7_000,
      });
      expect(seen).toHaveLength(1);
    },
  );
});

describe.each(Object.entries(clients))('a meter event not wanted, sent with %s', (_, createClient) => {
  it.each([
    [401, 'unauthorised'],
    [403, 'forbidden'],
  ])('is retried without blame after %i', async (status, cause) => {
    const error = { type: 'invalid_request_error', message: 'Invalid API Key provided' };
    expect(await answering(createClient, { status, error })).toMatchObject({
      kind: 'retry',
      cause,
      error: expect.stringContaining('To do:') as unknown,
    });
  });

  it.each([
    [400, 'archived_meter', 'faregate sync'],
    [400, 'timestamp_too_far_in_past', '35 days'],
    [404, 'resource_missing', 'customer is not in this Stripe account'],
    [400, 'something_new', 'mend what the message names'],
  ])('is refused after %i %s, with what to do', async (status, code, fix) => {
    const delivery = await answering(createClient, {
      status,
      error: { type: 'invalid_request_error', code, message: 'No.' },
    });
    expect(delivery).toMatchObject({ kind: 'refused', error: expect.stringContaining(fix) as unknown });
    expect(delivery).toMatchObject({ error: expect.stringContaining(code) as unknown });
  });
});

describe.each(Object.entries(clients))('the fate of an event sent with %s', (_, createClient) => {
  it.each([
    [404, { message: 'Not Found', code: 404 }],
    [404, { message: 'no Route matched with those values' }],
    [400, 'bad request'],
    [400, { code: 'bad_request', message: 'Request blocked' }],
    [421, { message: 'Misdirected Request' }],
  ])('is not decided by a %i that is not of Stripe: %j', async (status, error) => {
    answer = (response) => {
      json(response, status, { error });
    };
    expect(await send(createClient)).toMatchObject({ kind: 'ambiguous' });
  });

  it.each([
    '<html>Not Found</html>',
    '',
    '{"message":"Not Found"}',
    '"Not Found"',
    '{"error":{"message":"no"}}',
  ])('finds no route where a 404 says %s', async (body) => {
    answer = (response) => {
      response.writeHead(404);
      response.end(body);
    };
    expect(await send(createClient)).toMatchObject({ kind: 'ambiguous', noRoute: true });
  });

  it.each([
    [402, { type: 'card_error', message: 'Request failed' }],
    [424, { type: 'api_error', message: 'External dependency failed' }],
    [400, { type: 'idempotency_error', message: 'Keys for idempotent requests can only be used once.' }],
    [409, { type: 'idempotency_error', code: 'idempotency_key_in_use', message: 'Another is under way.' }],
  ])("is not decided by Stripe's own %i that is not about it: %j", async (status, error) => {
    expect(await answering(createClient, { status, error })).toMatchObject({ kind: 'ambiguous' });
  });

  it("is not decided by Stripe's own 404 for a route it has not", async () => {
    const error = { type: 'invalid_request_error', message: 'Unrecognized request URL (POST: /v2/x).' };
    expect(await answering(createClient, { status: 404, error })).toMatchObject({
      kind: 'retry',
      cause: 'misdirected',
      error: expect.stringContaining('STRIPE_API_BASE') as unknown,
    });
  });
});

describe.each(Object.entries(clients))('the outcome with %s', (_, createClient) => {
  it.each([500, 502, 503])('is ambiguous after %i, and not sent again by the SDK', async (status) => {
    expect(
      await answering(createClient, {
        status,
        error: { message: 'Oops' },
        headers: { 'retry-after': '2' },
      }),
    ).toMatchObject({
      kind: 'ambiguous',
      notBeforeMs: runtime.now() + 2_000,
    });
    expect(seen).toHaveLength(1);
  });

  it.each([
    ["a proxy's page", 502, '<html>Bad gateway</html>'],
    ["a proxy's JSON", 503, '{"message":"no upstream"}'],
    ['another success', 200, '{"ok":true}'],
    ['nothing', 200, ''],
    ['null', 200, 'null'],
    ['a word', 200, '"OK"'],
    ['true', 200, 'true'],
    ["a proxy's number", 502, '502'],
  ])('is ambiguous when %s comes back', async (_name, status, body) => {
    answer = (response) => {
      response.writeHead(status);
      response.end(body);
    };
    expect(await send(createClient)).toMatchObject({ kind: 'ambiguous' });
  });

  it('is ambiguous when the connection breaks before the answer', async () => {
    answer = (_response, request) => request.socket.destroy();
    expect(await send(createClient)).toMatchObject({ kind: 'ambiguous' });
  });

  it('is ambiguous when the answer breaks off', async () => {
    answer = (response, request) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"object":', () => request.socket.destroy());
    };
    expect(await send(createClient)).toMatchObject({ kind: 'ambiguous' });
  });

  it('is ambiguous when no answer comes in time', async () => {
    answer = () => undefined;
    expect(await send(createClient, 50)).toMatchObject({ kind: 'ambiguous' });
  });

  it('is retried when nobody listens', async () => {
    const client = createClient();
    await server.close();
    const [delivery] = await createStripeSink({ stripe: client, runtime }).send([event]);
    expect(delivery).toMatchObject({ kind: 'retry', cause: 'unreachable' });
  });
});

it('stays ambiguous when the first of two sends by the SDK broke and the second found nobody', async () => {
  const stripe = clients['the Node client']();
  answer = (_response, request) => {
    request.socket.destroy();
    void server.close();
  };
  const [delivery] = await createStripeSink({ stripe, runtime }).send([event]);
  expect(delivery).toMatchObject({ kind: 'ambiguous' });
});

it.each([
  [429, { code: 'rate_limit', message: 'Busy' }],
  [401, { type: 'invalid_request_error', message: 'Invalid API Key provided' }],
  [400, { type: 'invalid_request_error', message: 'No.' }],
])(
  'stays ambiguous when its connection broke, whatever another send would be answered (%i)',
  async (status, error) => {
    answer = (response, request) => {
      if (seen.length === 1) request.socket.destroy();
      else json(response, status, { error });
    };
    expect(await send(clients['the Node client'])).toMatchObject({ kind: 'ambiguous' });
    expect(seen).toHaveLength(1);
  },
);

it('gives every event of a batch its own answer', async () => {
  answer = (response) => {
    const { identifier } = JSON.parse(seen.at(-1)?.body ?? '{}') as { identifier: string };
    if (identifier === 'fg_2')
      json(response, 400, { error: { type: 'invalid_request_error', message: 'No.' } });
    else json(response, 200, { identifier });
  };
  const events = ['fg_1', 'fg_2', 'fg_3'].map((identifier) => Object.assign({}, event, { identifier }));
  const deliveries = await createStripeSink({ stripe: clients['the Node client'](), runtime }).send(events);
  expect(deliveries.map(({ identifier, kind }) => [identifier, kind])).toEqual([
    ['fg_1', 'accepted'],
    ['fg_2', 'refused'],
    ['fg_3', 'accepted'],
  ]);
});
