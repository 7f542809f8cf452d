import OpenAI from 'openai';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createDemoProvider, type DemoProviderOptions } from '../../src/simulator/demo-provider.ts';

async function startDemo(options: Partial<DemoProviderOptions> = {}) {
  const demo = createDemoProvider({ now: () => Date.UTC(2026, 10, 21), ...options });
  onTestFinished(() => demo.close());
  const url = await demo.listen();
  const openai = new OpenAI({ apiKey: 'sk-demo', baseURL: `${url}/v1`, maxRetries: 0, timeout: 5_000 });
  return { demo, url, openai };
}

const ask = (content: string) => [{ role: 'user' as const, content }];

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' }, unit: { enum: ['C', 'F'] } },
    },
  },
};

test('echo answers the last message, a token a word', async () => {
  const { openai, demo } = await startDemo();
  const reply = await openai.chat.completions.create({
    model: 'demo/echo',
    messages: [{ role: 'system', content: 'Be kind.' }, ...ask('Hello there,  world')],
  });
  expect(reply.choices[0]).toMatchObject({
    message: { role: 'assistant', content: 'Hello there,  world' },
    finish_reason: 'stop',
  });
  expect(reply.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 });
  expect(demo.generated.get(reply.id)).toEqual({
    id: reply.id,
    model: 'echo',
    streamed: false,
    inputTokens: 7,
    outputTokens: 3,
    finished: true,
  });
});

test('a stream without usage asked has none', async () => {
  const { openai } = await startDemo();
  const stream = await openai.chat.completions.create({ model: 'echo', messages: ask('a b'), stream: true });
  const chunks = await collect(stream);
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('a b');
  expect(chunks.every((chunk) => !('usage' in chunk) && chunk.choices.length === 1)).toBe(true);
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
});

test('a stream with usage asked has null on every chunk and the count on a last one without choices', async () => {
  const { openai } = await startDemo();
  const stream = await openai.chat.completions.create({
    model: 'echo',
    messages: ask('a b'),
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await collect(stream);
  expect(chunks.slice(0, -1).map(({ usage }) => usage)).toEqual(chunks.slice(1).map(() => null));
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
});

test('a stream ends with the marker', async () => {
  const { url } = await startDemo();
  const body = JSON.stringify({ model: 'count', messages: ask('2'), stream: true });
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/);
});

test('count says as many words as the message asks for', async () => {
  const { openai } = await startDemo();
  const reply = await openai.chat.completions.create({ model: 'count', messages: ask('Say 300 words') });
  expect(reply.usage?.completion_tokens).toBe(300);
  expect(reply.choices[0]?.message.content).toMatch(/^1 2 3 .* 300 $/);
});

test.each(['max_tokens', 'max_completion_tokens'] as const)('%s cuts the reply', async (limit) => {
  const { openai } = await startDemo();
  const reply = await openai.chat.completions.create({ model: 'count', messages: ask('9'), [limit]: 4 });
  expect(reply.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: '1 2 3 4 ' } });
  expect(reply.usage?.completion_tokens).toBe(4);
});

test('tools calls the first tool with arguments that fit its schema', async () => {
  const { openai } = await startDemo();
  const reply = await openai.chat.completions.create({
    model: 'tools',
    messages: ask('Oslo'),
    tools: [weather],
  });
  const [choice] = reply.choices;
  expect(choice?.finish_reason).toBe('tool_calls');
  const [call] = choice?.message.tool_calls ?? [];
  if (call?.type !== 'function') throw new Error('no call of a function');
  expect(call.function.name).toBe('weather');
  expect(JSON.parse(call.function.arguments)).toEqual({ city: 'Oslo', days: 1, unit: 'C' });
});

test('tools streams the arguments in pieces that the SDK puts together', async () => {
  const { openai } = await startDemo();
  const stream = openai.chat.completions.stream({ model: 'tools', messages: ask('Oslo'), tools: [weather] });
  const { choices } = await stream.finalChatCompletion();
  const [call] = choices[0]?.message.tool_calls ?? [];
  if (call?.type !== 'function') throw new Error('no call of a function');
  expect(JSON.parse(call.function.arguments)).toEqual({ city: 'Oslo', days: 1, unit: 'C' });
});

test('tools answers a tool result in words', async () => {
  const { openai } = await startDemo();
  const reply = await openai.chat.completions.create({
    model: 'tools',
    messages: [...ask('Oslo'), { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' }],
    tools: [weather],
  });
  expect(reply.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'Rain.' } });
});

test('fail is a 500 in the shape the SDK reads', async () => {
  const { openai } = await startDemo();
  const work = openai.chat.completions.create({ model: 'fail', messages: ask('x') });
  await expect(work).rejects.toMatchObject({ status: 500, code: 'server_error' });
});

test('an unknown model is a 404 with the code model_not_found', async () => {
  const { openai } = await startDemo();
  const work = openai.chat.completions.create({ model: 'gpt-9', messages: ask('x') });
  await expect(work).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
});

test('broken JSON and a request without messages are a 400', async () => {
  const { url } = await startDemo();
  for (const body of ['{', '{"model":"echo"}', '{"model":"echo","messages":[]}']) {
    const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body });
    expect(response.status).toBe(400);
  }
});

test('fields it does not know are taken', async () => {
  const { openai } = await startDemo();
  const reply = await openai.chat.completions.create({
    model: 'echo',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'parts too' }] }],
    temperature: 0.2,
    metadata: { no_such_meaning: 'here' },
    logit_bias: { 50256: -100 },
  });
  expect(reply.choices[0]?.message.content).toBe('parts too');
});

test('the models are listed', async () => {
  const { openai } = await startDemo();
  const models = await collect(openai.models.list());
  expect(models.map(({ id }) => id)).toEqual(['echo', 'count', 'tools', 'slow', 'fail']);
});

test('a key is asked for when one is configured', async () => {
  const { openai } = await startDemo({ apiKey: 'sk-other' });
  const work = openai.chat.completions.create({ model: 'echo', messages: ask('x') });
  await expect(work).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' });
});

test('a caller that leaves ends the generating, and the count is of what was sent', async () => {
  const { openai, demo } = await startDemo({ slowDelayMs: 5 });
  const stream = await openai.chat.completions.create({
    model: 'slow',
    messages: ask('a '.repeat(5_000)),
    stream: true,
  });
  let seen = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content !== '') seen += 1;
    if (seen === 3) break;
  }
  const [count] = demo.generated.values();
  await vi.waitFor(() => {
    const before = count?.outputTokens;
    expect(before).toBeGreaterThanOrEqual(3);
    expect(before).toBeLessThan(1_000);
  });
  expect(count?.finished).toBe(false);
});

test('what was generated can be read over HTTP', async () => {
  const { openai, url } = await startDemo();
  const { id } = await openai.chat.completions.create({ model: 'echo', messages: ask('x') });
  const response = await fetch(`${url}/_demo/generated`);
  expect(await response.json()).toMatchObject([{ id, outputTokens: 1, finished: true }]);
});
