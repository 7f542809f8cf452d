/** Pictures and sound: what bounds them, what does not, and what is held. */
import { describe, expect, it } from 'vitest';
import { createHolds } from '../../../src/billing/budgets/holds.ts';
import { mediaBoundOf } from '../../../src/billing/budgets/media-bound.ts';
import { createPrices } from '../../../src/billing/prices/prices.ts';
import { createTestRuntime } from '../support.ts';

const request = (endpoint: string, upstreamModel: string, body: object | readonly string[]) => ({
  endpoint,
  upstreamModel,
  providerType: 'openai',
  bodyBytes: 100,
  body: Array.isArray(body) ? undefined : body,
  formNames: Array.isArray(body) ? (body as string[]) : undefined,
});
const bound = (endpoint: string, model: string, body: object | readonly string[]) =>
  mediaBoundOf(request(endpoint, model, body));
const picture = (body: object, model = 'gpt-image-1') => bound('images.generations', model, body);

const priced = (endpoint: string, model: string, body: object) => ({
  ...request(endpoint, model, body),
  body: () => body,
  formNames: undefined,
  estimateInput: () => 5,
  targets: [{ billedModel: `shop/${model}`, upstreamModel: model, providerType: 'openai' }],
});

describe('the bound of a picture', () => {
  it('is what OpenAI documents for its size and quality, times their number', () => {
    expect(picture({ size: '1024x1024', quality: 'low' })).toEqual({
      inputTokens: 228,
      outputTokens: 272,
      units: {},
    });
    expect(picture({ size: '1536x1024', quality: 'high', n: 3 })?.outputTokens).toBe(3 * 6_208);
    expect(picture({ quality: 'medium', partial_images: 2 })?.outputTokens).toBe(1_784);
  });

  it('is the dearest where it is left to the model', () => {
    expect(picture({})?.outputTokens).toBe(6_240);
    expect(picture({ size: 'auto', quality: 'auto' }, 'gpt-image-1-mini')?.outputTokens).toBe(6_240);
  });

  it('is the number of pictures where a vendor counts those', () => {
    expect(picture({ n: 4, size: '256x256' }, 'dall-e-2')).toEqual({
      inputTokens: 0,
      outputTokens: 0,
      units: { images: 4 },
    });
  });

  it.each([
    ['another size', { size: '2048x2048' }, 'gpt-image-1'],
    ['another quality', { quality: 'ultra' }, 'gpt-image-1'],
    ['no number', { n: '3' }, 'gpt-image-1'],
    ['too many', { n: 11 }, 'gpt-image-1'],
    ['none', { n: 0 }, 'dall-e-3'],
    ['too many partial ones', { partial_images: 4 }, 'gpt-image-1'],
    ['a model that is not known', {}, 'gpt-image-2'],
  ])('is none for %s', (_, body, model) => {
    expect(picture(body, model)).toBeNull();
  });

  it('is none at another vendor’s server, nor for one that is edited', () => {
    const asked = request('images.generations', 'gpt-image-1', {});
    expect(mediaBoundOf({ ...asked, providerType: 'openai-compatible' })).toBeNull();
    expect(bound('images.edits', 'gpt-image-1', ['image', 'prompt', 'model'])).toBeNull();
  });
});

describe('the bound of sound', () => {
  it('is the characters that are read aloud, where those are counted', () => {
    expect(bound('audio.speech', 'tts-1-hd', { input: 'Good morning' })?.units).toEqual({ characters: 12 });
    expect(bound('audio.speech', 'gpt-4o-mini-tts', { input: 'Good morning' })).toBeNull();
    expect(bound('audio.speech', 'tts-1', { input: 7 })).toBeNull();
  });

  it('is the model’s window where it is transcribed in one piece', () => {
    const form = ['file', 'model', 'language', 'stream'];
    const whole = { inputTokens: 16_000, outputTokens: 2_000, units: {} };
    expect(bound('audio.transcriptions', 'gpt-4o-mini-transcribe', form)).toEqual(whole);
    expect(bound('audio.transcriptions', 'gpt-4o-transcribe', [...form, 'chunking_strategy'])).toBeNull();
    expect(bound('audio.transcriptions', 'gpt-4o-transcribe-diarize', form)).toBeNull();
    expect(bound('audio.transcriptions', 'whisper-1', form)).toBeNull();
    expect(bound('audio.translations', 'whisper-1', form)).toBeNull();
  });
});

describe('what is held for it', () => {
  const prices = createPrices({
    runtime: createTestRuntime(),
    overrides: new Map([
      ['shop/gpt-image-1', { input: 10n, output: 40n }],
      ['shop/dall-e-3', { image: 80n }],
      ['shop/tts-1', { input: 1n, output: 1n }],
    ] as never),
  });
  const assess = createHolds({ prices, vendorOf: () => null });
  it.each(['strict', 'standard'] as const)('is its bound in %s mode, all of which must fit', (mode) => {
    const two = priced('images.generations', 'gpt-image-1', { n: 2, quality: 'low', size: '1024x1024' });
    const most = 228n * 10n + 2n * 272n * 40n;
    const held = { kind: 'held', holdPico: most, fitPico: most, outputPico: null };
    expect(assess(two, { mode, plan: null })).toEqual(held);
    expect(assess(priced('images.generations', 'dall-e-3', {}), { mode, plan: null })).toMatchObject({
      holdPico: 80n,
    });
  });

  it('is refused in strict mode where nothing bounds it', () => {
    const edit = priced('images.edits', 'gpt-image-1', {});
    expect(assess(edit, { mode: 'strict', plan: null })).toEqual({
      kind: 'boundless',
      reasons: ['images.edits'],
    });
  });

  it('cannot be said where its unit has no price', () => {
    const speech = priced('audio.speech', 'tts-1', { input: 'Hi' });
    expect(assess(speech, { mode: 'strict', plan: null })).toEqual({
      kind: 'unpriced',
      model: 'shop/tts-1',
    });
  });
});
