/**
 * What other gateways have billed wrongly, each as a sentence of what is right, through a running gateway: the shapes are
 * the vendors', the numbers are those of the reports that were made of it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough, type Got, type Wanted } from '../support/call.ts';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import {
  type Exchange,
  type Script,
  type ScriptedUpstream,
  sse,
  startScripted,
} from '../support/scripted.ts';

const named = (type: string, more: object = {}): string => `event: ${type}\n${event({ type, ...more })}`;
const json =
  (body: unknown): Script =>
  ({ response }) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));

const STOP = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const SAID = delta({ content: 'Paid.' });
const chat = (usage?: object): Script =>
  json({
    id: 'c1',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
    ...(usage === undefined ? {} : { usage }),
  });
const part = (usage?: object, more: object = {}): object => ({
  candidates: [{ index: 0, content: { role: 'model', parts: [{ text: 'Paid' }] }, ...more }],
  ...(usage === undefined ? {} : { usageMetadata: usage }),
});
const STOPS = { finishReason: 'STOP' };
const running = (count: number): object => ({
  promptTokenCount: 14,
  candidatesTokenCount: count,
  totalTokenCount: 14 + count,
});
const response = (status: string, usage: object | null): object => ({
  id: 'r1',
  status,
  model: 'm',
  output: [],
  usage,
});
const RESPONSES_USAGE = { input_tokens: 607, output_tokens: 417, total_tokens: 1024 };
const started = (usage: object): string =>
  named('message_start', { message: { id: 'msg_1', model: 'm', usage } });
const SPOKEN = named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Paid.' } });
const closed = (usage: object): string =>
  named('message_delta', { delta: { stop_reason: 'end_turn' }, usage }) + named('message_stop');
const call = (more: object): string => delta({ tool_calls: [{ index: 0, ...more }] });
const asked = ({ body }: Exchange): boolean =>
  (JSON.parse(body) as { stream_options?: { include_usage?: boolean } }).stream_options?.include_usage ===
  true;
/** As OpenAI does it: usage for those who ask for it. */
const ifAsked = (text: string): Script => {
  return (exchange) => sse(text + (asked(exchange) ? usageChunk(9, 2) : '') + DONE)(exchange);
};
const died = (text: string): Script => {
  return ({ response: reply }) => {
    reply.writeHead(200, { 'content-type': 'text/event-stream' });
    reply.write(text);
    setTimeout(() => reply.destroy(), 5);
  };
};

interface Case extends Partial<Wanted> {
  readonly script: Script;
  /** What is billed, as `input output`; a range where it is ours. */
  readonly bill: readonly [number | 'estimated', number | 'estimated'];
}

const GEMINI = { contents: [{ role: 'user', parts: [{ text: 'What of the fare?' }] }], messages: undefined };
const onChat = { path: '/v1/chat/completions' };
const onResponses = { path: '/v1/responses', more: { input: 'What of the fare?', messages: undefined } };
const onMessages = { path: '/v1/messages', more: { max_tokens: 50 } };
const onGemini = { more: GEMINI };
const streamed = { stream: true };

/** By what is right. */
const CASES: Readonly<Record<string, Case>> = {
  'usage is asked for where the caller did not': {
    ...onChat,
    ...streamed,
    script: ifAsked(SAID + STOP),
    bill: [9, 2],
  },
  'usage is asked for on completions, too': {
    path: '/v1/completions',
    more: { prompt: 'What of the fare?', messages: undefined },
    ...streamed,
    script: ifAsked(event({ id: 'c1', choices: [{ index: 0, text: 'Paid.', finish_reason: 'stop' }] })),
    bill: [9, 2],
  },
  'a stream whose provider says nothing is no free stream': {
    ...onChat,
    ...streamed,
    script: sse(SAID + STOP + DONE),
    bill: ['estimated', 'estimated'],
  },
  'a reply whose provider says nothing is no free reply': {
    ...onChat,
    script: chat(),
    bill: ['estimated', 'estimated'],
  },
  'a stream of tool calls alone is estimated by their names and arguments': {
    ...onChat,
    ...streamed,
    script: sse(
      call({ id: 'call_1', type: 'function', function: { name: 'look_up_the_fare', arguments: '' } }) +
        call({ function: { arguments: '{"zone":"the inner city"}' } }) +
        STOP +
        DONE,
    ),
    bill: ['estimated', 'estimated'],
  },
  'thoughts count in an estimate': {
    ...onChat,
    ...streamed,
    script: sse(delta({ reasoning_content: 'Let me think of the fare at length.' }) + STOP + DONE),
    bill: ['estimated', 'estimated'],
  },
  "Gemini's running sums are not added up": {
    ...onGemini,
    path: ':streamGenerateContent?alt=sse',
    script: sse(
      Array.from({ length: 20 }, (_, at) => event(part(running(at + 1), at === 19 ? STOPS : {}))).join(''),
    ),
    bill: [14, 20],
  },
  'running sums of chat completions are not added up': {
    ...onChat,
    ...streamed,
    script: sse(
      [1, 2, 3]
        .map((count) =>
          event({
            choices: [{ index: 0, delta: { content: 'x' } }],
            usage: { prompt_tokens: 9, completion_tokens: count },
          }),
        )
        .join('') +
        STOP +
        usageChunk(9, 3) +
        DONE,
    ),
    bill: [9, 3],
  },
  'what Anthropic tells at the start and again at the end is told once': {
    ...onMessages,
    ...streamed,
    script: sse(
      started({
        input_tokens: 9,
        cache_read_input_tokens: 1,
        cache_creation_input_tokens: 0,
        output_tokens: 1,
      }) +
        SPOKEN +
        closed({
          input_tokens: 9,
          cache_read_input_tokens: 1,
          cache_creation_input_tokens: 0,
          output_tokens: 16,
        }),
    ),
    bill: [10, 16],
  },
  'what the end leaves out stands as the start told it': {
    ...onMessages,
    ...streamed,
    script: sse(
      started({
        input_tokens: 9,
        cache_read_input_tokens: 100,
        cache_creation_input_tokens: 50,
        output_tokens: 1,
      }) +
        SPOKEN +
        closed({ output_tokens: 16 }),
    ),
    bill: [159, 16],
  },
  'a response is billed by the usage inside its last event': {
    ...onResponses,
    ...streamed,
    script: sse(named('response.completed', { response: response('completed', RESPONSES_USAGE) })),
    bill: [607, 417],
  },
  'a response that stayed incomplete is billed': {
    ...onResponses,
    ...streamed,
    script: sse(named('response.incomplete', { response: response('incomplete', RESPONSES_USAGE) })),
    bill: [607, 417],
  },
  'a response that failed is billed what it says it used': {
    ...onResponses,
    ...streamed,
    script: sse(named('response.failed', { response: response('failed', RESPONSES_USAGE) })),
    bill: [607, 417],
  },
  'a stream that dies behind its start is billed what the start told': {
    ...onMessages,
    ...streamed,
    script: died(started({ input_tokens: 607, output_tokens: 1 }) + SPOKEN),
    bill: [607, 'estimated'],
  },
  "OpenAI's cached tokens lie inside the prompt": {
    ...onChat,
    script: chat({
      prompt_tokens: 2006,
      completion_tokens: 300,
      prompt_tokens_details: { cached_tokens: 1920 },
    }),
    bill: [2006, 300],
  },
  "Anthropic's cached tokens lie beside the input": {
    ...onMessages,
    script: json({
      id: 'msg_1',
      content: [],
      stop_reason: 'end_turn',
      usage: {
        input_tokens: 86,
        cache_read_input_tokens: 1920,
        cache_creation_input_tokens: 40,
        output_tokens: 300,
      },
    }),
    bill: [2046, 300],
  },
  "Gemini's cached tokens lie inside the prompt, streamed as well": {
    ...onGemini,
    path: ':streamGenerateContent?alt=sse',
    script: sse(
      event(
        part(
          {
            promptTokenCount: 262_960,
            cachedContentTokenCount: 257_955,
            candidatesTokenCount: 10,
            totalTokenCount: 262_970,
          },
          STOPS,
        ),
      ),
    ),
    bill: [262_960, 10],
  },
  "Gemini's thoughts are output beside the candidates": {
    ...onGemini,
    path: ':generateContent',
    script: json(
      part(
        { promptTokenCount: 10, candidatesTokenCount: 151, thoughtsTokenCount: 382, totalTokenCount: 543 },
        STOPS,
      ),
    ),
    bill: [10, 533],
  },
  "Gemini's thoughts are inside the candidates where the total says so": {
    ...onGemini,
    path: ':generateContent',
    script: json(
      part(
        { promptTokenCount: 10, candidatesTokenCount: 533, thoughtsTokenCount: 382, totalTokenCount: 543 },
        STOPS,
      ),
    ),
    bill: [10, 533],
  },
  "what Gemini's tools read is input": {
    ...onGemini,
    path: ':generateContent',
    script: json(
      part(
        { promptTokenCount: 10, toolUsePromptTokenCount: 40, candidatesTokenCount: 5, totalTokenCount: 55 },
        STOPS,
      ),
    ),
    bill: [50, 5],
  },
  'reasoning lies inside the completion': {
    ...onChat,
    script: chat({
      prompt_tokens: 9,
      completion_tokens: 300,
      total_tokens: 309,
      completion_tokens_details: { reasoning_tokens: 256 },
    }),
    bill: [9, 300],
  },
  'reasoning lies beside the completion where the total says so': {
    ...onChat,
    script: chat({
      prompt_tokens: 9,
      completion_tokens: 44,
      total_tokens: 309,
      completion_tokens_details: { reasoning_tokens: 256 },
    }),
    bill: [9, 300],
  },
  'embeddings have no output': {
    path: '/v1/embeddings',
    more: { input: 'fare', messages: undefined },
    script: json({ data: [{ embedding: [1] }], usage: { prompt_tokens: 6, total_tokens: 6 } }),
    bill: [6, 0],
  },
  "embeddings without usage, as Gemini's, are estimated, not free": {
    more: { content: { parts: [{ text: 'What of the fare?' }] }, messages: undefined },
    path: ':embedContent',
    script: json({ embedding: { values: [1] } }),
    bill: ['estimated', 0],
  },
};

const TITLES = Object.keys(CASES);
const providerOf = ({ path = '' }: Partial<Wanted>): string =>
  path === '/v1/messages' ? 'claude' : path.startsWith(':') ? 'gemini' : 'odd';

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  const scripts = TITLES.map((title, at) => [`m${at}`, CASES[title]!.script] as const);
  upstream = await startScripted(Object.fromEntries(scripts));
  gateway = await startTestGateway({
    providers: {
      odd: { type: 'openai', base_url: `${upstream.url}/v1`, api_key: 'x' },
      claude: { type: 'anthropic', base_url: upstream.url, api_key: 'x' },
      gemini: { type: 'google', base_url: upstream.url, api_key: 'x' },
    },
    config: { retries: { max: 0 } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

function ask(title: string): Promise<Got> {
  const { path = '', more = {}, stream = false } = CASES[title]!;
  const model = `${providerOf(CASES[title]!)}/m${TITLES.indexOf(title)}`;
  if (!path.startsWith(':')) return callThrough(gateway, { model, path, more, stream });
  const inPath = { model, path: `/v1beta/models/${model}${path}`, more: { ...more, model: undefined } };
  return callThrough(gateway, inPath);
}

describe('what others have billed wrongly', () => {
  it.each(TITLES)('%s', async (title) => {
    const { call: record } = await ask(title);
    const count = (type: string): number =>
      Number(record.events.find(({ token_type: each }) => each === type)?.value ?? 0);
    const found = [count('input'), count('output')];
    const { bill } = CASES[title]!;
    for (const [at, due] of bill.entries()) {
      if (due === 'estimated') expect(found[at]).toBeGreaterThan(0);
      else expect(found[at]).toBe(due);
    }
    expect(record.usage_source).toBe(bill.includes('estimated') ? 'estimated' : 'reported');
    // Zero halves are not sent, and no half twice.
    expect(record.events).toHaveLength(found.filter((value) => value > 0).length);
  });

  it('the extra chunk of usage is kept from a caller who did not ask for it', async () => {
    const { text } = await ask(TITLES[0]!);
    expect(text).toBe(SAID + STOP + DONE);
  });
});
