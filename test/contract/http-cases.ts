/**
 * One table of HTTP cases for every way the gateway runs: what is asked, what comes back, what the provider saw, what the
 * ledger holds and what Stripe counted. What takes several steps is told in http-stories.ts.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { KEY_GIVEN, type Served } from '../support/upstream.ts';
import { describeResponses } from './http-responses.ts';
import { describeStories } from './http-stories.ts';
import { type Ask, type Reply, SERVICE_KEY, startWorld, type Start, type World } from './http-world.ts';

interface HttpCase {
  readonly title: string;
  readonly ask: Ask;
  /** 200 unless told. */
  readonly status?: number;
  /** The refusal's code, in body and header. */
  readonly code?: ErrorCode;
  /** Undefined: the header must be absent. */
  readonly headers?: Readonly<Record<string, string | RegExp | undefined>>;
  readonly reply?: (reply: Reply, served: Served) => void;
  /** The reply ends with a broken connection. */
  readonly broken?: true;
  /** Requests the provider saw: 1 where there is a bill, else none. */
  readonly asked?: number;
  readonly provider?: (bodies: readonly string[]) => void;
  /** Absent: no call is on record. */
  readonly bill?: Bill;
}

interface Bill {
  readonly source: 'reported' | 'estimated' | 'none';
  readonly outcome?: 'finished' | 'upstream_broke';
  /** Input and output tokens; `some` are more than none. */
  readonly tokens: readonly [number, number] | 'some' | 'none';
}

const REPORTED: Bill = { source: 'reported', tokens: [11, 8] };
const ESTIMATED: Bill = { source: 'estimated', tokens: 'some' };
const FREE: Bill = { source: 'none', outcome: 'upstream_broke', tokens: 'none' };

const messages = [{ role: 'user', content: 'What is the fare?' }];
const chat = (model: string, more: object = {}): Ask => ({
  body: { model: `acme/${model}`, messages, ...more },
});
const stream = (model: string, more: object = {}): Ask => chat(model, { stream: true, ...more });
const raw = (body: string): Ask => ({ body });
const withHeaders = (headers: Ask['headers'] & object): Ask => ({ ...chat('plain'), headers });

const unchanged = ({ text }: Reply, { sent }: Served): void => expect(text).toBe(sent);
/** Everything the provider sent but the chunk that only the gateway had asked for. */
const usageWithheld = ({ text }: Reply, { sent }: Served): void => {
  const newline = sent.includes('\r\n') ? '\r\n\r\n' : '\n\n';
  const events = sent.split(newline);
  const kept = events.filter((event) => !event.includes('"choices":[]'));
  expect(kept.length).toBe(events.length - 1);
  expect(text).toBe(kept.join(newline));
};
const contains =
  (part: string) =>
  ({ text }: Reply): void =>
    expect(text).toContain(part);

const SERVED: readonly HttpCase[] = [
  {
    title: 'passes a plain reply on unchanged and tells what it cost',
    ask: chat('plain'),
    headers: {
      'content-type': 'application/json',
      'x-request-id': /^req_/,
      'x-faregate-model': 'acme/plain',
      'x-faregate-input-tokens': '11',
      'x-faregate-output-tokens': '8',
      'x-faregate-cost': '0.0000403',
      'openai-organization': undefined,
    },
    reply: unchanged,
    bill: REPORTED,
  },
  {
    title: 'passes a stream on byte for byte, and keeps back the usage it asked for itself',
    ask: stream('plain'),
    headers: {
      'content-type': /^text\/event-stream/,
      'x-request-id': /^req_/,
      'x-faregate-model': 'acme/plain',
      'x-faregate-cost': undefined,
    },
    reply: usageWithheld,
    provider: ([body]) => expect(JSON.parse(body ?? '')).toHaveProperty('stream_options.include_usage', true),
    bill: REPORTED,
  },
  {
    title: 'leaves the usage in a stream to a caller who asked for it',
    ask: stream('plain', { stream_options: { include_usage: true } }),
    reply: unchanged,
    bill: REPORTED,
  },
  {
    title: 'passes tool calls on',
    ask: chat('tools'),
    reply: (reply, served) => {
      unchanged(reply, served);
      expect(reply.text).toContain('get_fare');
    },
    bill: REPORTED,
  },
  {
    title: 'passes streamed tool calls on',
    ask: stream('tools'),
    reply: usageWithheld,
    bill: { source: 'reported', tokens: [11, 3] },
  },
  { title: 'meters a stream with CRLF line ends', ask: stream('crlf'), reply: usageWithheld, bill: REPORTED },
  {
    title: 'meters a stream that comes one byte at a time',
    ask: stream('bytes'),
    reply: usageWithheld,
    bill: REPORTED,
  },
  {
    title: 'meters a stream without its last marker',
    ask: stream('no-done'),
    reply: usageWithheld,
    bill: REPORTED,
  },
  {
    title: 'ends a reply whose provider keeps the connection open behind the end marker',
    ask: stream('stays-open'),
    reply: usageWithheld,
    bill: REPORTED,
  },
  ...['gzip', 'GZIP', 'X-Gzip', 'deflate', 'br'].map((encoding) => ({
    title: `meters a reply compressed as ${encoding}`,
    ask: chat(encoding),
    reply: unchanged,
    bill: REPORTED,
  })),
  { title: 'estimates a reply without usage', ask: chat('no-usage'), reply: unchanged, bill: ESTIMATED },
  { title: 'estimates a stream without usage', ask: stream('no-usage'), reply: unchanged, bill: ESTIMATED },
  {
    title: 'asks again without the usage option where the provider refuses it',
    ask: stream('refuses-usage-option'),
    reply: unchanged,
    asked: 2,
    provider: (bodies) =>
      expect(bodies.map((body) => body.includes('stream_options'))).toEqual([true, false]),
    bill: ESTIMATED,
  },
  {
    title: 'serves an alias',
    ask: { body: { model: 'fast', messages } },
    headers: { 'x-faregate-model': 'acme/plain' },
    provider: ([body]) => expect(body).toContain('"model":"plain"'),
    bill: REPORTED,
  },
  {
    title: "serves a bare name at the dialect's own vendor",
    ask: { body: { model: 'plain', messages } },
    headers: { 'x-faregate-model': 'openai/plain' },
    bill: REPORTED,
  },
  {
    title: 'takes the key from x-api-key and the customer from stripe-customer-id as well',
    ask: withHeaders({ authorization: undefined, 'x-api-key': SERVICE_KEY }),
    bill: REPORTED,
  },
  {
    title: 'keeps cookies, accounts and its own headers from the provider and passes other headers on',
    ask: withHeaders({
      cookie: 'session=stays-here',
      'openai-organization': 'stays-here',
      'x-faregate-note': 'stays-here',
      'x-forwarded-for': '192.0.2.77',
      'x-custom': 'travels',
    }),
    bill: REPORTED,
  },
];

const FORM = 'multipart/form-data; boundary="the boundary"';
const part = (name: string, value: string, more = ''): string =>
  `--the boundary\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const form = (path: string, ...parts: readonly string[]): Ask => ({
  path,
  headers: { 'content-type': FORM },
  body: `${parts.join('')}--the boundary--\r\n`,
});

const MEDIA: readonly HttpCase[] = [
  {
    title: 'serves pictures',
    ask: { path: '/v1/images/generations', body: { model: 'acme/plain', prompt: 'A gate' } },
    provider: ([body]) => expect(body).toBe('{"model":"plain","prompt":"A gate"}'),
    bill: REPORTED,
  },
  {
    title: 'passes sound on, with no token event for it',
    ask: { path: '/v1/audio/speech', body: { model: 'acme/plain', input: 'Fare', voice: 'alloy' } },
    headers: { 'content-type': 'audio/mpeg', 'x-faregate-model': 'acme/plain' },
    reply: ({ text }) => expect(text).toHaveLength(5),
    bill: { source: 'reported', tokens: 'none' },
  },
  {
    title: 'sends a form on byte for byte but for the model',
    ask: form(
      '/v1/audio/transcriptions',
      part('file', '--RIFF\r\n', '; filename="a"'),
      part('model', 'acme/plain'),
    ),
    provider: ([body]) =>
      expect(body).toBe(
        `${part('file', '--RIFF\r\n', '; filename="a"')}${part('model', 'plain')}--the boundary--\r\n`,
      ),
    bill: REPORTED,
  },
  {
    title: 'edits pictures that come in a form',
    ask: form('/v1/images/edits', part('model', 'acme/plain'), part('prompt', 'Green')),
    bill: REPORTED,
  },
  {
    title: 'translates speech',
    ask: form('/v1/audio/translations', part('model', 'acme/plain')),
    bill: REPORTED,
  },
  {
    title: 'refuses a form with two models',
    ask: form('/v1/audio/transcriptions', part('model', 'acme/plain'), part('model', 'acme/other')),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses a form that ends without its boundary',
    ask: { ...form('/v1/audio/transcriptions'), body: part('model', 'acme/plain') },
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'knows no variations of pictures',
    ask: form('/v1/images/variations', part('model', 'acme/plain')),
    status: 404,
    code: 'not_found',
  },
];

/** Whoever has a service key may ask for these for nobody in particular. */
const NOBODYS: readonly HttpCase[] = [
  {
    title: 'serves what bills nothing to a service key without a customer',
    ask: { ...withHeaders({ 'x-stripe-customer-id': undefined }), path: '/v1/moderations' },
    asked: 1,
  },
  {
    title: 'counts tokens for a service key without a customer',
    ask: { ...withHeaders({ 'x-stripe-customer-id': undefined }), path: '/v1/responses/input_tokens' },
    asked: 1,
  },
  {
    title: 'tells of a service key by HEAD as by GET',
    ask: { method: 'HEAD', path: '/v1/key', headers: { 'x-stripe-customer-id': undefined } },
  },
];

const REFUSED: readonly HttpCase[] = [
  {
    title: "refuses a list of models in the dialect that the caller's headers speak",
    ask: {
      method: 'GET',
      path: '/v1/models',
      headers: { authorization: 'Bearer sk-fg-nonsense', 'anthropic-version': '2023-06-01' },
    },
    status: 401,
    headers: { 'x-faregate-error': 'invalid_api_key', 'request-id': /^req_/ },
    reply: contains('"type":"error"'),
  },
  {
    title: 'refuses a call without a key',
    ask: withHeaders({ authorization: undefined }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    title: 'refuses an unknown key',
    ask: withHeaders({ authorization: 'Bearer sk-fg-unknown' }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    title: 'refuses an Authorization that is no Bearer token',
    ask: withHeaders({ authorization: 'Basic dXNlcjpwYXNz' }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    title: 'refuses the admin key: it never calls models',
    ask: withHeaders({ authorization: 'Bearer admin-key-of-the-tests-0123456789abcdef' }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    title: 'refuses a service key that names nobody',
    ask: withHeaders({ 'x-stripe-customer-id': undefined }),
    status: 400,
    code: 'customer_required',
  },
  {
    title: 'refuses a malformed customer id',
    ask: withHeaders({ 'x-stripe-customer-id': "cus_1'; DROP TABLE calls" }),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses two different keys',
    ask: withHeaders({ 'x-api-key': 'sk-fg-another' }),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses two different customers',
    ask: withHeaders({ 'stripe-customer-id': 'cus_another' }),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'does not know a provider that is not configured',
    ask: { body: { model: 'nowhere/plain', messages } },
    status: 404,
    code: 'model_not_found',
  },
  { title: 'refuses broken JSON', ask: raw('{"model":"acme/plain",'), status: 400, code: 'invalid_request' },
  { title: 'refuses an empty body', ask: {}, status: 400, code: 'invalid_request' },
  {
    title: 'refuses a model named twice',
    ask: raw('{"model":"acme/plain","messages":[],"model":"acme/tools"}'),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses nesting past 64 levels',
    ask: raw(`{"model":"acme/plain","messages":${'['.repeat(70)}${']'.repeat(70)}}`),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses a call without a model',
    ask: raw('{"messages":[]}'),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses a model that is no string',
    ask: raw('{"model":7}'),
    status: 400,
    code: 'invalid_request',
  },
  {
    title: 'refuses a body of 40 MB',
    ask: raw(`{"model":"acme/plain","pad":"${'x'.repeat(40_000_000)}"}`),
    status: 413,
    code: 'request_too_large',
  },
  {
    title: 'refuses an encoded body',
    ask: withHeaders({ 'content-encoding': 'gzip' }),
    status: 415,
    code: 'unsupported_encoding',
  },
  {
    title: 'knows no other path',
    ask: { ...chat('plain'), path: '/v1/nothing' },
    status: 404,
    code: 'not_found',
  },
  {
    title: 'knows no other path, to a caller without a key either',
    ask: { ...withHeaders({ authorization: undefined }), path: '/v1/nothing' },
    status: 404,
    code: 'not_found',
  },
  {
    title: 'opens the admin routes to no caller key',
    ask: { method: 'GET', path: '/admin/v1/calls?customer=cus_case1' },
    status: 401,
    code: 'invalid_api_key',
  },
];

const FAILED: readonly HttpCase[] = [
  {
    title: "passes a provider's 500 on when two retries have not helped, and bills nothing",
    ask: chat('error-500'),
    status: 500,
    asked: 3,
    reply: contains('The server had an error'),
    bill: FREE,
  },
  {
    title: "passes a provider's 429 on with its retry-after",
    ask: chat('error-429'),
    status: 429,
    headers: { 'retry-after': '7' },
    bill: FREE,
  },
  {
    title: "takes the operator's key out of a provider's error",
    ask: chat('error-echoes-key'),
    status: 401,
    reply: ({ text }) => {
      expect(text).toContain('Incorrect API key');
      expect(text).not.toContain(KEY_GIVEN);
    },
    bill: FREE,
  },
  { title: 'follows no redirect', ask: chat('redirects'), status: 502, code: 'upstream_error', bill: FREE },
  {
    title: 'says that a provider cannot be reached',
    ask: { body: { model: 'down/plain', messages } },
    status: 502,
    code: 'upstream_error',
    asked: 0,
    bill: FREE,
  },
  {
    title: 'says that a provider hung up',
    ask: chat('hangs-up'),
    status: 502,
    code: 'upstream_error',
    asked: 3,
    bill: FREE,
  },
  {
    title: 'ends a stream that broke with an error event and a broken connection, and bills an estimate',
    ask: stream('cut'),
    broken: true,
    reply: ({ text }, { sent }) => {
      expect(text.startsWith(sent)).toBe(true);
      expect(text).toContain('"code":"upstream_error"');
      expect(text).not.toContain('[DONE]');
    },
    bill: { source: 'estimated', outcome: 'upstream_broke', tokens: 'some' },
  },
  {
    title: 'ends a stream that merely ended in the same way',
    ask: stream('ends-early'),
    broken: true,
    reply: ({ text }, { sent }) => {
      expect(text.startsWith(sent)).toBe(true);
      expect(text).toContain('"code":"upstream_error"');
    },
    bill: { source: 'estimated', outcome: 'upstream_broke', tokens: 'some' },
  },
  {
    title: 'takes a success without a body for an error that costs nothing',
    ask: chat('no-content'),
    // The retries of the usual configuration.
    asked: 3,
    status: 502,
    code: 'upstream_error',
    bill: FREE,
  },
];

/** Runs the table and the stories against the gateway that `start` starts. */
export function describeHttpCases(name: string, start: Start): void {
  describe(`HTTP through ${name}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(start);
    });
    afterAll(() => world?.close());

    it.each([...SERVED, ...NOBODYS, ...MEDIA, ...REFUSED, ...FAILED].map((one) => [one.title, one] as const))(
      '%s',
      async (_title, one) => {
        await run(world, one);
      },
    );
    describeStories(() => world);
    describeResponses(() => world);
  });
}

async function run(world: World, one: HttpCase): Promise<void> {
  const { upstream } = world;
  const customer = world.newCustomer();
  const [seenBefore, servedBefore] = [upstream.seen.length, upstream.served.length];
  const reply = await world.ask(customer, one.ask);
  expect({ status: reply.status, broken: reply.broken }).toEqual({
    status: one.status ?? 200,
    broken: one.broken ?? false,
  });
  if (one.code !== undefined && one.status !== undefined) {
    expect(reply.headers.get('x-faregate-error')).toBe(one.code);
    expect(JSON.parse(reply.text)).toHaveProperty('error.code', one.code);
    expect(reply.headers.get('x-request-id')).toMatch(/^req_/);
  }
  for (const [name, value] of Object.entries(one.headers ?? {})) {
    const got = reply.headers.get(name);
    if (value instanceof RegExp) expect(got, name).toMatch(value);
    else expect(got, name).toBe(value ?? null);
  }
  const seen = upstream.seen.slice(seenBefore);
  expect(seen).toHaveLength(one.asked ?? (one.bill === undefined ? 0 : 1));
  one.reply?.(reply, upstream.served[upstream.served.length - 1] as Served);
  expect(upstream.served.length - servedBefore).toBe(seen.length);
  one.provider?.(seen.map(({ body }) => body));
  for (const { headers } of seen) expectClean(headers, customer);
  await expectBill(world, customer, one.bill);
}

/** Nothing of the caller's that is not meant for the provider reaches it. */
function expectClean(headers: Readonly<Record<string, unknown>>, customer: string): void {
  expect(headers['authorization']).toBe(`Bearer ${KEY_GIVEN}`);
  const text = JSON.stringify(headers);
  for (const secret of [SERVICE_KEY, customer, 'stays-here', '192.0.2.77'])
    expect(text).not.toContain(secret);
}

async function expectBill(world: World, customer: string, bill: Bill | undefined): Promise<void> {
  const calls = await world.calls(customer);
  const billed = await world.billed(customer);
  if (bill === undefined) {
    expect({ calls, billed }).toEqual({ calls: [], billed: {} });
    return;
  }
  const [call] = calls;
  expect(calls).toHaveLength(1);
  expect(call?.state).toBe('settled');
  expect(call?.usage_source).toBe(bill.source);
  expect(call?.outcome).toBe(bill.outcome ?? 'finished');
  if (bill.tokens === 'none') {
    expect(billed).toEqual({});
    return;
  }
  const { input_tokens: input = 0, output_tokens: output = 0 } = call?.usage ?? {};
  if (bill.tokens === 'some') expect(Math.min(input, output)).toBeGreaterThan(0);
  else expect([input, output]).toEqual(bill.tokens);
  expect(billed).toEqual({ input, output });
}
