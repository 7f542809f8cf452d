/** The AI SDK (`ai`) with its OpenAI, Anthropic and Google providers, unmodified, against a whole gateway. */
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateText, type LanguageModel, Output, stepCountIs, streamText, tool } from 'ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ANSWERS, type ConversingVendor, startConversingVendor, TOKENS } from '../support/conversing.ts';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let vendor: ConversingVendor;
let gateway: TestGateway;

beforeAll(async () => {
  vendor = await startConversingVendor();
  const key = { api_key: '${UPSTREAM_KEY}' };
  gateway = await startTestGateway({
    providers: {
      openai: { ...key, base_url: `${vendor.url}/v1` },
      anthropic: { ...key, base_url: vendor.url },
      google: { ...key, base_url: vendor.url },
    },
  });
});
afterAll(async () => {
  vendor.release();
  await gateway.close();
  await vendor.close();
});

type Client = (customer: string) => (model: string) => LanguageModel;
const headersOf = (customer: string) => ({ 'x-stripe-customer-id': customer });
const openai = (customer: string) =>
  createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: SERVICE_KEY, headers: headersOf(customer) });
const anthropic: Client = (customer) =>
  createAnthropic({ baseURL: `${gateway.url}/v1`, apiKey: SERVICE_KEY, headers: headersOf(customer) });
const google = (customer: string) =>
  createGoogleGenerativeAI({
    baseURL: `${gateway.url}/v1beta`,
    apiKey: SERVICE_KEY,
    headers: headersOf(customer),
  });

/** Each of the SDK's providers, with models of every provider of the gateway's: most of it is translated. */
const FRONTS: Readonly<Record<string, Client>> = {
  'OpenAI chat': (customer) => (model) => openai(customer).chat(model),
  'OpenAI responses': (customer) => (model) => openai(customer).responses(model),
  Anthropic: anthropic,
  Google: (customer) => (model) => google(customer)(`models/${model}`),
};
const CLIENTS = Object.entries(FRONTS).flatMap(([front, client]) =>
  ['openai', 'anthropic', 'google'].map((provider) => [front, provider, client] as const),
);

// What the SDK thinks of models it does not know is no part of the tests' output.
globalThis.AI_SDK_LOG_WARNINGS = false;

let customers = 0;

describe.each(CLIENTS)('the AI SDK with %s and a model of %s', (front, provider, client) => {
  const benchOf = () => {
    const customer = `cus_ai_${(customers += 1)}`;
    gateway.stripe.addCustomer(customer);
    return {
      model: (name: string) => client(customer)(`${provider}/${name}`),
      async billed(): Promise<Record<string, number>> {
        await gateway.flushed();
        return gateway.billed(customer);
      },
      calls: () => gateway.calls(customer),
    };
  };
  const bill = (calls: number, model = 'fare-1') => ({
    [`${provider}/${model} input`]: calls * TOKENS.input,
    [`${provider}/${model} output`]: calls * TOKENS.output,
  });

  it('gets a text', async () => {
    const bench = benchOf();
    const { text, usage } = await generateText({
      model: bench.model('fare-1'),
      prompt: 'Where?',
      maxRetries: 0,
    });
    expect(text).toBe(ANSWERS.plain);
    expect(usage).toMatchObject({ inputTokens: TOKENS.input, outputTokens: TOKENS.output });
    expect(await bench.billed()).toEqual(bill(1));
  });

  it('gets a stream', async () => {
    const bench = benchOf();
    const result = streamText({ model: bench.model('fare-1'), prompt: 'Where?', maxRetries: 0 });
    expect(await result.text).toBe(ANSWERS.plain);
    expect(await result.usage).toMatchObject({ inputTokens: TOKENS.input, outputTokens: TOKENS.output });
    expect(await bench.billed()).toEqual(bill(1));
  });

  it.each([false, true])('runs a tool and its second turn (streamed: %s)', async (streamed) => {
    const bench = benchOf();
    const asked: unknown[] = [];
    const options = {
      model: bench.model('fare-1'),
      prompt: 'How much?',
      maxRetries: 0,
      stopWhen: stepCountIs(3),
      tools: {
        get_fare: tool({
          description: 'The fare of a zone',
          inputSchema: z.object({ zone: z.number() }),
          execute: (input) => {
            asked.push(input);
            return Promise.resolve({ fare: 240 });
          },
        }),
      },
    };
    const text = streamed ? await streamText(options).text : (await generateText(options)).text;
    expect(asked).toEqual([{ zone: 2 }]);
    expect(text).toBe(ANSWERS.result);
    expect(await bench.billed()).toEqual(bill(2));
  });

  it('gets structured output', async () => {
    const bench = benchOf();
    // Only of a model it knows does the SDK ask Anthropic for a schema's output; otherwise it makes up a tool for it.
    const asked = front === 'Anthropic' ? 'claude-sonnet-4-5' : 'fare-1';
    const { output } = await generateText({
      model: bench.model(asked),
      prompt: 'Which zone?',
      maxRetries: 0,
      output: Output.object({ schema: z.object({ zone: z.number() }) }),
    });
    expect(output).toEqual({ zone: 2 });
    expect(await bench.billed()).toEqual(
      bill(1, provider === 'anthropic' ? asked.replace('4-5', '4.5') : asked),
    );
  });

  it('shows a picture', async () => {
    const bench = benchOf();
    const { text } = await generateText({
      model: bench.model('fare-1'),
      maxRetries: 0,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'file', data: PICTURE, mediaType: 'image/png' },
          ],
        },
      ],
    });
    expect(text).toBe(ANSWERS.picture);
    expect(await bench.billed()).toEqual(bill(1));
  });

  it('is told of an error of the provider, which costs nothing', async () => {
    const bench = benchOf();
    const error: unknown = await generateText({
      model: bench.model('overloaded'),
      prompt: 'Where?',
      maxRetries: 0,
    }).catch((caught: unknown) => caught);
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: provider === 'anthropic' ? 529 : 503, isRetryable: true });
    expect(await bench.billed()).toEqual({});
  });

  it('is refused once when the money is gone', async () => {
    const bench = benchOf();
    const customer = `cus_ai_${customers}`;
    await gateway.stripe.trigger('billing.alert.triggered', { customer });
    const error: unknown = await generateText({ model: bench.model('fare-1'), prompt: 'Where?' }).catch(
      (caught: unknown) => caught,
    );
    expect(error).toMatchObject({ statusCode: 402, isRetryable: false });
    expect(error).toHaveProperty(['responseHeaders', 'x-faregate-error'], 'alert_triggered');
  });

  it('leaves in mid-stream, and what was generated is billed', async () => {
    const bench = benchOf();
    const controller = new AbortController();
    const result = streamText({
      model: bench.model('waits'),
      prompt: 'Where?',
      maxRetries: 0,
      abortSignal: controller.signal,
      onError: () => undefined,
    });
    for await (const part of result.fullStream)
      if (part.type === 'start-step') setTimeout(() => controller.abort(), 50);
    expect(await bench.calls()).toMatchObject([{ state: 'open' }]);
    vendor.release();
    expect(await bench.billed()).toEqual(bill(1, 'waits'));
    expect(await bench.calls()).toMatchObject([{ outcome: 'caller_left', usage_source: 'reported' }]);
  });
});

/** One red pixel. */
const PICTURE =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
