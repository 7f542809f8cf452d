/** The official OpenAI client on the routes beside chat: responses, embeddings, completions, moderations. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openaiFor } from '../support/openai-client.ts';
import { startTestVendors, type TestVendors } from '../support/vendors.ts';

let vendors: TestVendors;
let gateway: TestGateway;

beforeAll(async () => {
  vendors = await startTestVendors();
  gateway = await startTestGateway({
    providers: { openai: { api_key: '${UPSTREAM_KEY}', base_url: `${vendors.url}/v1` } },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendors.close();
});

let customers = 0;

function benchOf() {
  const customer = `cus_responses_${(customers += 1)}`;
  const client = openaiFor(gateway, customer);
  return {
    client,
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    calls: () => gateway.calls(customer),
  };
}

describe('the OpenAI client on responses', () => {
  it('gets a response', async () => {
    const bench = benchOf();
    const response = await bench.client.responses.create({ model: 'gpt-plain', input: 'Where?' });
    expect(response.output_text).toBe('Paid at the gate.');
    expect(await bench.billed()).toEqual({ 'openai/gpt-plain input': 15, 'openai/gpt-plain output': 10 });
  });

  it.each(['completed', 'incomplete', 'failed'])('is billed a stream that ends %s', async (status) => {
    const bench = benchOf();
    const model = status === 'completed' ? 'plain' : status;
    const types: string[] = [];
    const stream = await bench.client.responses.create({
      model: `openai/${model}`,
      input: 'Where?',
      stream: true,
    });
    for await (const event of stream) types.push(event.type);
    expect(types.at(0)).toBe('response.created');
    expect(types.at(-1)).toBe(`response.${status}`);
    expect(await bench.billed()).toEqual({ [`openai/${model} input`]: 15, [`openai/${model} output`]: 10 });
    expect(await bench.calls()).toMatchObject([{ usage_source: 'reported', response_id: 'resp_1' }]);
  });

  it('accumulates a stream to its final response', async () => {
    const { client } = benchOf();
    const final = await client.responses.stream({ model: 'gpt-plain', input: 'Where?' }).finalResponse();
    expect(final.usage).toMatchObject({ input_tokens: 15, output_tokens: 10 });
  });

  it('is billed a compaction', async () => {
    const bench = benchOf();
    await bench.client.responses.compact({ model: 'gpt-5.1', input: 'Where?' });
    expect(await bench.billed()).toEqual({ 'openai/gpt-5.1 input': 15, 'openai/gpt-5.1 output': 10 });
  });

  it('is told of a stream that broke, and billed what was seen', async () => {
    const bench = benchOf();
    const stream = await bench.client.responses.create({
      model: 'openai/cut',
      input: 'Where?',
      stream: true,
    });
    const read = async (): Promise<void> => {
      for await (const event of stream) void event;
    };
    await expect(read()).rejects.toThrow();
    await bench.billed();
    expect(await bench.calls()).toMatchObject([{ usage_source: 'estimated', outcome: 'upstream_broke' }]);
  });
});

describe('the OpenAI client on the other routes', () => {
  it('gets embeddings, billed their input alone', async () => {
    const bench = benchOf();
    const reply = await bench.client.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['Where?'],
      encoding_format: 'float',
    });
    expect(reply.data[0]?.embedding).toEqual([0.25, 0.5]);
    expect(await bench.billed()).toEqual({ 'openai/text-embedding-3-small input': 6 });
  });

  it('gets a completion', async () => {
    const bench = benchOf();
    const reply = await bench.client.completions.create({
      model: 'gpt-3.5-turbo-instruct',
      prompt: 'Where?',
    });
    expect(reply.choices[0]?.text).toBe('Paid at the gate.');
    expect(await bench.billed()).toEqual({
      'openai/gpt-3.5-turbo-instruct input': 6,
      'openai/gpt-3.5-turbo-instruct output': 5,
    });
  });

  it('gets a streamed completion without the usage chunk that it did not ask for', async () => {
    const bench = benchOf();
    const stream = await bench.client.completions.create({
      model: 'gpt-3.5-turbo-instruct',
      prompt: 'Where?',
      stream: true,
    });
    const texts: (string | undefined)[] = [];
    for await (const chunk of stream) texts.push(chunk.choices[0]?.text);
    expect(texts).toEqual(['Paid at', ' the gate.']);
    expect(vendors.seen.at(-1)?.body['stream_options']).toEqual({ include_usage: true });
    expect(await bench.billed()).toMatchObject({ 'openai/gpt-3.5-turbo-instruct output': 5 });
  });

  it('moderates without a bill, with the default model too', async () => {
    const bench = benchOf();
    const reply = await bench.client.moderations.create({ input: 'Where?' });
    expect(reply.results[0]?.flagged).toBe(false);
    expect(await bench.billed()).toEqual({});
  });

  it('counts input tokens without a bill', async () => {
    const bench = benchOf();
    const reply = await bench.client.responses.inputTokens.count({ model: 'gpt-plain', input: 'Where?' });
    expect(reply.input_tokens).toBe(7);
    expect(await bench.billed()).toEqual({});
  });
});
