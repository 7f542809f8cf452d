/**
 * A provider for tests, over real HTTP: the model's name says how it behaves. It keeps its own count of what it served,
 * to hold the ledger against, and every request it was sent.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
export interface Served {
  readonly id: string;
  readonly inputTokens: number;
  /** Counted up as they are sent. */
  outputTokens: number;
  finished: boolean;
  /** The body so far, as it was sent. */
  sent: string;
}
export interface TestUpstream {
  /** With `/v1`, as a base URL is given. */
  readonly url: string;
  readonly seen: SeenRequest[];
  readonly served: Served[];
  /** Lets replies that wait (`waits`) go on. */
  release(): void;
  close(): Promise<void>;
}

interface Asked {
  readonly model: string;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly response: ServerResponse;
  readonly served: Served;
  readonly released: Promise<void>;
}

const WORDS = ['The', ' fare', ' is', ' paid', ' at', ' the', ' gate', '.'];
const INPUT_TOKENS = 11;

export async function startTestUpstream(port = 0): Promise<TestUpstream> {
  const seen: SeenRequest[] = [];
  const served: Served[] = [];
  let waiting: PromiseWithResolvers<void> = Promise.withResolvers();
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces).toString();
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      if (request.url === '/v1/models')
        return json(response, 200, { object: 'list', data: [{ id: 'plain', object: 'model' }] });
      if (/^\/v1\/(?:audio|images)\//.test(request.url ?? '')) {
        served.push({
          id: '',
          inputTokens: INPUT_TOKENS,
          outputTokens: WORDS.length,
          finished: true,
          sent: '',
        });
        return media(request.url ?? '', response);
      }
      const {
        model = '',
        stream = false,
        stream_options: options,
      } = JSON.parse(body) as {
        model?: string;
        stream?: boolean;
        stream_options?: { include_usage?: boolean } | null;
      };
      const record: Served = {
        id: `chatcmpl-${served.length}`,
        inputTokens: INPUT_TOKENS,
        outputTokens: 0,
        finished: false,
        sent: '',
      };
      served.push(record);
      const includeUsage = options?.include_usage === true;
      void behave({ model, stream, includeUsage, response, served: record, released: waiting.promise });
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    seen,
    served,
    release() {
      waiting.resolve();
      waiting = Promise.withResolvers();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function behave(asked: Asked): Promise<void> {
  const { model, response } = asked;
  switch (model) {
    case 'error-500':
      return json(response, 500, {
        error: { message: 'The server had an error', type: 'server_error', code: null, param: null },
      });
    case 'error-429':
      response.setHeader('retry-after', '7');
      return json(response, 429, {
        error: { message: 'Slow down', type: 'requests', code: 'rate_limit_exceeded', param: null },
      });
    case 'error-echoes-key':
      return json(response, 401, {
        error: { message: `Incorrect API key provided: ${KEY_GIVEN}`, type: 'x', code: 'invalid_api_key' },
      });
    case 'redirects':
      response.writeHead(302, { location: 'http://127.0.0.1:1/elsewhere' }).end();
      return;
    case 'no-content':
      response.writeHead(204).end();
      return;
    case 'hangs-up':
      response.destroy();
      return;
    case 'refuses-usage-option':
      if (asked.includeUsage)
        return json(response, 400, {
          error: { message: "Unknown parameter: 'stream_options'", type: 'invalid_request_error' },
        });
      break;
    case 'waits':
      await asked.released;
      break;
    case 'not-json':
      response.writeHead(200, { 'content-type': 'application/json' }).end('<html>oops</html>');
      return;
  }
  if (asked.stream) await streamed(asked);
  else plain(asked);
}

/** The upstream key that tests configure; `error-echoes-key` gives it away. */
export const KEY_GIVEN = 'sk-upstream-canary-0123456789';

/** Pictures and transcripts report 11 tokens read and 8 generated; sound reports nothing. */
function media(url: string, response: ServerResponse): void {
  if (url === '/v1/audio/speech') {
    response.writeHead(200, { 'content-type': 'audio/mpeg' }).end(Buffer.from([0xff, 0xfb, 1, 2, 3]));
    return;
  }
  const usage = { type: 'tokens', input_tokens: 11, output_tokens: 8, total_tokens: 19 };
  const content = url.startsWith('/v1/audio/')
    ? { text: 'The fare is paid.' }
    : { data: [{ b64_json: 'AAAA' }] };
  json(response, 200, { ...content, usage });
}

function plain(asked: Asked): void {
  const { served, response, model } = asked;
  served.outputTokens = WORDS.length;
  served.finished = true;
  const tools = model === 'tools';
  const message = tools
    ? {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_1', type: 'function', function: { name: 'get_fare', arguments: '{"zone":2}' } },
        ],
      }
    : { role: 'assistant', content: WORDS.join(''), refusal: null };
  const body = {
    id: served.id,
    object: 'chat.completion',
    created: 1_700_000_000,
    model: `${model}-2026-01-01`,
    choices: [{ index: 0, message, finish_reason: tools ? 'tool_calls' : 'stop' }],
    ...(model === 'no-usage' ? {} : { usage: usageOf(served) }),
  };
  served.sent = JSON.stringify(body);
  const compress = COMPRESSED[model];
  if (compress === undefined) return json(response, 200, body);
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': model });
  response.end(compress(served.sent));
}

/** Models whose names are the encodings of their replies. */
const COMPRESSED: Readonly<Record<string, (text: string) => Buffer>> = {
  gzip: gzipSync,
  GZIP: gzipSync,
  'X-Gzip': gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
};

const usageOf = ({ inputTokens, outputTokens }: Served): unknown => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
  prompt_tokens_details: { cached_tokens: 3 },
});

async function streamed(asked: Asked): Promise<void> {
  const { served, response, model } = asked;
  const newline = model === 'crlf' ? '\r\n' : '\n';
  const event = (data: unknown): string =>
    `data: ${typeof data === 'string' ? data : JSON.stringify(data)}${newline}${newline}`;
  const chunk = (choices: unknown[], more: object = {}): string =>
    event({
      id: served.id,
      object: 'chat.completion.chunk',
      created: 1_700_000_000,
      model: `${model}-2026-01-01`,
      choices,
      ...(asked.includeUsage ? { usage: null } : {}),
      ...more,
    });
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  for (const [index, delta] of deltasOf(model).entries()) {
    if (model === 'cut' && index === 4) return void response.destroy();
    if (model === 'ends-early' && index === 4) return void response.end();
    if (model === 'stalls' && index === 4) await asked.released;
    served.outputTokens += 1;
    await send(asked, chunk([{ index: 0, delta, finish_reason: null }]));
  }
  const reason = model === 'tools' ? 'tool_calls' : 'stop';
  await send(asked, chunk([{ index: 0, delta: {}, finish_reason: reason }]));
  if (asked.includeUsage && model !== 'no-usage') await send(asked, chunk([], { usage: usageOf(served) }));
  served.finished = true;
  if (model !== 'no-done') await send(asked, event('[DONE]'));
  if (model !== 'stays-open') response.end();
}

const call = (part: object, more: object = {}): unknown => ({
  ...more,
  tool_calls: [{ index: 0, ...part }],
});

function deltasOf(model: string): readonly unknown[] {
  if (model !== 'tools')
    return WORDS.map((content, index) => (index === 0 ? { role: 'assistant', content } : { content }));
  return [
    call(
      { id: 'call_1', type: 'function', function: { name: 'get_fare', arguments: '' } },
      { role: 'assistant', content: null },
    ),
    call({ function: { arguments: '{"zone"' } }),
    call({ function: { arguments: ':2}' } }),
  ];
}

/** `bytes` sends each byte on its own; the others yield between events, so that they arrive apart. */
async function send({ response, served, model }: Asked, text: string): Promise<void> {
  served.sent += text;
  const pieces =
    model === 'bytes'
      ? Buffer.from(text)
          .toString('latin1')
          .split('')
          .map((c) => Buffer.from(c, 'latin1'))
      : [text];
  for (const piece of pieces) {
    response.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-request-id': 'upstream-1',
    'openai-organization': 'org-secret',
  });
  response.end(JSON.stringify(body));
}
