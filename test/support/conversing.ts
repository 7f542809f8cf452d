/**
 * A vendor that answers what it is asked, in whichever dialect it is asked: with the tool's call where a tool is offered,
 * with words about the result once that is there, with JSON where a schema is given, about the picture where there is one.
 * So one set of expectations holds for every client and every provider. `overloaded` and `waits` in a model's name fail
 * and wait, after the first words, for `release`.
 */
import { createServer, type ServerResponse } from 'node:http';
import { listening } from '../../src/simulator/http.ts';

/** Read, and generated: what every reply reports, so that every bill is known. */
export const TOKENS = { input: 21, output: 8 };
export const ANSWERS = {
  plain: 'Paid at the gate.',
  picture: 'A red gate.',
  json: '{"zone":2}',
  result: 'Zone 2 costs 240.',
};
const TOOL = { name: 'get_fare', arguments: '{"zone":2}' };

export interface ConversingVendor {
  /** Without a version. */
  readonly url: string;
  readonly seen: { readonly path: string; readonly body: Readonly<Record<string, unknown>> }[];
  /** Lets streams of `waits` go on to their end. */
  release(): void;
  close(): Promise<void>;
}

type Dialect = 'chat' | 'responses' | 'messages' | 'gemini';
type Said = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'tool' };
interface Reply {
  readonly model: string;
  readonly said: Said;
}

export async function startConversingVendor(): Promise<ConversingVendor> {
  const seen: { path: string; body: Record<string, unknown> }[] = [];
  let released = Promise.withResolvers<void>();
  const http = listening(
    createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const text = Buffer.concat(pieces).toString();
      const body = JSON.parse(text || '{}') as Record<string, unknown>;
      const path = request.url ?? '';
      seen.push({ path, body });
      const asked = askedOf(path, body);
      if (asked === undefined) return void json(response, { error: { message: 'No such path.' } }, 404);
      const model = asked.model;
      if (model.endsWith('overloaded'))
        return void json(response, ERRORS[asked.dialect], asked.dialect === 'messages' ? 529 : 503);
      const reply = { model, said: saidTo(text) };
      if (!asked.stream) return void json(response, WHOLE[asked.dialect](reply));
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const events = STREAMED[asked.dialect](reply);
      for (const [index, event] of events.entries()) {
        if (model.endsWith('waits') && index === FIRST_WORDS[asked.dialect]) await released.promise;
        response.write(event);
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    }),
  );
  return {
    url: await http.listen(),
    seen,
    release() {
      released.resolve();
      released = Promise.withResolvers();
    },
    close: () => http.close(),
  };
}

/** How many events of a stream have been sent with the first words. */
const FIRST_WORDS: Readonly<Record<Dialect, number>> = { chat: 2, responses: 5, messages: 3, gemini: 1 };

function askedOf(
  path: string,
  body: Readonly<Record<string, unknown>>,
): { readonly dialect: Dialect; readonly model: string; readonly stream: boolean } | undefined {
  const gemini = /\/models\/([^/:]+):(generateContent|streamGenerateContent)/.exec(path);
  if (gemini !== null)
    return { dialect: 'gemini', model: gemini[1] ?? '', stream: gemini[2] === 'streamGenerateContent' };
  const stream = body['stream'] === true;
  const model = String(body['model']);
  if (path.startsWith('/v1/chat/completions')) return { dialect: 'chat', model, stream };
  if (path.startsWith('/v1/responses')) return { dialect: 'responses', model, stream };
  if (path.startsWith('/v1/messages')) return { dialect: 'messages', model, stream };
  return undefined;
}

/** Read off the bytes: the words below stand in no other place of the tests' requests. */
function saidTo(request: string): Said {
  if (/"role":\s*"tool"|function_call_output|"tool_result"|functionResponse/.test(request))
    return { kind: 'text', text: ANSWERS.result };
  if (request.includes(`"${TOOL.name}"`)) return { kind: 'tool' };
  if (/json_schema|responseJsonSchema|responseSchema|output_format|output_config/.test(request))
    return { kind: 'text', text: ANSWERS.json };
  if (/image_url|input_image|"image"|inlineData|inline_data/.test(request))
    return { kind: 'text', text: ANSWERS.picture };
  return { kind: 'text', text: ANSWERS.plain };
}

const halves = (text: string): readonly string[] => [text.slice(0, 5), text.slice(5)];
const sse = (data: object, named = false): string =>
  `${named && 'type' in data ? `event: ${String(data.type)}\n` : ''}data: ${JSON.stringify(data)}\n\n`;

const openaiError = { error: { message: 'Overloaded.', type: 'server_error', code: null, param: null } };
const ERRORS: Readonly<Record<Dialect, object>> = {
  chat: openaiError,
  responses: openaiError,
  messages: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded.' } },
  gemini: { error: { code: 503, status: 'UNAVAILABLE', message: 'Overloaded.' } },
};

const chatUsage = {
  prompt_tokens: TOKENS.input,
  completion_tokens: TOKENS.output,
  total_tokens: TOKENS.input + TOKENS.output,
};
const chatHead = (model: string, object: string): object => ({
  id: 'chatcmpl-1',
  object,
  created: 1_700_000_000,
  model,
});
const chatCall = { id: 'call_1', type: 'function', function: TOOL };
const chatWhole = ({ model, said }: Reply): object => ({
  ...chatHead(model, 'chat.completion'),
  choices: [
    {
      index: 0,
      message:
        said.kind === 'text'
          ? { role: 'assistant', content: said.text, refusal: null }
          : { role: 'assistant', content: null, refusal: null, tool_calls: [chatCall] },
      logprobs: null,
      finish_reason: said.kind === 'text' ? 'stop' : 'tool_calls',
    },
  ],
  usage: chatUsage,
});
function chatStreamed({ model, said }: Reply): readonly string[] {
  const chunk = (delta: object, finish: string | null = null): string =>
    sse({
      ...chatHead(model, 'chat.completion.chunk'),
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    });
  const parts =
    said.kind === 'text'
      ? halves(said.text).map((content) => chunk({ content }))
      : [
          chunk({ tool_calls: [{ index: 0, ...chatCall, function: { ...TOOL, arguments: '' } }] }),
          ...halves(TOOL.arguments).map((text) =>
            chunk({ tool_calls: [{ index: 0, function: { arguments: text } }] }),
          ),
        ];
  return [
    chunk({ role: 'assistant', content: said.kind === 'text' ? '' : null }),
    ...parts,
    chunk({}, said.kind === 'text' ? 'stop' : 'tool_calls'),
    sse({ ...chatHead(model, 'chat.completion.chunk'), choices: [], usage: chatUsage }),
    'data: [DONE]\n\n',
  ];
}

const responsesItem = (said: Said): object =>
  said.kind === 'text'
    ? {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: said.text, annotations: [], logprobs: [] }],
      }
    : { id: 'fc_1', type: 'function_call', status: 'completed', call_id: 'call_1', ...TOOL };
const responsesWhole = ({ model, said }: Reply, status = 'completed'): object => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1_700_000_000,
  status,
  model,
  error: null,
  incomplete_details: null,
  instructions: null,
  metadata: {},
  parallel_tool_calls: true,
  tool_choice: 'auto',
  tools: [],
  temperature: 1,
  top_p: 1,
  output: status === 'completed' ? [responsesItem(said)] : [],
  usage:
    status === 'completed'
      ? {
          input_tokens: TOKENS.input,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: TOKENS.output,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: TOKENS.input + TOKENS.output,
        }
      : null,
});
function responsesStreamed(reply: Reply): readonly string[] {
  const { said } = reply;
  const at = { item_id: said.kind === 'text' ? 'msg_1' : 'fc_1', output_index: 0 };
  const inPart = { ...at, content_index: 0 };
  const item = responsesItem(said);
  const whole = said.kind === 'text' ? said.text : TOOL.arguments;
  const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
  const body: object[] =
    said.kind === 'text'
      ? [
          { type: 'response.content_part.added', ...inPart, part },
          ...halves(whole).map((delta) =>
            Object.assign({ type: 'response.output_text.delta', delta, logprobs: [] }, inPart),
          ),
          { type: 'response.output_text.done', ...inPart, text: whole, logprobs: [] },
          { type: 'response.content_part.done', ...inPart, part: { ...part, text: whole } },
        ]
      : [
          ...halves(whole).map((delta) =>
            Object.assign({ type: 'response.function_call_arguments.delta', delta }, at),
          ),
          {
            type: 'response.function_call_arguments.done',
            ...at,
            name: TOOL.name,
            arguments: whole,
          },
        ];
  const opened = {
    ...item,
    status: 'in_progress',
    ...(said.kind === 'text' ? { content: [] } : { arguments: '' }),
  };
  const events: object[] = [
    { type: 'response.created', response: responsesWhole(reply, 'in_progress') },
    { type: 'response.in_progress', response: responsesWhole(reply, 'in_progress') },
    { type: 'response.output_item.added', output_index: 0, item: opened },
    ...body,
    { type: 'response.output_item.done', output_index: 0, item },
    { type: 'response.completed', response: responsesWhole(reply) },
  ];
  return events.map((event, index) => sse({ ...event, sequence_number: index }, true));
}

const messagesBlock = (said: Said): object =>
  said.kind === 'text'
    ? { type: 'text', text: said.text }
    : { type: 'tool_use', id: 'toolu_1', name: TOOL.name, input: JSON.parse(TOOL.arguments) as object };
const messagesUsage = {
  input_tokens: TOKENS.input,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  output_tokens: TOKENS.output,
};
const messagesWhole = ({ model, said }: Reply): object => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model,
  content: [messagesBlock(said)],
  stop_reason: said.kind === 'text' ? 'end_turn' : 'tool_use',
  stop_sequence: null,
  usage: messagesUsage,
});
function messagesStreamed(reply: Reply): readonly string[] {
  const { said } = reply;
  const text = said.kind === 'text';
  const events = [
    {
      type: 'message_start',
      message: {
        ...messagesWhole(reply),
        content: [],
        stop_reason: null,
        usage: { ...messagesUsage, output_tokens: 1 },
      },
    },
    {
      type: 'content_block_start',
      index: 0,
      content_block: text ? { type: 'text', text: '' } : { ...messagesBlock(said), input: {} },
    },
    ...halves(text ? said.text : TOOL.arguments).map((piece) => ({
      type: 'content_block_delta',
      index: 0,
      delta: text ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece },
    })),
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: text ? 'end_turn' : 'tool_use', stop_sequence: null },
      usage: messagesUsage,
    },
    { type: 'message_stop' },
  ];
  return events.map((event) => sse(event, true));
}

const geminiChunk = (model: string, parts: readonly object[], finish?: string): object => ({
  candidates: [
    {
      content: { role: 'model', parts },
      index: 0,
      ...(finish === undefined ? {} : { finishReason: finish }),
    },
  ],
  usageMetadata: {
    promptTokenCount: TOKENS.input,
    candidatesTokenCount: TOKENS.output,
    totalTokenCount: TOKENS.input + TOKENS.output,
  },
  modelVersion: model,
  responseId: 'gem_1',
});
const geminiCall = { functionCall: { name: TOOL.name, args: JSON.parse(TOOL.arguments) as object } };
const geminiWhole = ({ model, said }: Reply): object =>
  geminiChunk(model, [said.kind === 'text' ? { text: said.text } : geminiCall], 'STOP');
function geminiStreamed({ model, said }: Reply): readonly string[] {
  if (said.kind === 'tool') return [sse(geminiChunk(model, [geminiCall], 'STOP'))];
  const [first = '', rest = ''] = halves(said.text);
  return [
    sse(geminiChunk(model, [{ text: first }])),
    sse(geminiChunk(model, [{ text: rest.slice(0, 3) }])),
    sse(geminiChunk(model, [{ text: rest.slice(3) }], 'STOP')),
  ];
}

const WHOLE: Readonly<Record<Dialect, (reply: Reply) => object>> = {
  chat: chatWhole,
  responses: (reply) => responsesWhole(reply),
  messages: messagesWhole,
  gemini: geminiWhole,
};
const STREAMED: Readonly<Record<Dialect, (reply: Reply) => readonly string[]>> = {
  chat: chatStreamed,
  responses: responsesStreamed,
  messages: messagesStreamed,
  gemini: geminiStreamed,
};

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** The vendor as a provider of each dialect, `chatting` with chat completions alone. */
export function conversingProviders({ url }: Pick<ConversingVendor, 'url'>) {
  const key = { api_key: '${UPSTREAM_KEY}' };
  const compatible = { ...key, type: 'openai-compatible', base_url: `${url}/v1` };
  return {
    openai: { ...key, base_url: `${url}/v1` },
    anthropic: { ...key, base_url: url },
    google: { ...key, base_url: url },
    chatting: { ...compatible, endpoints: ['chat.completions'] },
  };
}
