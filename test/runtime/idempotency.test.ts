/** Calls repeated with an Idempotency-Key, over real sockets: joined, replayed or refused, and billed once. */
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { callById } from '../support/call.ts';
import { CUSTOMER, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

let held: PromiseWithResolvers<void> = Promise.withResolvers();
let failures = 0;

const plain: Script = ({ response }) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  const message = { role: 'assistant', content: 'Paid.' };
  const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };
  response.end(JSON.stringify({ id: 'c1', choices: [{ index: 0, message }], usage }));
};
const stream =
  (pieces: readonly string[]): Script =>
  async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(delta({ content: 'First.' }));
    await held.promise;
    for (const content of pieces) response.write(delta({ content }));
    response.end(usageChunk(7, 3) + DONE);
  };
const LONG = Array.from({ length: 5 }, () => 'x'.repeat(1024 * 1024));

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted({
    plain,
    slow: stream([' Second.']),
    long: stream(LONG),
    'waits-plain': async (exchange) => {
      await held.promise;
      await plain(exchange);
    },
    broken: async ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(delta({ content: 'The fare is paid at the gate.' }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      response.destroy();
    },
    fails: (exchange) => {
      failures -= 1;
      if (failures < 0) return plain(exchange);
      exchange.response.writeHead(500, { 'content-type': 'application/json' });
      return void exchange.response.end('{"error":{"message":"No.","type":"x"}}');
    },
  });
  gateway = await startTestGateway({
    providers: { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } },
    config: { retries: { max: 0 } },
  });
});
afterAll(async () => {
  held.resolve();
  await gateway.close();
  await upstream.close();
});
let asked = 0;
beforeEach(() => {
  held = Promise.withResolvers();
  asked = upstream.seen.length;
  failures = 0;
});

interface Ask {
  readonly model?: string;
  readonly key?: string;
  readonly stream?: boolean;
  readonly customer?: string;
  readonly content?: string;
  readonly signal?: AbortSignal;
}

function send({
  model = 'plain',
  key,
  stream: streamed = false,
  customer = CUSTOMER,
  ...ask
}: Ask): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'x-stripe-customer-id': customer,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify({
      model: `odd/${model}`,
      stream: streamed,
      messages: [{ role: 'user', content: ask.content ?? 'Fare?' }],
    }),
    signal: ask.signal ?? null,
  });
}

const idOf = (reply: Response): string => reply.headers.get('x-request-id') ?? '';
const codeOf = (reply: Response): string | null => reply.headers.get('x-faregate-error');
let keys = 0;
const newKey = (): string => `key-${(keys += 1)}`;

describe('a call repeated with its key', () => {
  it('has the first reply again, and one bill', async () => {
    const key = newKey();
    const first = await send({ key });
    const again = await send({ key });
    expect(await again.text()).toBe(await first.text());
    expect(again.status).toBe(200);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(idOf(again)).toBe(idOf(first));
    expect(again.headers.get('x-faregate-output-tokens')).toBe('3');
    expect(upstream.seen.length - asked).toBe(1);
  });

  it('joins the first while it runs, from the beginning of its stream', async () => {
    const key = newKey();
    const first = await send({ key, model: 'slow', stream: true });
    const [second, third] = await Promise.all([
      send({ key, model: 'slow', stream: true }),
      send({ key, model: 'slow', stream: true }),
    ]);
    held.resolve();
    const texts = await Promise.all([first.text(), second?.text(), third?.text()]);
    const whole = delta({ content: 'First.' }) + delta({ content: ' Second.' }) + DONE;
    expect(texts).toEqual([whole, whole, whole]);
    expect(upstream.seen.length - asked).toBe(1);
    await gateway.flushed();
    expect((await callById(gateway, idOf(first))).usage).toMatchObject({ output_tokens: 3 });
  });

  it('joins one that has not answered at all yet', async () => {
    const key = newKey();
    const both = Promise.all([send({ key, model: 'waits-plain' }), send({ key, model: 'waits-plain' })]);
    while (upstream.seen.length === asked) await new Promise((resolve) => setImmediate(resolve));
    held.resolve();
    const [one, other] = await both;
    expect(await one.text()).toBe(await other.text());
    expect(upstream.seen.length - asked).toBe(1);
  });

  it('has the whole reply of a call whose caller left', async () => {
    const key = newKey();
    const leaving = new AbortController();
    const first = await send({ key, model: 'slow', stream: true, signal: leaving.signal });
    leaving.abort();
    held.resolve();
    const again = await send({ key, model: 'slow', stream: true });
    expect(await again.text()).toContain('Second.');
    expect(upstream.seen.length - asked).toBe(1);
    await gateway.flushed();
    expect(await callById(gateway, idOf(first))).toMatchObject({ usage_source: 'reported' });
  });

  it('hears that the first broke off, where that was billed', async () => {
    const key = newKey();
    const broken = async (): Promise<string> => {
      const reply = await send({ key, model: 'broken', stream: true });
      await expect(reply.text()).rejects.toThrow();
      return idOf(reply);
    };
    expect(await broken()).toBe(await broken());
    expect(upstream.seen.length - asked).toBe(1);
  });

  it('is a new call where the first failed and cost nothing', async () => {
    const key = newKey();
    failures = 1;
    expect((await send({ key, model: 'fails' })).status).toBe(500);
    const again = await send({ key, model: 'fails' });
    expect(again.status).toBe(200);
    expect(again.headers.get('idempotent-replayed')).toBeNull();
    expect(upstream.seen.length - asked).toBe(2);
  });

  it('is a new call where the first was refused', async () => {
    const key = newKey();
    const customer = 'cus_unknown_to_stripe';
    expect((await send({ key, customer })).status).toBe(403);
    expect((await send({ key, customer })).status).toBe(403);
    expect(upstream.seen.length - asked).toBe(0);
  });
});

describe('a key', () => {
  it('is refused with another body, and says so in words', async () => {
    const key = newKey();
    await (await send({ key })).text();
    const other = await send({ key, content: 'Something else?' });
    expect(other.status).toBe(422);
    expect(codeOf(other)).toBe('idempotency_key_reused');
    expect(upstream.seen.length - asked).toBe(1);
  });

  it('of one customer is nothing to another', async () => {
    const key = newKey();
    gateway.stripe.addCustomer('cus_other');
    const [one, other] = [await send({ key }), await send({ key, customer: 'cus_other' })];
    expect(idOf(one)).not.toBe(idOf(other));
    expect(upstream.seen.length - asked).toBe(2);
  });

  it('without a key, two calls are two calls', async () => {
    await Promise.all([send({}), send({})]);
    expect(upstream.seen.length - asked).toBe(2);
  });

  it.each(['', 'x'.repeat(256)])('that is no key is a 400', async (key) => {
    const reply = await send({ key });
    expect([reply.status, upstream.seen.length - asked]).toEqual([400, 0]);
  });

  it('of a reply too long to keep is answered honestly, while it runs and after', async () => {
    const key = newKey();
    const first = await send({ key, model: 'long', stream: true });
    const text = first.text();
    held.resolve();
    expect((await text).length).toBeGreaterThan(5 * 1024 * 1024);
    const again = await send({ key, model: 'long', stream: true });
    expect([again.status, codeOf(again)]).toEqual([409, 'idempotency_reply_gone']);
    expect(again.headers.get('x-should-retry')).toBe('false');
    expect(upstream.seen.length - asked).toBe(1);
  });

  it('is the one thing that the retries of an official client need to be one call', async () => {
    const client = new OpenAI({
      apiKey: SERVICE_KEY,
      baseURL: `${gateway.url}/v1`,
      defaultHeaders: { 'x-stripe-customer-id': CUSTOMER },
      timeout: 300,
      maxRetries: 2,
    });
    setTimeout(() => held.resolve(), 450);
    const reply = await client.chat.completions.create(
      { model: 'odd/waits-plain', messages: [{ role: 'user', content: 'Fare?' }] },
      { headers: { 'Idempotency-Key': newKey() } },
    );
    expect(reply.usage?.completion_tokens).toBe(3);
    expect(upstream.seen.length - asked).toBe(1);
  });
});
