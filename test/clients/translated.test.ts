/** The official clients, unmodified, each with a provider of each dialect: the same questions, the same answers, the same bill. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ANSWERS,
  conversingProviders,
  type ConversingVendor,
  startConversingVendor,
  TOKENS,
} from '../support/conversing.ts';
import { chatFront } from '../support/fronts/chat.ts';
import { geminiFront } from '../support/fronts/gemini.ts';
import { generativeAiFront } from '../support/fronts/generative-ai.ts';
import type { Front } from '../support/fronts/front.ts';
import { messagesFront } from '../support/fronts/messages.ts';
import { responsesFront } from '../support/fronts/responses.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

let vendor: ConversingVendor;
let gateway: TestGateway;

beforeAll(async () => {
  vendor = await startConversingVendor();
  gateway = await startTestGateway({ providers: conversingProviders(vendor) });
});
afterAll(async () => {
  vendor.release();
  await gateway.close();
  await vendor.close();
});

const FRONTS: Readonly<Record<string, (at: { url: string; customer: string }) => Front>> = {
  'chat completions': chatFront,
  responses: responsesFront,
  messages: messagesFront,
  generateContent: geminiFront,
  'generateContent, the older client': generativeAiFront,
};
const PROVIDERS = ['openai', 'chatting', 'anthropic', 'google'];
const PAIRS = Object.keys(FRONTS).flatMap((front) => PROVIDERS.map((provider) => [front, provider] as const));

let customers = 0;

function benchOf(front: string) {
  const customer = `cus_pair_${(customers += 1)}`;
  gateway.stripe.addCustomer(customer);
  return {
    front: FRONTS[front]!({ url: gateway.url, customer }),
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    calls: () => gateway.calls(customer),
  };
}

const billOf = (model: string, calls: number): Record<string, number> => ({
  [`${model} input`]: calls * TOKENS.input,
  [`${model} output`]: calls * TOKENS.output,
});

describe.each(PAIRS)('a client of %s with a model of %s', (front, provider) => {
  const model = (name: string): string => `${provider}/${name}`;

  describe.each([false, true])('streamed: %s', (stream) => {
    it('gets the answer with its usage, billed once', async () => {
      const bench = benchOf(front);
      const told = await bench.front.ask(model('fare-1'), { stream });
      expect(told).toEqual({ text: ANSWERS.plain, calls: [], input: TOKENS.input, output: TOKENS.output });
      expect(await bench.billed()).toEqual(billOf(model('fare-1'), 1));
      expect(await bench.calls()).toMatchObject([{ outcome: 'finished', usage_source: 'reported' }]);
    });

    it('is asked for a tool and told its result', async () => {
      const bench = benchOf(front);
      const asked = await bench.front.ask(model('fare-1'), { stream, tool: true });
      expect(asked.calls).toEqual([{ name: 'get_fare', input: { zone: 2 } }]);
      const told = await bench.front.useTool(model('fare-1'), stream);
      expect(told.text).toBe(ANSWERS.result);
      expect(await bench.billed()).toEqual(billOf(model('fare-1'), 3));
    });

    it('gets JSON of a schema', async () => {
      const { front: client } = benchOf(front);
      const told = await client.ask(model('fare-1'), { stream, json: true });
      expect(told.text).toBe(ANSWERS.json);
    });

    it('shows a picture', async () => {
      const { front: client } = benchOf(front);
      const told = await client.ask(model('fare-1'), { stream, picture: true });
      expect(told.text).toBe(ANSWERS.picture);
    });

    it("gets the provider's error as its own, unbilled", async () => {
      const bench = benchOf(front);
      const error = await bench.front.ask(model('overloaded'), { stream }).catch((e: unknown) => e);
      expect(error).toMatchObject({ status: provider === 'anthropic' ? 529 : 503 });
      expect(String(error)).toContain('Overloaded.');
      expect(await bench.billed()).toEqual({});
    });
  });
});

describe.each(PAIRS)(
  'a client of %s who leaves a model of %s in the middle of a stream',
  (front, provider) => {
    it('is billed all of it', async () => {
      const bench = benchOf(front);
      await bench.front.leave(`${provider}/waits`);
      // The leaving is noticed before the vendor goes on: a request of another connection is answered after it.
      await bench.calls();
      vendor.release();
      expect(await bench.billed()).toEqual(billOf(`${provider}/waits`, 1));
      expect(await bench.calls()).toMatchObject([{ outcome: 'caller_left', usage_source: 'reported' }]);
    });
  },
);
