/** Google's official clients, the present one and the one before, against a whole gateway. */
import { GoogleGenAI } from '@google/genai';
import { GoogleGenerativeAI } from '@google/generative-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { KEY_GIVEN } from '../support/upstream.ts';
import { startTestVendors, type TestVendors } from '../support/vendors.ts';

let vendors: TestVendors;
let gateway: TestGateway;

beforeAll(async () => {
  vendors = await startTestVendors();
  gateway = await startTestGateway({
    providers: { google: { api_key: '${UPSTREAM_KEY}', base_url: vendors.url } },
    config: { models: { quick: 'google/gemini-plain' } },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendors.close();
});

let customers = 0;

function benchOf(apiKey = SERVICE_KEY) {
  const customer = `cus_gemini_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  const headers = { 'x-stripe-customer-id': customer };
  return {
    headers: { ...headers, 'x-goog-api-key': apiKey },
    client: new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway.url, headers } }),
    older: new GoogleGenerativeAI(apiKey),
    olderOptions: { baseUrl: gateway.url, customHeaders: headers },
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    calls: () => gateway.calls(customer),
  };
}

const BILL = { 'google/gemini-plain input': 14, 'google/gemini-plain output': 11 };
const CONTENTS = 'Where is the fare paid?';

describe('the Google client', () => {
  it('gets content, its thoughts billed as output', async () => {
    const bench = benchOf();
    const reply = await bench.client.models.generateContent({ model: 'gemini-plain', contents: CONTENTS });
    expect(reply.text).toBe('Paid at the gate.');
    expect(await bench.billed()).toEqual(BILL);
  });

  it('gets a stream, billed by its last report and not by their sum', async () => {
    const bench = benchOf();
    const stream = await bench.client.models.generateContentStream({
      model: 'gemini-plain',
      contents: CONTENTS,
    });
    const texts: (string | undefined)[] = [];
    for await (const part of stream) texts.push(part.text);
    expect(texts).toEqual(['Paid at', ' the gate.']);
    expect(await bench.billed()).toEqual(BILL);
    expect(await bench.calls()).toMatchObject([{ usage_source: 'reported', response_id: 'gem_1' }]);
  });

  it('may name an alias or the provider', async () => {
    const bench = benchOf();
    for (const model of ['quick', 'models/google/gemini-plain'])
      await bench.client.models.generateContent({ model, contents: CONTENTS });
    expect(vendors.seen.slice(-2).map(({ path }) => path.replace(/^\/v1(beta)?/, ''))).toEqual([
      '/models/gemini-plain:generateContent',
      '/models/gemini-plain:generateContent',
    ]);
    expect(await bench.billed()).toEqual({
      'google/gemini-plain input': 28,
      'google/gemini-plain output': 22,
    });
  });

  it('embeds, billed the input alone', async () => {
    const bench = benchOf();
    const reply = await bench.client.models.embedContent({
      model: 'google/gemini-embedding-001',
      contents: CONTENTS,
    });
    expect(reply.embeddings?.[0]?.values).toEqual([0.25, 0.5]);
    expect(JSON.stringify(vendors.seen.at(-1)?.body)).not.toContain('google/');
    expect(await bench.billed()).toEqual({ 'google/gemini-embedding-001 input': 6 });
  });

  it.each([false, true])('holds an interaction, billed by its end (streamed: %s)', async (stream) => {
    const bench = benchOf();
    const asked = { model: 'gemini-plain', input: CONTENTS };
    if (stream) {
      const types: unknown[] = [];
      for await (const event of await bench.client.interactions.create({ ...asked, stream: true }))
        types.push(event.event_type);
      expect(types).toEqual(['interaction.created', 'step.delta', 'interaction.completed']);
    } else {
      expect((await bench.client.interactions.create(asked)).id).toBe('int_1');
    }
    expect(await bench.billed()).toEqual(BILL);
  });

  it('counts tokens without a bill', async () => {
    const bench = benchOf();
    const reply = await bench.client.models.countTokens({ model: 'gemini-plain', contents: CONTENTS });
    expect(reply.totalTokens).toBe(7);
    expect(await bench.billed()).toEqual({});
  });

  it('lists the models by provider and name', async () => {
    const { client } = benchOf();
    const names: (string | undefined)[] = [];
    for await (const { name } of await client.models.list()) names.push(name);
    expect(names).toContain('models/google/gemini-plain');
    expect(names).toContain('models/quick');
  });

  it("gets the provider's error as its own, unbilled", async () => {
    const bench = benchOf();
    const asked = bench.client.models.generateContent({ model: 'gemini-overloaded', contents: CONTENTS });
    await expect(asked).rejects.toMatchObject({ status: 503 });
    expect(await bench.billed()).toEqual({});
  });

  it('gets a refusal in its dialect', async () => {
    const { client } = benchOf('sk-fg-nobody');
    const asked = client.models.generateContent({ model: 'gemini-plain', contents: CONTENTS });
    await expect(asked).rejects.toThrow(/UNAUTHENTICATED/);
  });

  it('is told of a stream that broke', async () => {
    const bench = benchOf();
    const read = async (): Promise<void> => {
      const asked = { model: 'gemini-cut', contents: CONTENTS };
      for await (const part of await bench.client.models.generateContentStream(asked)) void part;
    };
    await expect(read()).rejects.toThrow();
    await bench.billed();
    expect(await bench.calls()).toMatchObject([{ usage_source: 'estimated', outcome: 'upstream_broke' }]);
  });
});

describe('the older Google client', () => {
  it('gets content, a stream and a count', async () => {
    const bench = benchOf();
    const model = bench.older.getGenerativeModel({ model: 'gemini-plain' }, bench.olderOptions);
    const plain = await model.generateContent(CONTENTS);
    expect(plain.response.text()).toBe('Paid at the gate.');
    const { stream, response } = await model.generateContentStream(CONTENTS);
    for await (const part of stream) void part;
    expect((await response).text()).toBe('Paid at the gate.');
    expect((await model.countTokens(CONTENTS)).totalTokens).toBe(7);
    expect((await model.embedContent(CONTENTS)).embedding.values).toEqual([0.25, 0.5]);
    expect(await bench.billed()).toEqual({
      'google/gemini-plain input': 34,
      'google/gemini-plain output': 22,
    });
  });

  it('is told of a stream that broke by the broken connection', async () => {
    const { older, olderOptions } = benchOf();
    const model = older.getGenerativeModel({ model: 'gemini-cut' }, olderOptions);
    const read = async (): Promise<void> => {
      const { stream, response } = await model.generateContentStream(CONTENTS);
      response.catch(() => undefined);
      for await (const part of stream) void part;
    };
    await expect(read()).rejects.toThrow();
  });
});

describe('a Gemini stream without alt=sse', () => {
  it('is a JSON array, whole and billed, under both versions', async () => {
    const bench = benchOf();
    for (const version of ['v1', 'v1beta']) {
      const reply = await fetch(
        `${gateway.url}/${version}/models/gemini-plain:streamGenerateContent?key=sk-other&fields=candidates`,
        { method: 'POST', headers: bench.headers, body: JSON.stringify({ contents: [] }) },
      );
      expect(reply.headers.get('content-type')).toContain('application/json');
      expect(await reply.json()).toHaveLength(2);
      const sent = vendors.seen.at(-1);
      expect(sent).toMatchObject({
        path: `/${version}/models/gemini-plain:streamGenerateContent`,
        query: '',
      });
      expect(sent?.headers['x-goog-api-key']).toBe(KEY_GIVEN);
    }
    expect(await bench.billed()).toEqual({
      'google/gemini-plain input': 28,
      'google/gemini-plain output': 22,
    });
  });

  it('that broke ends with the error as an element and a broken connection', async () => {
    const bench = benchOf();
    const reply = await fetch(`${gateway.url}/v1beta/models/gemini-cut:streamGenerateContent`, {
      method: 'POST',
      headers: bench.headers,
      body: JSON.stringify({ contents: [] }),
    });
    await expect(reply.text()).rejects.toThrow();
  });

  it('does not lead to another path of the provider', async () => {
    const { headers } = benchOf();
    const before = vendors.seen.length;
    for (const path of [
      'google%2F..%2F..%2Ffiles:generateContent',
      'gemini-plain:deleteModel',
      'gemini-plain',
    ]) {
      await fetch(`${gateway.url}/v1beta/models/${path}`, { method: 'POST', headers, body: '{}' });
    }
    const paths = vendors.seen.slice(before).map(({ path }) => path);
    expect(paths).toEqual(['/v1beta/models/..%2F..%2Ffiles:generateContent']);
  });
});
