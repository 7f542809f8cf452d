/** A caller's own limits, as the official clients see them. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { CUSTOMER, startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway.ts';

const messages = [{ role: 'user' as const, content: 'What of the fare?' }];
let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
});

async function start(limits: object, options: TestGatewayOptions = {}) {
  const started = await startTestGateway({ ...options, config: { limits } });
  gateway = started;
  const apiKey = await started.boundKey();
  const client = (maxRetries: number) => new OpenAI({ baseURL: `${started.url}/v1`, apiKey, maxRetries });
  return { gateway: started, client, apiKey };
}

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('a limit of requests per minute', () => {
  it('is a RateLimitError to the openai client; no provider is asked and no call is opened', async () => {
    const { gateway: at, client } = await start({ rpm: 1 });
    const { response } = await client(0)
      .chat.completions.create({ model: 'demo/plain', messages })
      .withResponse();
    expect(response.headers.get('x-ratelimit-limit-requests')).toBe('1');
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('0');
    const error = await errorOf(client(0).chat.completions.create({ model: 'demo/plain', messages }));
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    const { headers, ...said } = error as InstanceType<typeof OpenAI.RateLimitError>;
    expect(said).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' });
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(50);
    expect(headers.get('x-faregate-error')).toBe('rate_limit_exceeded');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(at.upstream.seen).toHaveLength(1);
    expect(await at.calls(CUSTOMER)).toHaveLength(1);
  });

  it("is a RateLimitError to Anthropic's client, with the headers it knows", async () => {
    const { gateway: at, apiKey } = await start({ rpm: 1 });
    const client = new Anthropic({ baseURL: at.url, apiKey, maxRetries: 0 });
    const ask = () => client.messages.create({ model: 'nowhere/claude', max_tokens: 9, messages });
    expect(await errorOf(ask())).toBeInstanceOf(Anthropic.NotFoundError);
    const error = await errorOf(ask());
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    const { headers, error: body } = error as InstanceType<typeof Anthropic.RateLimitError>;
    expect(headers.get('anthropic-ratelimit-requests-remaining')).toBe('0');
    expect(body).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
  });
});

describe('a limit of calls at once', () => {
  it('is retried by the client of itself, after the second that retry-after names', async () => {
    const { gateway: at, client } = await start({ concurrency: 1 });
    const stream = await client(0).chat.completions.create({ model: 'demo/stalls', messages, stream: true });
    const begun = performance.now();
    const second = client(1).chat.completions.create({ model: 'demo/plain', messages });
    while (!at.log.some(({ code }) => code === 'rate_limit_exceeded')) await at.admin('/totals');
    at.upstream.release();
    for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk');
    expect((await second).choices[0]?.message.content).toContain('fare');
    // The client's own first pause is half a second at most.
    expect(performance.now() - begun).toBeGreaterThanOrEqual(1_000);
    expect(at.upstream.seen).toHaveLength(2);
  });
});

describe('a limit of tokens per minute', () => {
  it('counts what was billed, and refuses the call that comes after', async () => {
    const { gateway: at, client } = await start({ tpm: 20 });
    const ask = () => client(0).chat.completions.create({ model: 'demo/plain', messages });
    await ask();
    const error = await errorOf(ask());
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(
      (error as InstanceType<typeof OpenAI.RateLimitError>).headers.get('x-ratelimit-remaining-tokens'),
    ).toBe('1');
    expect(at.upstream.seen).toHaveLength(1);
  });
});
