/** The stream's answers, over HTTP with the official package: what a whole batch may be taken for, and what not. */
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { createStripeStream } from '../../../src/billing/delivery/stream-sink.ts';
import type { MeterEvent } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, listen, type TestServer } from '../support.ts';

const runtime = createTestRuntime();
const events: readonly MeterEvent[] = Array.from({ length: 5 }, (_, at) => ({
  identifier: `fg_${String(at)}`,
  destination: 'dimensions',
  eventName: 'token-billing-tokens',
  customer: 'cus_a',
  model: 'openai/gpt-4o-mini',
  tokenType: 'input',
  value: '1234',
  timestampMs: runtime.nowMs,
}));
const SESSION = {
  object: 'v2.billing.meter_event_session',
  authentication_token: 'token',
  created: '2026-11-21T12:00:00Z',
  expires_at: '2026-11-21T12:15:00Z',
};

let server: TestServer;
/** The identifiers of each batch that came. */
let batches: string[][];
let answer: (response: ServerResponse, batch: readonly string[]) => void;
/** Sessions that were opened, and when the next one ends. */
let sessions: number;
let expiresAt: string;

beforeEach(async () => {
  batches = [];
  sessions = 0;
  expiresAt = SESSION.expires_at;
  runtime.nowMs = Date.parse(SESSION.created);
  server = await listen((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (request.url?.endsWith('_session') === true) {
        sessions += 1;
        // One that is not used at all would be opened for ever.
        if (sessions > 20) response.destroy();
        else json(response, 200, { ...SESSION, expires_at: expiresAt });
        return;
      }
      const { events: sent } = JSON.parse(body) as { events: { identifier: string }[] };
      const batch = sent.map(({ identifier }) => identifier);
      batches.push(batch);
      answer(response, batch);
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
async function kinds(): Promise<Record<string, string>> {
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
  const answers = await createStripeStream({ stripe, runtime }).send(events);
  return Object.fromEntries(answers.map(({ identifier, kind }) => [identifier, kind]));
}
const all = (kind: string): Record<string, string> =>
  Object.fromEntries(events.map(({ identifier }) => [identifier, kind]));

describe('a batch of the stream', () => {
  it.each([
    ['nothing in it', {}, {}],
    ['members that are new to us, and its request id', { object: 'x' }, { 'request-id': 'req_1' }],
  ])('is taken when the answer has %s', async (_name, body, headers) => {
    answer = (response) => json(response, 200, body, headers);
    expect(await kinds()).toEqual(all('accepted'));
  });

  it.each([
    ["a portal's JSON", 200, { ok: true, message: 'Log in first.' }],
    ['a list', 200, []],
    ['a redirect', 307, { see: 'elsewhere' }],
  ])('is in doubt after %s, which is not of Stripe', async (_name, status, body) => {
    answer = (response) => json(response, status, body, { location: 'http://127.0.0.1:1/' });
    expect(await kinds()).toEqual(all('ambiguous'));
  });

  it('is not all there because one of it is a duplicate: the others are sent without it', async () => {
    answer = (response, batch) => {
      const error = {
        code: 'duplicate_meter_event',
        message: 'A meter event with a duplicate identifier has already been submitted.',
      };
      if (batch.includes('fg_2')) json(response, 400, { error });
      else json(response, 200, {});
    };
    expect(await kinds()).toEqual({ ...all('accepted'), fg_2: 'duplicate' });
    expect(batches.at(-1)).not.toContain('fg_2');
  });
});

describe('a session', () => {
  it.each([
    ['a second', '2026-11-21T12:00:01Z', 1],
    ['the minute that is left of others', '2026-11-21T12:01:00Z', 60],
    ['a quarter of an hour', SESSION.expires_at, 900],
    ['an hour', '2026-11-21T13:00:00Z', 3_600],
  ])('of %s is used, and not beyond its end', async (_name, until, seconds) => {
    expiresAt = until;
    answer = (response) => json(response, 200, {});
    const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
    const stream = createStripeStream({ stripe, runtime });
    const sent = async (): Promise<string[]> => (await stream.send(events)).map(({ kind }) => kind);
    expect(new Set([...(await sent()), ...(await sent())])).toEqual(new Set(['accepted']));
    expect(sessions).toBe(1);
    runtime.nowMs += seconds * 1_000;
    expect(new Set(await sent())).toEqual(new Set(['accepted']));
    expect(sessions).toBe(2);
  });

  it('that a clock opened which is set back is not kept for longer', async () => {
    answer = (response) => json(response, 200, {});
    const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
    const stream = createStripeStream({ stripe, runtime });
    await stream.send(events);
    runtime.nowMs -= 3_600_000;
    await stream.send(events);
    expect(sessions).toBe(2);
  });
});
