/**
 * A provider to try the gateway with: OpenAI's chat completions over real HTTP, answered by models that need no GPU and
 * always say the same. It keeps its own count of what it generated, which a bill can be held against.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { DEMO_MODELS, demoModel, demoReply, promptTokens } from './demo-replies.ts';
import type { DemoReply, DemoRequest } from './demo-replies.ts';
import { headerText, listening, readBody, sendJson, StripeFailure, type Listening } from './http.ts';

export interface DemoProviderOptions {
  /** Seconds of `created`; milliseconds since the epoch. */
  readonly now: () => number;
  /** The key asked for; without it, any. */
  readonly apiKey?: string;
  /** Waited before each word of every model; 0 by default. */
  readonly wordDelayMs?: number;
  /** Waited before each word of `slow`; 200 by default. */
  readonly slowDelayMs?: number;
}

/** What one reply came to. `outputTokens` grows as words are written, so a reply cut off has what was sent. */
export interface Generated {
  readonly id: string;
  readonly model: string;
  readonly streamed: boolean;
  readonly inputTokens: number;
  outputTokens: number;
  finished: boolean;
}

export interface DemoProvider extends Listening {
  /** By response id; the last 100,000. */
  readonly generated: ReadonlyMap<string, Generated>;
}

const BODY_BYTES_MAX = 32 * 1_048_576;
const GENERATED_MAX = 100_000;

const content = z.union([
  z.string(),
  z.null(),
  z.array(z.looseObject({ type: z.string().optional(), text: z.string().optional() })),
]);
const requestSchema = z.looseObject({
  model: z.string(),
  messages: z.array(z.looseObject({ role: z.string(), content: content.optional() })).min(1),
  tools: z
    .array(
      z.looseObject({
        function: z.looseObject({ name: z.string(), parameters: z.unknown().optional() }).optional(),
      }),
    )
    .nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});

interface Parts extends DemoProviderOptions {
  readonly generated: Map<string, Generated>;
  readonly stop: AbortSignal;
}

/** Serves `POST /v1/chat/completions`, `GET /v1/models` and `GET /_demo/generated`, the count as a list. */
export function createDemoProvider(options: DemoProviderOptions): DemoProvider {
  const generated = new Map<string, Generated>();
  const stop = new AbortController();
  const parts: Parts = { ...options, generated, stop: stop.signal };
  const http = listening(
    createServer((request, response) => {
      serve(parts, request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        sendJson(response, failure(500, 'server_error', error instanceof Error ? error.message : 'unknown'));
      });
    }),
  );
  return {
    generated,
    listen: http.listen,
    get url() {
      return http.url;
    },
    close: async () => {
      stop.abort();
      await http.close();
    },
  };
}

async function serve(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://demo').pathname;
  const route = `${request.method} ${path}`;
  if (route === 'GET /_demo/generated') {
    return sendJson(response, { status: 200, body: [...parts.generated.values()] });
  }
  response.setHeader('x-request-id', `req_${randomBytes(12).toString('hex')}`);
  if (parts.apiKey !== undefined && headerText(request, 'authorization') !== `Bearer ${parts.apiKey}`) {
    return sendJson(response, failure(401, 'invalid_api_key', 'Incorrect API key provided.'));
  }
  if (route === 'GET /v1/models') return sendJson(response, modelList());
  if (route !== 'POST /v1/chat/completions') {
    return sendJson(response, failure(404, 'unknown_url', `Unknown request URL: ${route}.`));
  }
  return complete(parts, request, response);
}

async function complete(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const asked = await readRequest(request);
  if ('status' in asked) return sendJson(response, asked);
  const model = demoModel(asked.model);
  if (model === undefined) {
    const known = DEMO_MODELS.join(', ');
    return sendJson(
      response,
      failure(404, 'model_not_found', `The model ${asked.model} does not exist. Known: ${known}.`),
    );
  }
  if (model === 'fail') {
    return sendJson(response, failure(500, 'server_error', 'The model fail always fails.'));
  }
  const reply = demoReply(model, asked, { word: parts.wordDelayMs ?? 0, slow: parts.slowDelayMs ?? 200 });
  const count: Generated = {
    id: `chatcmpl-demo${randomBytes(9).toString('hex')}`,
    model,
    streamed: asked.stream,
    inputTokens: promptTokens(asked),
    outputTokens: 0,
    finished: false,
  };
  parts.generated.set(count.id, count);
  if (parts.generated.size > GENERATED_MAX) parts.generated.delete(parts.generated.keys().next().value ?? '');
  const created = Math.floor(parts.now() / 1_000);
  const job = { asked, reply, count, created, stop: parts.stop };
  return asked.stream ? stream(job, response) : answerWhole(job, response);
}

interface Job {
  readonly asked: DemoRequest;
  readonly reply: DemoReply;
  readonly count: Generated;
  readonly created: number;
  readonly stop: AbortSignal;
}

async function answerWhole({ reply, count, created, stop }: Job, response: ServerResponse): Promise<void> {
  const text = reply.words.join('');
  const waitMs = reply.wordDelayMs * reply.words.length;
  if (waitMs > 0) await pause(waitMs, undefined, { signal: stop });
  count.outputTokens = reply.words.length;
  count.finished = true;
  const { tool } = reply;
  const message =
    tool === null
      ? { role: 'assistant', content: text, refusal: null }
      : { role: 'assistant', content: null, refusal: null, tool_calls: [toolCall(count, tool, text)] };
  sendJson(response, {
    status: 200,
    body: {
      id: count.id,
      object: 'chat.completion',
      created,
      model: count.model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: reply.finish }],
      usage: usageOf(count),
    },
  });
}

/** Stops generating when the caller has gone or the provider is closed. */
async function stream({ asked, reply, count, created, stop }: Job, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const signal = AbortSignal.any([stop, gone.signal]);
  const send = async (choices: unknown[], usage: unknown = null): Promise<void> => {
    const head = { id: count.id, object: 'chat.completion.chunk', created, model: count.model };
    const chunk = { ...head, choices, ...(asked.includeUsage ? { usage } : {}) };
    if (!response.write(`data: ${JSON.stringify(chunk)}\n\n`)) await once(response, 'drain', { signal });
  };
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  try {
    const { tool } = reply;
    await send(
      choice(
        tool === null
          ? { role: 'assistant', content: '', refusal: null }
          : {
              role: 'assistant',
              content: null,
              tool_calls: [{ index: 0, ...toolCall(count, tool, '') }],
            },
      ),
    );
    for (const word of reply.words) {
      if (reply.wordDelayMs > 0) await pause(reply.wordDelayMs, undefined, { signal });
      signal.throwIfAborted();
      count.outputTokens += 1;
      await send(
        choice(
          tool === null ? { content: word } : { tool_calls: [{ index: 0, function: { arguments: word } }] },
        ),
      );
    }
    await send(choice({}, reply.finish));
    count.finished = true;
    if (asked.includeUsage) await send([], usageOf(count));
    response.end('data: [DONE]\n\n');
  } catch (error) {
    if (!signal.aborted) throw error;
    response.destroy();
  }
}

const choice = (delta: unknown, finish: string | null = null): unknown[] => [
  { index: 0, delta, logprobs: null, finish_reason: finish },
];

const toolCall = ({ id }: Generated, name: string, text: string) => ({
  id: `call_${id.slice(-12)}`,
  type: 'function',
  function: { name, arguments: text },
});

const usageOf = ({ inputTokens, outputTokens }: Generated) => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
});

async function readRequest(request: IncomingMessage): Promise<DemoRequest | ReturnType<typeof failure>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readBody(request, BODY_BYTES_MAX));
  } catch (error) {
    const status = error instanceof StripeFailure ? error.fields.status : 400;
    return failure(status, 'invalid_json', error instanceof Error ? error.message : 'unreadable');
  }
  const result = requestSchema.safeParse(parsed);
  if (!result.success) return failure(400, 'invalid_request', z.prettifyError(result.error));
  const { model, messages, tools, stream: streamed, stream_options: options, ...rest } = result.data;
  return {
    model,
    messages: messages.map(({ role, content: said }) => ({
      role,
      text: Array.isArray(said) ? said.map((part) => part.text ?? '').join(' ') : (said ?? ''),
    })),
    tools: (tools ?? []).flatMap(({ function: tool }) =>
      tool === undefined ? [] : [{ name: tool.name, parameters: tool.parameters }],
    ),
    wordsMax: rest.max_completion_tokens ?? rest.max_tokens ?? Infinity,
    stream: streamed ?? false,
    includeUsage: streamed === true && options?.include_usage === true,
  };
}

const modelList = () => ({
  status: 200,
  body: {
    object: 'list',
    data: DEMO_MODELS.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'demo' })),
  },
});

const failure = (status: number, code: string, message: string) => ({
  status,
  body: {
    error: { message, type: status >= 500 ? 'server_error' : 'invalid_request_error', param: null, code },
  },
});
