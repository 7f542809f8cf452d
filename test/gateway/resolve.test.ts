import { expect, it } from 'vitest';
import { google } from '../../providers/google.ts';
import { billedName } from '../../src/billing/billed-model.ts';
import { createResolver } from '../../src/gateway/resolve.ts';

const NEVER = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 };

const upstream = { name: 'google', type: 'google', baseUrl: 'http://g', apiKey: null, asksUsage: false };
const resolver = createResolver({
  routes: [{ upstream, provider: google, endpoints: undefined, timeouts: NEVER }],
  aliases: new Map(),
  vendorOf: () => 'google',
  billedName,
});

it("takes a model by Gemini's own name for it, with models/ before it", () => {
  const [target] = resolver.resolve('models/gemini-2.5-flash', 'generateContent');
  expect(target).toMatchObject({ upstreamModel: 'gemini-2.5-flash', billedModel: 'google/gemini-2.5-flash' });
});

it('says of a provider without a model that the model is missing, and of no provider that it is none', () => {
  expect(() => resolver.resolve('google/', 'generateContent')).toThrow(
    '"google/" names the provider and no model of it. Write google/<model>.',
  );
  expect(() => resolver.resolve('gogle/', 'generateContent')).toThrow(
    '"gogle" in the model "gogle/" is neither',
  );
});
