/** The chats of Google's official clients, which keep what was said and send it again, with providers of other dialects. */
import { GoogleGenAI } from '@google/genai';
import { GoogleGenerativeAI } from '@google/generative-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ANSWERS,
  conversingProviders,
  type ConversingVendor,
  startConversingVendor,
} from '../support/conversing.ts';
import { CUSTOMER, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';

let vendor: ConversingVendor;
let gateway: TestGateway;

beforeAll(async () => {
  vendor = await startConversingVendor();
  gateway = await startTestGateway({ providers: conversingProviders(vendor) });
});
afterAll(async () => {
  await gateway.close();
  await vendor.close();
});

const headers = { 'x-stripe-customer-id': CUSTOMER };
type Chat = (model: string, stream: boolean) => (question: string) => Promise<void>;

const CHATS: Readonly<Record<string, Chat>> = {
  'the present client': (model, stream) => {
    const client = new GoogleGenAI({
      apiKey: SERVICE_KEY,
      httpOptions: { baseUrl: gateway.url, headers },
    });
    const chat = client.chats.create({ model });
    return async (message) => {
      if (!stream) await chat.sendMessage({ message });
      else for await (const chunk of await chat.sendMessageStream({ message })) void chunk;
    };
  },
  'the older client': (model, stream) => {
    const client = new GoogleGenerativeAI(SERVICE_KEY);
    const chat = client
      .getGenerativeModel({ model: `models/${model}` }, { baseUrl: gateway.url, customHeaders: headers })
      .startChat();
    return async (message) => {
      if (stream) await (await chat.sendMessageStream(message)).response;
      else await chat.sendMessage(message);
    };
  },
};

describe.each(Object.keys(CHATS))('a chat of %s', (client) => {
  it.each(
    ['openai', 'chatting', 'anthropic'].flatMap((provider) =>
      [false, true].map((stream) => [provider, stream] as const),
    ),
  )('with a model of %s remembers what was said, streamed: %s', async (provider, stream) => {
    const say = CHATS[client]!(`${provider}/fare-1`, stream);
    await say('Where is it paid?');
    await say('And when?');
    const asked = JSON.stringify(vendor.seen.at(-1)?.body);
    const said = ['Where is it paid?', ANSWERS.plain, 'And when?'];
    expect(said.map((words) => asked.split(`"${words}"`).length - 1)).toEqual([1, 1, 1]);
  });
});
