/**
 * The official client, unmodified: its base URL points at the gateway and one header names the customer. After each case
 * the ledger and Stripe's accepted events have exactly the tokens that the provider says it served.
 */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

interface Bench {
  readonly customer: string;
  readonly client: OpenAI;
  /** Checks the books against what the provider served since the bench was made. */
  billedAsServed(model: string): Promise<void>;
}

let customers = 0;

/** A customer of the test's own, and the client that calls for him with the service key. */
function benchOf(apiKey = SERVICE_KEY): Bench {
  const customer = `cus_client_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  const before = gateway.upstream.served.length;
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey,
    defaultHeaders: { 'x-stripe-customer-id': customer },
  });
  return { customer, client, billedAsServed: (model) => checkBooks({ customer, before, model }) };
}

async function checkBooks(of: { customer: string; before: number; model: string }): Promise<void> {
  await gateway.flushed();
  const served = gateway.upstream.served.slice(of.before).filter(({ outputTokens }) => outputTokens > 0);
  const input = served.reduce((sum, one) => sum + one.inputTokens, 0);
  const output = served.reduce((sum, one) => sum + one.outputTokens, 0);
  expect(served.length).toBeGreaterThan(0);
  expect(gateway.billed(of.customer)).toEqual({
    [`${of.model} input`]: input,
    [`${of.model} output`]: output,
  });
  const calls = (await gateway.calls(of.customer)).filter((call) => call.usage_source !== 'none');
  expect(calls.every(({ usage_source: source }) => source === 'reported')).toBe(true);
  expect(calls.map((call) => call.response_id).sort()).toEqual(served.map(({ id }) => id).sort());
  expect(calls.reduce((sum, { usage }) => sum + (usage?.['input_tokens'] ?? 0), 0)).toBe(input);
  expect(calls.reduce((sum, { usage }) => sum + (usage?.['output_tokens'] ?? 0), 0)).toBe(output);
}

async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of from) all.push(one);
  return all;
}

/** The error that the work is rejected with; throws when it succeeds. */
async function apiError(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await work;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error('The call was expected to fail.');
}

const TEXT = 'The fare is paid at the gate.';
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'What of the fare?' }];
const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: { name: 'get_fare', parameters: { type: 'object', properties: { zone: { type: 'number' } } } },
  },
];

describe('the openai client', () => {
  it('gets a plain reply, and its tokens are billed to the customer in the header', async () => {
    const { client, billedAsServed } = benchOf();
    const { data, response } = await client.chat.completions
      .create({ model: 'demo/plain', messages })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe(TEXT);
    expect(response.headers.get('x-faregate-output-tokens')).toBe('8');
    await billedAsServed('demo/plain');
  });

  it('calls with a bound key as it would with the vendor itself: no header at all', async () => {
    const { customer, billedAsServed } = benchOf();
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: await gateway.boundKey(customer) });
    const reply = await client.chat.completions.create({ model: 'gpt-4o-mini', messages });
    expect(reply.choices[0]?.message.content).toBe(TEXT);
    await billedAsServed('openai/gpt-4o-mini');
  });

  it('gets a stream without the usage chunk that it did not ask for', async () => {
    const { client, billedAsServed } = benchOf();
    const stream = await client.chat.completions.create({ model: 'demo/plain', messages, stream: true });
    const chunks = await collect(stream);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(TEXT);
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    await billedAsServed('demo/plain');
  });

  it('gets the usage chunk of a stream when it asks for it', async () => {
    const { client, billedAsServed } = benchOf();
    const stream = await client.chat.completions.create({
      model: 'demo/plain',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 11, completion_tokens: 8, total_tokens: 19 },
    });
    await billedAsServed('demo/plain');
  });

  it('is called back with tools and answers them in a second turn', async () => {
    const { client, billedAsServed } = benchOf();
    const first = await client.chat.completions.create({ model: 'demo/tools', messages, tools });
    const message = first.choices[0]?.message;
    const call = message?.tool_calls?.[0];
    expect(call).toMatchObject({ type: 'function', function: { name: 'get_fare', arguments: '{"zone":2}' } });
    if (message === undefined || call === undefined) return;
    const answer = { role: 'tool', tool_call_id: call.id, content: '4.20' } as const;
    await client.chat.completions.create({
      model: 'demo/tools',
      messages: [...messages, message, answer],
      tools,
    });
    const sent = JSON.parse(gateway.upstream.seen.at(-1)?.body ?? '') as { messages: unknown[] };
    expect(sent.messages.at(-1)).toEqual(answer);
    await billedAsServed('demo/tools');
  });

  it('puts a streamed tool call together with its own helper', async () => {
    const { client, billedAsServed } = benchOf();
    const runner = client.chat.completions.stream({ model: 'demo/tools', messages, tools });
    const { choices } = await runner.finalChatCompletion();
    const call = choices[0]?.message.tool_calls?.[0];
    expect(call).toMatchObject({ id: 'call_1', function: { name: 'get_fare', arguments: '{"zone":2}' } });
    await billedAsServed('demo/tools');
  });

  it('asks for structured output, and the provider is asked for the same', async () => {
    const { client, billedAsServed } = benchOf();
    const schema = { type: 'object', properties: { fare: { type: 'string' } }, required: ['fare'] };
    const format = { type: 'json_schema', json_schema: { name: 'fare', strict: true, schema } } as const;
    await client.chat.completions.create({ model: 'demo/plain', messages, response_format: format });
    const sent = JSON.parse(gateway.upstream.seen.at(-1)?.body ?? '') as object;
    expect(sent).toEqual({ model: 'plain', messages, response_format: format });
    await billedAsServed('demo/plain');
  });

  it('lists the models', async () => {
    const { client } = benchOf();
    const ids = (await collect(client.models.list())).map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(['demo/plain', 'openai/plain']));
  });
});

describe('a stream that the openai client aborts', () => {
  it('is read to its end and billed in full', async () => {
    const { client, customer, billedAsServed } = benchOf();
    const stream = await client.chat.completions.create({ model: 'demo/stalls', messages, stream: true });
    const seen: unknown[] = [];
    for await (const chunk of stream) {
      if (seen.push(chunk) === 2) break;
    }
    stream.controller.abort();
    // Some answers later the gateway has seen the connection close; only then does the provider go on.
    for (let turn = 0; turn < 5; turn += 1) await gateway.admin('/totals');
    gateway.upstream.release();
    await billedAsServed('demo/stalls');
    expect(gateway.upstream.served.at(-1)).toMatchObject({ outputTokens: 8, finished: true });
    expect(await gateway.calls(customer)).toMatchObject([{ outcome: 'caller_left', status: 200 }]);
  });
});

describe('an error, as the openai client sees it,', () => {
  it('is a 402 with its code after an alert has fired, thrown once and not retried', async () => {
    const { client, customer, billedAsServed } = benchOf();
    await client.chat.completions.create({ model: 'demo/plain', messages });
    await gateway.stripe.trigger('billing.alert.triggered', { customer });
    for (const stream of [false, true]) {
      const logged = gateway.log.length;
      const error = await apiError(client.chat.completions.create({ model: 'demo/plain', messages, stream }));
      expect(error).toMatchObject({ status: 402, code: 'alert_triggered', type: 'insufficient_quota' });
      expect(error.requestID).toMatch(/^req_[0-9a-z]{26}$/);
      const refused = gateway.log.slice(logged).filter(({ event }) => event === 'refused');
      expect(refused).toMatchObject([{ code: 'alert_triggered', request_id: error.requestID }]);
    }
    await billedAsServed('demo/plain');
  });

  it('is a 500 of the provider, after the retries that the client makes of itself', async () => {
    const { client, customer } = benchOf();
    const before = gateway.upstream.seen.length;
    const error = await apiError(client.chat.completions.create({ model: 'demo/error-500', messages }));
    expect(error).toBeInstanceOf(OpenAI.InternalServerError);
    expect(error.message).toContain('The server had an error');
    // Three attempts for the first call and two for the second: after five failures in a row none is retried.
    expect(gateway.upstream.seen.length - before).toBe(6);
    await gateway.flushed();
    expect(gateway.billed(customer)).toEqual({});
    const calls = await gateway.calls(customer);
    expect(calls).toHaveLength(3);
    for (const call of calls)
      expect(call).toMatchObject({ usage_source: 'none', outcome: 'upstream_broke', status: 500 });
  });

  it('is a 404 for a model that no provider serves, and nobody is asked', async () => {
    const { client, customer } = benchOf();
    const before = gateway.upstream.seen.length;
    const error = await apiError(client.chat.completions.create({ model: 'nowhere/plain', messages }));
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({ code: 'model_not_found', param: 'model' });
    expect(gateway.upstream.seen.length).toBe(before);
    expect(await gateway.calls(customer)).toEqual([]);
  });

  it('is a 401 for a key that is unknown, or that is for the operator only', async () => {
    for (const key of ['sk-fg-unknown', ADMIN_KEY]) {
      const { client, customer } = benchOf(key);
      const error = await apiError(client.chat.completions.create({ model: 'demo/plain', messages }));
      expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
      expect(error.code).toBe('invalid_api_key');
      expect(await gateway.calls(customer)).toEqual([]);
    }
  });

  it('is a broken stream where the provider broke off, and what was seen is billed', async () => {
    const { client, customer } = benchOf();
    const stream = await client.chat.completions.create({ model: 'demo/cut', messages, stream: true });
    const texts: string[] = [];
    const error = await apiError(
      (async () => {
        for await (const { choices } of stream) texts.push(choices[0]?.delta.content ?? '');
      })(),
    );
    expect(texts.join('')).toBe('The fare is paid');
    expect(error).toMatchObject({ code: 'upstream_error' });
    await gateway.flushed();
    const [call] = await gateway.calls(customer);
    expect(call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
    expect(gateway.billed(customer)).toEqual({
      'demo/cut input': call?.usage?.['input_tokens'],
      'demo/cut output': call?.usage?.['output_tokens'],
    });
  });
});
