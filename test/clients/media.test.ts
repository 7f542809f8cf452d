/** The official OpenAI client on pictures and sound. */
import { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openaiFor } from '../support/openai-client.ts';
import { PIXEL, SPOKEN, startTestMedia, type TestMedia } from '../support/media.ts';

let media: TestMedia;
let gateway: TestGateway;

beforeAll(async () => {
  media = await startTestMedia();
  gateway = await startTestGateway({
    providers: {
      openai: { api_key: '${UPSTREAM_KEY}', base_url: media.url },
      acme: { type: 'openai-compatible', base_url: media.url },
    },
    config: {
      models: { scribe: 'openai/gpt-4o-transcribe' },
      prices: { 'acme/dall-e-3': { image: '0.04' }, 'acme/tts-1': { character: '0.000015' } },
    },
  });
});
afterAll(async () => {
  media.release();
  await gateway.close();
  await media.close();
});

let customers = 0;
const SOUND = (): Promise<File> =>
  toFile(Buffer.alloc(3_000, 'RIFF\r\n--'), 'spoken.wav', { type: 'audio/wav' });
const IMAGE = (name = 'a.png'): Promise<File> =>
  toFile(Buffer.from(PIXEL, 'base64'), name, { type: 'image/png' });

function benchOf() {
  const customer = `cus_media_${(customers += 1)}`;
  const client = openaiFor(gateway, customer);
  return {
    client,
    async billed(): Promise<Record<string, number>> {
      await gateway.flushed();
      return gateway.billed(customer);
    },
    /** The one call there was: what was counted beside tokens, and what is said of it. */
    async call() {
      await gateway.flushed();
      const calls = await gateway.calls(customer);
      expect(calls).toHaveLength(1);
      const usage = calls[0]?.usage as Readonly<Record<string, unknown>> | null;
      return { ...calls[0], units: usage?.['units'] };
    },
  };
}

describe('the OpenAI client on pictures', () => {
  it('is billed the tokens that a picture is reported to cost', async () => {
    const bench = benchOf();
    const reply = await bench.client.images.generate({ model: 'gpt-image-1', prompt: 'A gate' });
    expect(reply.data?.[0]?.b64_json).toBe(PIXEL);
    expect(await bench.billed()).toEqual({
      'openai/gpt-image-1 input': 50,
      'openai/gpt-image-1 output': 1056,
    });
    const { usage } = await bench.call();
    expect(usage).toMatchObject({ image_input_tokens: 40, image_output_tokens: 1056, units: {} });
  });

  it('has pictures without a report recorded as pictures, priced each, with no token event', async () => {
    const bench = benchOf();
    await bench.client.images.generate({ model: 'acme/dall-e-3', prompt: 'A gate', n: 2 });
    expect(await bench.billed()).toEqual({});
    const call = await bench.call();
    expect(call).toMatchObject({ units: { images: 2 }, usage_source: 'reported', cost_usd: '0.08' });
  });

  it.each(['generate', 'edit'] as const)('streams pictures on their way: %s', async (way) => {
    const bench = benchOf();
    const types: string[] = [];
    const asked = { model: 'gpt-image-1', prompt: 'A gate', stream: true, partial_images: 2 } as const;
    const stream =
      way === 'edit'
        ? await bench.client.images.edit({ ...asked, image: await IMAGE() })
        : await bench.client.images.generate(asked);
    for await (const event of stream) types.push(event.type);
    const name = way === 'edit' ? 'image_edit' : 'image_generation';
    expect(types).toEqual([`${name}.partial_image`, `${name}.partial_image`, `${name}.completed`]);
    expect(await bench.billed()).toMatchObject({ 'openai/gpt-image-1 output': 1056 });
  });

  it('sends a form on as it is, but for the model', async () => {
    const bench = benchOf();
    const image = [await IMAGE('one.png'), await IMAGE('two.png')];
    await bench.client.images.edit({ model: 'openai/gpt-image-1', image, prompt: 'Grün' });
    const seen = media.seen.at(-1);
    expect(seen?.fields).toEqual({ model: 'gpt-image-1', prompt: 'Grün', 'image[]': 8 });
    expect(await bench.billed()).toMatchObject({ 'openai/gpt-image-1 input': 50 });
  });

  it('edits pictures that are named in JSON', async () => {
    const bench = benchOf();
    const body = {
      model: 'openai/gpt-image-1',
      prompt: 'Green',
      images: [{ image_url: 'https://x.example/a.png' }],
    };
    await bench.client.post('/images/edits', { body });
    expect(media.seen.at(-1)?.fields).toEqual({ ...body, model: 'gpt-image-1' });
    expect(await bench.billed()).toMatchObject({ 'openai/gpt-image-1 input': 50 });
  });

  it('is billed the pictures on the way where a stream breaks, as an estimate', async () => {
    const bench = benchOf();
    const stream = await bench.client.images.generate({ model: 'gpt-cut', prompt: 'A gate', stream: true });
    await expect(Array.fromAsync(stream)).rejects.toThrow();
    expect(await bench.billed()).toEqual({ 'openai/gpt-cut output': 200 });
    expect((await bench.call()).usage_source).toBe('estimated');
  });

  it('pays nothing for a refusal', async () => {
    const bench = benchOf();
    const asked = bench.client.images.generate({ model: 'openai/refuses', prompt: 'x' });
    await expect(asked).rejects.toMatchObject({ status: 400 });
    expect(await bench.call()).toMatchObject({ usage_source: 'none', outcome: 'upstream_broke', units: {} });
  });
});

describe('the OpenAI client on speech', () => {
  it('hears the first sound before the last is made, and is charged by the character', async () => {
    const bench = benchOf();
    const reply = await bench.client.audio.speech.create({
      model: 'openai/tts-waits',
      voice: 'alloy',
      input: 'Päid 😀',
    });
    expect(reply.headers.get('content-type')).toBe('audio/mpeg');
    const reader = reply.body!.getReader();
    expect([...((await reader.read()).value as Uint8Array)]).toEqual([0xff, 0xfb, 0x00]);
    media.release();
    expect([...((await reader.read()).value as Uint8Array)]).toEqual([0x01, 0x02]);
    expect((await reader.read()).done).toBe(true);
    expect(await bench.billed()).toEqual({});
    expect(await bench.call()).toMatchObject({ units: { characters: 6 }, usage_source: 'reported' });
  });

  it('has characters priced each', async () => {
    const bench = benchOf();
    const reply = await bench.client.audio.speech.create({
      model: 'acme/tts-1',
      voice: 'alloy',
      input: 'Fare',
    });
    expect((await reply.arrayBuffer()).byteLength).toBe(5);
    expect(await bench.call()).toMatchObject({ units: { characters: 4 }, cost_usd: '0.00006' });
  });

  it('is billed the tokens where the sound comes as events that report them', async () => {
    const bench = benchOf();
    const reply = await bench.client.audio.speech.create({
      model: 'gpt-4o-mini-tts',
      voice: 'alloy',
      input: 'Fare',
      stream_format: 'sse',
    });
    expect(await reply.text()).toContain('speech.audio.done');
    expect(await bench.billed()).toEqual({
      'openai/gpt-4o-mini-tts input': 14,
      'openai/gpt-4o-mini-tts output': 101,
    });
    expect((await bench.call()).usage).toMatchObject({ audio_output_tokens: 101 });
  });

  it('hears a break where the sound broke, and is charged the characters as an estimate', async () => {
    const bench = benchOf();
    const asked = { model: 'openai/tts-cut', voice: 'alloy', input: 'Fare' } as const;
    const reply = await bench.client.audio.speech.create(asked);
    await expect(reply.arrayBuffer()).rejects.toThrow();
    expect(await bench.call()).toMatchObject({
      units: { characters: 4 },
      usage_source: 'estimated',
      outcome: 'upstream_broke',
    });
  });
});

describe('the OpenAI client on transcriptions', () => {
  it('is billed the tokens that are reported, under an alias too', async () => {
    const bench = benchOf();
    const reply = await bench.client.audio.transcriptions.create({ model: 'scribe', file: await SOUND() });
    expect(reply.text).toBe(SPOKEN);
    expect(media.seen.at(-1)?.fields).toEqual({ model: 'gpt-4o-transcribe', file: 3_000 });
    expect(await bench.billed()).toEqual({
      'openai/gpt-4o-transcribe input': 37,
      'openai/gpt-4o-transcribe output': 12,
    });
    expect((await bench.call()).usage).toMatchObject({ audio_input_tokens: 35 });
  });

  it('reads a streamed transcript', async () => {
    const bench = benchOf();
    const stream = await bench.client.audio.transcriptions.create({
      model: 'gpt-4o-transcribe',
      file: await SOUND(),
      stream: true,
    });
    const events = await Array.fromAsync(stream);
    expect(events.at(-1)).toMatchObject({ type: 'transcript.text.done', text: SPOKEN });
    expect(await bench.billed()).toMatchObject({ 'openai/gpt-4o-transcribe output': 12 });
  });

  it.each([
    ['json', { seconds: 4 }, 'reported'],
    ['verbose_json', { seconds: 4 }, 'reported'],
    ['srt', { seconds: 64 }, 'estimated'],
    ['vtt', { seconds: 4 }, 'estimated'],
    ['text', { seconds: 2 }, 'estimated'],
  ] as const)('has %s recorded in seconds, with no token event', async (format, units, source) => {
    const bench = benchOf();
    const reply: unknown = await bench.client.audio.transcriptions.create({
      model: 'whisper-1',
      file: await SOUND(),
      response_format: format,
    });
    expect(typeof reply === 'string' ? reply : (reply as { text: string }).text).toContain(SPOKEN);
    expect(await bench.billed()).toEqual({});
    const call = await bench.call();
    expect(call).toMatchObject({ units, usage_source: source });
    // The catalogue has whisper-1 at 36 cents an hour.
    expect(Number(call.cost_usd)).toBeCloseTo(units.seconds * 0.0001, 10);
  });

  it('translates', async () => {
    const bench = benchOf();
    const reply = await bench.client.audio.translations.create({
      model: 'openai/silent',
      file: await SOUND(),
    });
    expect((reply as { text: string }).text).toBe(SPOKEN);
    expect(media.seen.at(-1)?.path).toBe('/v1/audio/translations');
    expect(await bench.call()).toMatchObject({ units: { seconds: 2 }, usage_source: 'estimated' });
  });
});

const post = (contentType: string, body: string, path = '/v1/audio/transcriptions'): Promise<Response> =>
  fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SERVICE_KEY}`,
      'x-stripe-customer-id': 'cus_media_1',
      'content-type': contentType,
    },
    body,
  });
const part = (name: string, value: string): string =>
  `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;

describe('a form that two servers might read differently', () => {
  const type = 'multipart/form-data; boundary=b';

  it.each([
    ['two models', type, `${part('model', 'whisper-1')}${part('model', 'gpt-4o-transcribe')}--b--`],
    ['no model', type, `${part('prompt', 'x')}--b--`],
    ['no final boundary', type, part('model', 'whisper-1')],
    ['a stream that is neither true nor false', type, `${part('model', 'm')}${part('stream', 'maybe')}--b--`],
    ['no boundary in its header', 'multipart/form-data', `${part('model', 'm')}--b--`],
    ['another multipart type', 'multipart/mixed; boundary=b', `${part('model', 'm')}--b--`],
  ])('is refused with 400, and asks nobody: %s', async (_what, contentType, body) => {
    const before = media.seen.length;
    const reply = await post(contentType, body);
    expect(reply.status).toBe(400);
    expect(reply.headers.get('x-faregate-error')).toBe('invalid_request');
    expect(media.seen).toHaveLength(before);
  });

  it('is refused on a route that takes JSON only', async () => {
    expect((await post(type, `${part('model', 'm')}--b--`, '/v1/images/generations')).status).toBe(400);
  });
});
