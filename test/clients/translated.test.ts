/** The official clients, unmodified, against providers that speak another dialect than theirs. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { startTestVendors, type TestVendors } from '../support/vendors.ts';

let vendors: TestVendors;
let gateway: TestGateway;

beforeAll(async () => {
  vendors = await startTestVendors();
  const key = { api_key: '${UPSTREAM_KEY}' };
  gateway = await startTestGateway({
    providers: {
      openai: { ...key, base_url: `${vendors.url}/v1` },
      anthropic: { ...key, base_url: vendors.url },
      google: { ...key, base_url: vendors.url },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendors.close();
});

let customers = 0;

function benchOf() {
  const customer = `cus_translated_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  const defaultHeaders = { 'x-stripe-customer-id': customer };
  return {
    openai: new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: SERVICE_KEY, maxRetries: 0, defaultHeaders }),
    anthropic: new Anthropic({ baseURL: gateway.url, apiKey: SERVICE_KEY, maxRetries: 0, defaultHeaders }),
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    calls: () => gateway.calls(customer),
  };
}

const ask = { messages: [{ role: 'user' as const, content: 'Where is the fare paid?' }] };

describe('the OpenAI client on chat, with a model of Anthropic', () => {
  it('gets a completion, billed as the provider reports', async () => {
    const bench = benchOf();
    const reply = await bench.openai.chat.completions.create({ model: 'anthropic/claude-plain', ...ask });
    expect(reply.choices[0]).toMatchObject({
      message: { content: 'Paid at the gate.' },
      finish_reason: 'stop',
    });
    expect(reply.usage).toMatchObject({ prompt_tokens: 50, completion_tokens: 9, total_tokens: 59 });
    expect(await bench.billed()).toEqual({
      'anthropic/claude-plain input': 50,
      'anthropic/claude-plain output': 9,
    });
  });
  it('gets a stream', async () => {
    const bench = benchOf();
    const stream = bench.openai.chat.completions.stream({ model: 'anthropic/claude-plain', ...ask });
    const reply = await stream.finalChatCompletion();
    expect(reply.choices[0]).toMatchObject({
      message: { content: 'Paid at the gate.' },
      finish_reason: 'stop',
    });
    expect(await bench.billed()).toEqual({
      'anthropic/claude-plain input': 50,
      'anthropic/claude-plain output': 9,
    });
  });
  it('is told of a stream that broke', async () => {
    const bench = benchOf();
    const stream = bench.openai.chat.completions.stream({ model: 'anthropic/claude-cut', ...ask });
    await expect(stream.finalChatCompletion()).rejects.toThrow();
  });
  it("gets the provider's error as its own", async () => {
    const bench = benchOf();
    const error = await bench.openai.chat.completions
      .create({ model: 'anthropic/claude-overloaded', ...ask })
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject({ status: 529, error: { message: 'Overloaded' } });
  });
});

describe('the Anthropic client, with a model of an OpenAI-compatible provider', () => {
  it('gets a message', async () => {
    const bench = benchOf();
    const reply = await bench.anthropic.messages.create({ model: 'demo/plain', max_tokens: 100, ...ask });
    expect(reply.content).toMatchObject([{ type: 'text', text: 'The fare is paid at the gate.' }]);
    expect(reply.usage).toMatchObject({ input_tokens: 8, cache_read_input_tokens: 3, output_tokens: 8 });
  });
  it('gets a stream', async () => {
    const bench = benchOf();
    const reply = await bench.anthropic.messages
      .stream({ model: 'demo/plain', max_tokens: 100, ...ask })
      .finalMessage();
    expect(reply.content).toMatchObject([{ type: 'text', text: 'The fare is paid at the gate.' }]);
    expect(reply.usage).toMatchObject({ input_tokens: 8, cache_read_input_tokens: 3, output_tokens: 8 });
  });
});
