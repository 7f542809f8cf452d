/** The official Anthropic client, unmodified, against a whole gateway. */
import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { KEY_GIVEN } from '../support/upstream.ts';
import { startTestVendors, type TestVendors } from '../support/vendors.ts';

let vendors: TestVendors;
let gateway: TestGateway;

beforeAll(async () => {
  vendors = await startTestVendors();
  gateway = await startTestGateway({
    providers: { anthropic: { api_key: '${UPSTREAM_KEY}', base_url: vendors.url } },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendors.close();
});

let customers = 0;

function benchOf(apiKey = SERVICE_KEY) {
  const customer = `cus_anthropic_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  const client = new Anthropic({
    baseURL: gateway.url,
    apiKey,
    maxRetries: 0,
    defaultHeaders: { 'x-stripe-customer-id': customer },
  });
  return {
    client,
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    calls: () => gateway.calls(customer),
  };
}

const ask = (model: string): Anthropic.MessageCreateParamsNonStreaming => ({
  model,
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Where is the fare paid?' }],
});
const TOOLS: Anthropic.Tool[] = [
  { name: 'get_fare', description: 'The fare', input_schema: { type: 'object', properties: {} } },
];

describe('the Anthropic client', () => {
  it('gets a message, billed with its cache reads and writes', async () => {
    const bench = benchOf();
    const message = await bench.client.messages.create(ask('claude-plain'));
    expect(message.content).toEqual([{ type: 'text', text: 'Paid at the gate.' }]);
    expect(await bench.billed()).toEqual({
      'anthropic/claude-plain input': 50,
      'anthropic/claude-plain output': 9,
    });
  });

  it('gets a stream, billed by its last report', async () => {
    const bench = benchOf();
    const stream = bench.client.messages.stream(ask('claude-plain'));
    const message = await stream.finalMessage();
    expect(message.content).toEqual([{ type: 'text', text: 'Paid at the gate.' }]);
    expect(message.usage.output_tokens).toBe(9);
    expect(await bench.billed()).toEqual({
      'anthropic/claude-plain input': 50,
      'anthropic/claude-plain output': 9,
    });
    expect(await bench.calls()).toMatchObject([
      { usage_source: 'reported', outcome: 'finished', response_id: 'msg_1' },
    ]);
  });

  it('gets tool calls, plain and streamed', async () => {
    const { client } = benchOf();
    const plain = await client.messages.create({ ...ask('claude-tools'), tools: TOOLS });
    const streamed = await client.messages.stream({ ...ask('claude-tools'), tools: TOOLS }).finalMessage();
    for (const { content, stop_reason: reason } of [plain, streamed]) {
      expect(content).toMatchObject([{ type: 'tool_use', name: 'get_fare', input: { zone: 2 } }]);
      expect(reason).toBe('tool_use');
    }
  });

  it.each([false, true])('is billed a pair for each model that served (streamed: %s)', async (streamed) => {
    const bench = benchOf();
    if (streamed) await bench.client.messages.stream(ask('claude-advised')).finalMessage();
    else await bench.client.messages.create(ask('claude-advised'));
    expect(await bench.billed()).toEqual({
      'anthropic/claude-advised input': 50,
      'anthropic/claude-advised output': 9,
      'anthropic/claude-opus-4.7 input': 100,
      'anthropic/claude-opus-4.7 output': 20,
    });
  });

  it('counts tokens without a bill', async () => {
    const bench = benchOf();
    const { max_tokens: _unused, ...counted } = ask('claude-plain');
    expect(await bench.client.messages.countTokens(counted)).toEqual({ input_tokens: 7 });
    expect(await bench.billed()).toEqual({});
    expect(await bench.calls()).toEqual([]);
    expect(gateway.running.gateway.inference.running()).toBe(0);
  });

  it('lists the models by provider and name', async () => {
    const { client } = benchOf();
    const ids: string[] = [];
    for await (const { id } of client.models.list()) ids.push(id);
    expect(ids).toContain('anthropic/claude-plain');
    expect((await client.models.retrieve('anthropic/claude-plain')).type).toBe('model');
  });

  it("sends its own version and betas on, and the operator's key instead of its own", async () => {
    const { client } = benchOf();
    await client.beta.messages.create({ ...ask('anthropic/claude-plain'), betas: ['b-2026-01-01', 'c'] });
    const sent = vendors.seen.at(-1);
    expect(sent?.headers['anthropic-beta']).toBe('b-2026-01-01,c');
    expect(sent?.headers['x-api-key']).toBe(KEY_GIVEN);
    expect(sent?.headers['authorization']).toBeUndefined();
    expect(sent?.headers['x-stripe-customer-id']).toBeUndefined();
    expect(sent?.body['model']).toBe('claude-plain');
  });

  it("gets the provider's error as its own, unbilled", async () => {
    const bench = benchOf();
    const error = await bench.client.messages.create(ask('claude-overloaded')).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Anthropic.APIError);
    expect(error).toMatchObject({ status: 529, error: { error: { type: 'overloaded_error' } } });
    expect(await bench.billed()).toEqual({});
  });

  it('gets a refusal in its dialect', async () => {
    const { client } = benchOf('sk-fg-nobody');
    const error = await client.messages.create(ask('claude-plain')).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Anthropic.AuthenticationError);
    expect(error).toMatchObject({ error: { type: 'error', error: { type: 'authentication_error' } } });
  });

  it('is told of a stream that broke, and billed what was reported and seen', async () => {
    const bench = benchOf();
    await expect(bench.client.messages.stream(ask('claude-cut')).finalMessage()).rejects.toThrow();
    expect(await bench.billed()).toEqual({
      'anthropic/claude-cut input': 50,
      'anthropic/claude-cut output': 2,
    });
    expect(await bench.calls()).toMatchObject([{ usage_source: 'estimated', outcome: 'upstream_broke' }]);
  });

  it('is refused the count of a model whose provider speaks another dialect', async () => {
    const { client } = benchOf();
    const { max_tokens: _unused, ...counted } = ask('demo/plain');
    const error = await client.messages.countTokens(counted).catch((e: unknown) => e);
    expect(error).toMatchObject({ status: 404, error: { error: { type: 'not_found_error' } } });
  });
});
