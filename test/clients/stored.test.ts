/** The official OpenAI client on responses that are kept, and on those that are made in the background. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openaiFor } from '../support/openai-client.ts';
import { startTestResponses, type TestResponses } from '../support/stored.ts';

let vendor: TestResponses;
let gateway: TestGateway;

beforeAll(async () => {
  vendor = await startTestResponses();
  gateway = await startTestGateway({
    providers: {
      openai: { api_key: '${UPSTREAM_KEY}', base_url: vendor.url },
      other: { type: 'openai-compatible', base_url: vendor.url },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await vendor.close();
});

let customers = 0;

function benchOf() {
  const customer = `cus_stored_${(customers += 1)}`;
  const client = openaiFor(gateway, customer);
  const calls = () => gateway.calls(customer);
  return {
    client,
    calls,
    /** What Stripe counted, once none of this customer's calls is open. */
    async billed(): Promise<Record<string, number>> {
      await expect
        .poll(async () => (await calls()).every(({ state }) => state === 'settled'), WITHIN)
        .toBe(true);
      await gateway.admin('/flush', { method: 'POST' });
      return gateway.billed(customer);
    },
  };
}

const WITHIN = { timeout: 8_000, interval: 20 };
const ONCE = { 'openai/gpt-plain input': 20, 'openai/gpt-plain output': 9 };
const IN_BACKGROUND = { model: 'gpt-plain', input: 'Where?', background: true } as const;

describe('a stored response', () => {
  it('is read, listed and deleted by the customer who made it, and billed once', async () => {
    const { client, billed } = benchOf();
    const { id } = await client.responses.create({ model: 'gpt-plain', input: 'Where?' });
    expect(
      (await client.responses.retrieve(id, { include: ['reasoning.encrypted_content'] })).output_text,
    ).toBe('Paid at the gate.');
    expect(vendor.seen.at(-1)).toBe(`GET /v1/responses/${id}?include%5B%5D=reasoning.encrypted_content`);
    const items = await client.responses.inputItems.list(id, { limit: 5, order: 'asc' });
    expect(items.data[0]?.id).toBe('msg_1');
    const events = await Array.fromAsync(await client.responses.retrieve(id, { stream: true }));
    expect(events.map(({ type }) => type)).toEqual(['response.created', 'response.completed']);
    await client.responses.delete(id);
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    expect(await billed()).toEqual(ONCE);
  });

  it('is not there for another customer, who asks nobody', async () => {
    const [mine, theirs] = [benchOf(), benchOf()];
    const { id } = await mine.client.responses.create({ model: 'gpt-plain', input: 'Where?' });
    const seen = vendor.seen.length;
    const { responses } = theirs.client;
    const asked = [
      responses.retrieve(id),
      responses.retrieve(id, { stream: true }),
      responses.delete(id),
      responses.cancel(id),
      responses.inputItems.list(id),
      responses.retrieve('resp_of_nobody'),
      responses.retrieve('../models'),
    ];
    const refused = await Promise.allSettled(asked);
    expect(
      refused.map((one) => one.status === 'rejected' && (one.reason as { status: number }).status),
    ).toEqual(asked.map(() => 404));
    await expect(responses.retrieve(id)).rejects.toMatchObject({
      message: `404 Response with id '${id}' not found.`,
    });
    expect(vendor.seen).toHaveLength(seen);
    expect(await theirs.calls()).toEqual([]);
    expect((await mine.client.responses.retrieve(id)).id).toBe(id);
  });

  it('is gone on from by its own customer only', async () => {
    const [mine, theirs] = [benchOf(), benchOf()];
    const { id } = await mine.client.responses.create({ model: 'gpt-plain', input: 'Where?' });
    const next = { model: 'gpt-plain', input: 'And then?', previous_response_id: id };
    await mine.client.responses.create(next);
    expect(vendor.bodies.at(-1)?.['previous_response_id']).toBe(id);
    const seen = vendor.seen.length;
    await expect(theirs.client.responses.create(next)).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
      param: 'previous_response_id',
    });
    await expect(theirs.client.responses.inputTokens.count(next)).rejects.toMatchObject({ status: 400 });
    await expect(theirs.client.responses.compact(next)).rejects.toMatchObject({ status: 400 });
    expect(vendor.seen).toHaveLength(seen);
  });

  it('is gone on from at the provider that keeps it only', async () => {
    const { client } = benchOf();
    const { id } = await client.responses.create({ model: 'other/gpt-plain', input: 'Where?' });
    const next = { model: 'gpt-plain', input: 'And then?', previous_response_id: id };
    await expect(client.responses.create(next)).rejects.toMatchObject({
      code: 'previous_response_not_found',
    });
    expect((await client.responses.create({ ...next, model: 'other/gpt-plain' })).status).toBe('completed');
  });

  it('is in no conversation', async () => {
    const { client } = benchOf();
    const asked = client.responses.create({ model: 'gpt-plain', input: 'x', conversation: 'conv_1' });
    await expect(asked).rejects.toMatchObject({ code: 'unsupported_parameter', param: 'conversation' });
  });
});

describe('a response in the background', () => {
  it('is billed once, when done, though nobody looks', async () => {
    const bench = benchOf();
    const { id, status } = await bench.client.responses.create(IN_BACKGROUND);
    expect(status).toBe('queued');
    expect(await bench.calls()).toMatchObject([{ state: 'open', response_id: id }]);
    vendor.end(id);
    expect(await bench.billed()).toEqual(ONCE);
    const [call] = await bench.calls();
    expect(call).toMatchObject({ outcome: 'finished', usage_source: 'reported', status: 200 });
    expect((await bench.client.responses.retrieve(id)).status).toBe('completed');
    expect(await bench.billed()).toEqual(ONCE);
  });

  it('is settled before the customer is told that it is done', async () => {
    const bench = benchOf();
    const { id } = await bench.client.responses.create(IN_BACKGROUND);
    expect((await bench.client.responses.retrieve(id)).status).toBe('queued');
    expect((await bench.calls())[0]?.state).toBe('open');
    vendor.end(id);
    expect((await bench.client.responses.retrieve(id)).output_text).toBe('Paid at the gate.');
    expect((await bench.calls())[0]).toMatchObject({ state: 'settled', usage_source: 'reported' });
    expect(await bench.billed()).toEqual(ONCE);
  });

  it('is settled by its own stream, and by a stream of it that is read later', async () => {
    const bench = benchOf();
    const first = await bench.client.responses.create({ ...IN_BACKGROUND, stream: true });
    const begun = await bench.client.responses.create(IN_BACKGROUND);
    const later = await bench.client.responses.retrieve(begun.id, { stream: true });
    for (const stream of [first, later]) {
      const types: string[] = [];
      for await (const event of stream) {
        types.push(event.type);
        if (event.type === 'response.created') vendor.end(event.response.id);
      }
      expect(types).toEqual(['response.created', 'response.completed']);
    }
    expect((await bench.calls()).map(({ state }) => state)).toEqual(['settled', 'settled']);
    expect(await bench.billed()).toEqual({ 'openai/gpt-plain input': 40, 'openai/gpt-plain output': 18 });
  });

  it('goes on when its stream breaks, and is billed what it cost in the end', async () => {
    const bench = benchOf();
    const stream = await bench.client.responses.create({ ...IN_BACKGROUND, model: 'breaks', stream: true });
    await expect(Array.fromAsync(stream)).rejects.toThrow();
    const id = vendor.latest();
    expect(await bench.calls()).toMatchObject([{ state: 'open', response_id: id }]);
    vendor.end(id, 'incomplete');
    expect(await bench.billed()).toEqual({ 'openai/breaks input': 20, 'openai/breaks output': 9 });
  });

  it('is paid for as far as anybody tells when it is cancelled or fails', async () => {
    const bench = benchOf();
    const one = await bench.client.responses.create(IN_BACKGROUND);
    expect((await bench.client.responses.cancel(one.id)).status).toBe('cancelled');
    expect((await bench.calls())[0]).toMatchObject({ state: 'settled', usage_source: 'none' });
    const two = await bench.client.responses.create(IN_BACKGROUND);
    vendor.end(two.id, 'failed');
    expect((await bench.client.responses.retrieve(two.id)).status).toBe('failed');
    expect(await bench.billed()).toEqual({});
  });

  it('is estimated where its provider never tells what it cost', async () => {
    const bench = benchOf();
    const { id } = await bench.client.responses.create({ ...IN_BACKGROUND, model: 'silent' });
    vendor.end(id);
    const billed = await bench.billed();
    expect(billed['openai/silent input']).toBeGreaterThan(0);
    expect(billed['openai/silent output']).toBeGreaterThan(0);
    expect((await bench.calls())[0]?.usage_source).toBe('estimated');
  });

  it('is not deleted before it has told what it cost', async () => {
    const bench = benchOf();
    const { id } = await bench.client.responses.create(IN_BACKGROUND);
    await expect(bench.client.responses.delete(id)).rejects.toMatchObject({ status: 400 });
    expect(vendor.kept.has(id)).toBe(true);
    vendor.end(id);
    await bench.client.responses.delete(id);
    expect(vendor.kept.has(id)).toBe(false);
    expect(await bench.billed()).toEqual(ONCE);
  });
});
