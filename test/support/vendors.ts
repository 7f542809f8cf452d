/**
 * Anthropic, Google and OpenAI's newer routes for tests, over real HTTP: the shapes are the vendors', the words are ours.
 * The model's name says how a reply behaves: `cut` breaks off, `overloaded` fails, `advised` ran two models, `stalls` waits.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listening } from '../../src/simulator/http.ts';

export interface VendorRequest {
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Readonly<Record<string, unknown>>;
}

export interface TestVendors {
  /** Without a version. */
  readonly url: string;
  readonly seen: VendorRequest[];
  close(): Promise<void>;
}

export async function startTestVendors(): Promise<TestVendors> {
  const seen: VendorRequest[] = [];
  const http = listening(
    createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const url = new URL(request.url ?? '/', 'http://vendor');
      const body = JSON.parse(Buffer.concat(pieces).toString() || '{}') as Record<string, unknown>;
      const asked = { path: url.pathname, query: url.search, headers: request.headers, body };
      seen.push(asked);
      await answer(asked, response);
    }),
  );
  return { url: await http.listen(), seen, close: () => http.close() };
}

async function answer(asked: VendorRequest, response: ServerResponse): Promise<void> {
  if (asked.path === '/v1/models') return json(response, { data: [{ type: 'model', id: 'claude-plain' }] });
  if (asked.path === '/v1beta/models') return json(response, { models: [{ name: 'models/gemini-plain' }] });
  const gemini = /^\/(?:v1|v1beta)\/models\/(.+):(\w+)$/.exec(asked.path);
  const model = String(gemini?.[1] ?? asked.body['model'] ?? '');
  if (model.endsWith('overloaded')) return fails(response, { gemini: gemini !== null });
  if (gemini !== null) return answerGemini(model, gemini[2] ?? '', { asked, response });
  switch (asked.path) {
    case '/v1/messages':
      return asked.body['stream'] === true
        ? streamed(response, messageEvents(model), model)
        : json(response, message(model));
    case '/v1/messages/count_tokens':
      return json(response, { input_tokens: 7 });
    case '/v1/responses':
      return asked.body['stream'] === true
        ? streamed(response, responseEvents(model), model)
        : json(response, responseOf(model, 'completed'));
    case '/v1/responses/compact':
      return json(response, { ...responseOf(model, 'completed'), object: 'response.compaction' });
    case '/v1/responses/input_tokens':
      return json(response, { object: 'response.input_tokens', input_tokens: 7 });
    case '/v1/interactions':
    case '/v1beta/interactions':
      return asked.body['stream'] === true
        ? streamed(response, interactionEvents(model), model)
        : json(response, interaction(model));
    case '/v1/embeddings':
      return json(response, {
        object: 'list',
        model,
        data: [{ object: 'embedding', index: 0, embedding: [0.25, 0.5] }],
        usage: { prompt_tokens: 6, total_tokens: 6 },
      });
    case '/v1/completions':
      return asked.body['stream'] === true
        ? streamed(response, completionEvents(model), model)
        : json(response, completion(model, 'Paid at the gate.', { usage: CHAT_USAGE }));
    case '/v1/moderations':
      return json(response, { id: 'modr_1', model, results: [{ flagged: false, categories: {} }] });
    default:
      response.writeHead(404).end('{}');
  }
}

function fails(response: ServerResponse, { gemini }: { readonly gemini: boolean }): void {
  const error = gemini
    ? { error: { code: 503, status: 'UNAVAILABLE', message: 'The model is overloaded.' } }
    : { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
  json(response, error, gemini ? 503 : 529);
}

// Anthropic: 12 fresh, 30 read from a cache, 8 written to it, 9 generated; the advisor read 100 and wrote 20.

const READ = {
  input_tokens: 12,
  cache_read_input_tokens: 30,
  cache_creation_input_tokens: 8,
  cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 5 },
};
const none = { cache_read_input_tokens: 0, cache_creation_input_tokens: 0 };
const messagesUsage = (model: string): object => ({
  ...READ,
  output_tokens: 9,
  ...(model === 'claude-advised'
    ? {
        iterations: [
          { type: 'message', ...READ, output_tokens: 9 },
          {
            type: 'advisor_message',
            model: 'claude-opus-4-7',
            input_tokens: 100,
            output_tokens: 20,
            ...none,
          },
        ],
      }
    : {}),
});

const messageHead = (model: string): object => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: `${model}-20260101`,
});
const TOOL_USE = { type: 'tool_use', id: 'toolu_1', name: 'get_fare' };

const message = (model: string): object => ({
  ...messageHead(model),
  content:
    model === 'claude-tools'
      ? [{ ...TOOL_USE, input: { zone: 2 } }]
      : [{ type: 'text', text: 'Paid at the gate.' }],
  stop_reason: model === 'claude-tools' ? 'tool_use' : 'end_turn',
  stop_sequence: null,
  usage: messagesUsage(model),
});

function messageEvents(model: string): string[] {
  const tools = model === 'claude-tools';
  const events = [
    {
      type: 'message_start',
      message: {
        ...messageHead(model),
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { ...READ, output_tokens: 1 },
      },
    },
    {
      type: 'content_block_start',
      index: 0,
      content_block: tools ? { ...TOOL_USE, input: {} } : { type: 'text', text: '' },
    },
    { type: 'ping' },
    ...(tools ? ['{"zone"', ':2}'] : ['Paid at', ' the gate.']).map((text) => ({
      type: 'content_block_delta',
      index: 0,
      delta: tools ? { type: 'input_json_delta', partial_json: text } : { type: 'text_delta', text },
    })),
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: tools ? 'tool_use' : 'end_turn', stop_sequence: null },
      usage: messagesUsage(model),
    },
    { type: 'message_stop' },
  ];
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

// Google: 14 read, 4 of them from a cache, 5 shown and 6 thought.

const geminiUsage = (candidates: number): object => ({
  promptTokenCount: 14,
  cachedContentTokenCount: 4,
  candidatesTokenCount: candidates,
  thoughtsTokenCount: 6,
  totalTokenCount: 20 + candidates,
});
const geminiPart = (model: string, text: string, more: object = {}): object => ({
  candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }],
  usageMetadata: geminiUsage(more === NO_MORE ? 2 : 5),
  modelVersion: model,
  responseId: 'gem_1',
});
const NO_MORE = {};

function answerGemini(
  model: string,
  method: string,
  { asked, response }: { readonly asked: VendorRequest; readonly response: ServerResponse },
): Promise<void> | void {
  switch (method) {
    case 'generateContent':
      return json(response, geminiPart(model, 'Paid at the gate.', { finishReason: 'STOP' }));
    case 'streamGenerateContent': {
      const parts = [
        geminiPart(model, 'Paid at', NO_MORE),
        geminiPart(model, ' the gate.', { finishReason: 'STOP' }),
      ].map((part) => JSON.stringify(part, null, 2));
      if (asked.query === '?alt=sse') {
        const lines = parts.map((part) => `data: ${JSON.stringify(JSON.parse(part))}\r\n\r\n`);
        return streamed(response, lines, model);
      }
      return streamed(response, [`[${parts[0] ?? ''}`, `,\r\n${parts[1] ?? ''}`, ']'], model, {
        'content-type': 'application/json; charset=UTF-8',
      });
    }
    case 'embedContent':
      return json(response, {
        embedding: { values: [0.25, 0.5] },
        usageMetadata: { promptTokenCount: 6, promptTokenDetails: [{ modality: 'TEXT', tokenCount: 6 }] },
      });
    case 'batchEmbedContents':
      return json(response, {
        embeddings: [{ values: [0.25, 0.5] }],
        usageMetadata: { promptTokenCount: 6 },
      });
    case 'countTokens':
      return json(response, { totalTokens: 7 });
    default:
      response.writeHead(404).end('{}');
  }
}

const interaction = (model: string): object => ({
  id: 'int_1',
  object: 'interaction',
  status: 'completed',
  model,
  outputs: [{ type: 'text', text: 'Paid at the gate.' }],
  usage: {
    total_input_tokens: 14,
    total_cached_tokens: 4,
    total_output_tokens: 5,
    total_tool_use_tokens: 0,
    total_thought_tokens: 6,
    total_tokens: 25,
  },
});
const interactionEvents = (model: string): string[] =>
  [
    { event_type: 'interaction.created', interaction: { id: 'int_1', status: 'in_progress', model } },
    { event_type: 'step.delta', index: 0, delta: { type: 'text', text: 'Paid at the gate.' } },
    { event_type: 'interaction.completed', interaction: interaction(model) },
  ].map((event) => `event: ${event.event_type}\ndata: ${JSON.stringify(event)}\n\n`);

// OpenAI's newer routes: 15 read, 5 of them from a cache, 10 generated, 4 of them thought.

const responseOf = (model: string, status: string): object => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1_700_000_000,
  status,
  model: `${model}-2026-01-01`,
  error: null,
  incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
  output:
    status === 'in_progress'
      ? []
      : [
          {
            id: 'out_1',
            type: 'message',
            role: 'assistant',
            status,
            content: [{ type: 'output_text', text: 'Paid at the gate.', annotations: [] }],
          },
        ],
  usage:
    status === 'in_progress'
      ? null
      : {
          input_tokens: 15,
          input_tokens_details: { cached_tokens: 5 },
          output_tokens: 10,
          output_tokens_details: { reasoning_tokens: 4 },
          total_tokens: 25,
        },
});

function responseEvents(model: string): string[] {
  const status = model === 'incomplete' || model === 'failed' ? model : 'completed';
  const item = { item_id: 'out_1', output_index: 0, content_index: 0 };
  const part = { type: 'output_text', text: '', annotations: [] };
  const events = [
    { type: 'response.created', response: responseOf(model, 'in_progress') },
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: { id: 'out_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] },
    },
    { type: 'response.content_part.added', ...item, part },
    { type: 'response.output_text.delta', ...item, delta: 'Paid at' },
    { type: 'response.output_text.delta', ...item, delta: ' the gate.' },
    { type: `response.${status}`, response: responseOf(model, status) },
  ];
  return events.map((event, index) => {
    const data = JSON.stringify(Object.assign(event, { sequence_number: index }));
    return `event: ${event.type}\ndata: ${data}\n\n`;
  });
}

const CHAT_USAGE = { prompt_tokens: 6, completion_tokens: 5, total_tokens: 11 };
const completion = (model: string, text: string, more: object = {}): object => ({
  id: 'cmpl_1',
  object: 'text_completion',
  created: 1_700_000_000,
  model,
  choices: [{ text, index: 0, logprobs: null, finish_reason: null }],
  ...more,
});
const completionEvents = (model: string): string[] => [
  ...['Paid at', ' the gate.'].map((text) => `data: ${JSON.stringify(completion(model, text))}\n\n`),
  `data: ${JSON.stringify(completion(model, '', { choices: [], usage: CHAT_USAGE }))}\n\n`,
  'data: [DONE]\n\n',
];

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Pieces yield to each other, so that they arrive apart; `cut` dies before the last two thirds are through. */
async function streamed(
  response: ServerResponse,
  pieces: readonly string[],
  model: string,
  headers: Record<string, string> = { 'content-type': 'text/event-stream' },
): Promise<void> {
  response.writeHead(200, headers);
  const until = model.endsWith('cut') ? Math.ceil(pieces.length / 2) : pieces.length;
  for (const piece of pieces.slice(0, until)) {
    response.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (until === pieces.length) response.end();
  else response.destroy();
}
