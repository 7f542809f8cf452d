/** Replies in every dialect through the translation, and the official SDKs as the judges of what is written. */
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { createChatParser } from '../../providers/translation/chat/reply-parser.ts';
import { createChatWriter } from '../../providers/translation/chat/reply-writer.ts';
import { createGeminiParser } from '../../providers/translation/gemini/reply-parser.ts';
import { createGeminiWriter } from '../../providers/translation/gemini/reply-writer.ts';
import { createMessagesParser } from '../../providers/translation/messages/reply-parser.ts';
import { createMessagesWriter } from '../../providers/translation/messages/reply-writer.ts';
import { createResponsesParser } from '../../providers/translation/responses/reply-parser.ts';
import { createResponsesWriter } from '../../providers/translation/responses/reply-writer.ts';
import type {
  ReplyContext,
  ReplyEvent,
  ReplyParser,
  ReplyParserOptions,
  ReplyWriter,
  ReplyWriterOptions,
} from '../../providers/translation/reply.ts';
import { bytesOf, concat, textOf } from './chunks.ts';

export const CONTEXT: ReplyContext = {
  callId: 'call0001',
  model: 'asked-model',
  createdS: 1_790_000_000,
  includeUsage: true,
  echo: {},
};

export const PARSERS = {
  chat: createChatParser,
  messages: createMessagesParser,
  responses: createResponsesParser,
  gemini: createGeminiParser,
} as const satisfies Record<string, (options: ReplyParserOptions) => ReplyParser>;
export type ParserName = keyof typeof PARSERS;

export const WRITERS = {
  chat: createChatWriter,
  messages: createMessagesWriter,
  responses: createResponsesWriter,
  gemini: createGeminiWriter,
} as const satisfies Record<string, (options: ReplyWriterOptions) => ReplyWriter>;
export type WriterName = keyof typeof WRITERS;

export type Json = Record<string, unknown>;

/** What a parser makes of a body that comes in these chunks. */
export function eventsOf(
  dialect: ParserName,
  chunks: readonly Uint8Array[],
  { stream, status = 200 }: { readonly stream: boolean; readonly status?: number },
): ReplyEvent[] {
  const parser = PARSERS[dialect]({ stream, status, callId: CONTEXT.callId });
  const events = chunks.flatMap((chunk) => parser.write(chunk));
  return [...events, ...parser.end()];
}

/** The same events with the pieces of a text joined: what chunk boundaries must not change. */
export function joined(events: readonly ReplyEvent[]): ReplyEvent[] {
  const told: ReplyEvent[] = [];
  for (const event of events) {
    const last = told.at(-1);
    if (event.kind === 'delta' && last?.kind === 'delta' && last.choice === event.choice) {
      const logprobs = [...(last.logprobs ?? []), ...(event.logprobs ?? [])];
      told[told.length - 1] = {
        ...last,
        text: last.text + event.text,
        ...(logprobs.length === 0 ? {} : { logprobs }),
      };
    } else told.push(event);
  }
  return told;
}

export function written(
  dialect: WriterName,
  events: readonly ReplyEvent[],
  { stream, context = CONTEXT }: { readonly stream: boolean; readonly context?: ReplyContext },
): Uint8Array {
  const writer = WRITERS[dialect]({ stream, context });
  return concat(events.flatMap((event) => writer.write(event)));
}

export const writtenWhole = (dialect: WriterName, events: readonly ReplyEvent[]): Json =>
  JSON.parse(textOf([written(dialect, events, { stream: false })])) as Json;

/** An event stream of data alone, as most vendors write it. */
export const sse = (events: readonly unknown[], ...more: readonly string[]): Uint8Array =>
  bytesOf([...events.map((event) => `data: ${JSON.stringify(event)}\n\n`), ...more].join(''));

/** The data of an event stream's events. */
export const sseData = (stream: Uint8Array): Json[] =>
  textOf([stream])
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => JSON.parse(event.slice('data: '.length)) as Json);

/** An event stream whose events have names. */
export const namedSse = (events: readonly Json[]): Uint8Array =>
  bytesOf(
    events.map((event) => `event: ${String(event['type'])}\ndata: ${JSON.stringify(event)}\n\n`).join(''),
  );

const answering = (body: Uint8Array) => (): Promise<Response> =>
  Promise.resolve(new Response(body.slice(), { headers: { 'content-type': 'text/event-stream' } }));

/** What the official SDK of a dialect makes of a stream in it. */
export const ACCUMULATE: Record<WriterName, (stream: Uint8Array) => Promise<Json>> = {
  async chat(stream) {
    const client = new OpenAI({ apiKey: 'none', fetch: answering(stream), maxRetries: 0 });
    const running = client.chat.completions.stream({ model: 'm', messages: [], n: 2 });
    return plain(await running.finalChatCompletion());
  },
  async messages(stream) {
    const client = new Anthropic({ apiKey: 'none', fetch: answering(stream), maxRetries: 0 });
    const running = client.messages.stream({ model: 'm', max_tokens: 1, messages: [] });
    return plain(await running.finalMessage());
  },
  async gemini(stream) {
    const client = new GoogleGenAI({ apiKey: 'none', httpOptions: { fetch: answering(stream) } });
    const chunks: Json[] = [];
    for await (const chunk of await client.models.generateContentStream({ model: 'm', contents: 'x' }))
      chunks.push(plain(chunk));
    return addedUp(chunks);
  },
  async responses(stream) {
    const client = new OpenAI({ apiKey: 'none', fetch: answering(stream), maxRetries: 0 });
    return plain(await client.responses.stream({ model: 'm', input: [] }).finalResponse());
  },
};

/** The SDK adds nothing up: candidates' parts go one after the other, and the last word of everything else stands. */
function addedUp(chunks: readonly Json[]): Json {
  const candidates: Json[] = [];
  const rest: Json = {};
  for (const { candidates: told = [], sdkHttpResponse: _response, ...others } of chunks) {
    Object.assign(rest, others);
    for (const candidate of told as Json[]) {
      const index = candidate['index'] as number;
      const before = (candidates[index]?.['content'] as Json | undefined)?.['parts'] ?? [];
      const parts = [...(before as Json[]), ...((candidate['content'] as Json)['parts'] as Json[])];
      candidates[index] = { ...candidates[index], ...candidate, content: { role: 'model', parts } };
    }
  }
  return { ...rest, candidates };
}

const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

/** The texts of neighbouring parts that differ in nothing else as one; an empty text is none. */
function joinedParts(parts: readonly Json[]): Json[] {
  const told: Json[] = [];
  for (const part of parts) {
    const last = told.at(-1);
    const isText = Object.keys(part).every((key) => key === 'text' || key === 'thought');
    if (isText && part['text'] === '') continue;
    if (
      isText &&
      last?.['text'] !== undefined &&
      (last['thoughtSignature'] === undefined || last['thought'] === undefined) &&
      last['thought'] === part['thought']
    )
      told[told.length - 1] = { ...last, text: `${String(last['text'])}${String(part['text'])}` };
    else told.push(part);
  }
  return told;
}

/** What the SDKs add to a reply, or take the last of where a dialect's own clients add up: no part of the comparison. */
export const COMPARABLE: Record<WriterName, (reply: Json) => Json> = {
  chat(reply) {
    for (const choice of reply['choices'] as Json[]) {
      const message = choice['message'] as Json;
      delete message['reasoning_content'];
      delete message['parsed'];
      for (const call of (message['tool_calls'] ?? []) as Json[])
        delete (call['function'] as Json)['parsed_arguments'];
    }
    return reply;
  },
  messages({ parsed_output: _parsed, stop_details: _details, ...reply }) {
    const { cache_creation: _byLife, service_tier: _tier, ...usage } = reply['usage'] as Json;
    return { ...reply, usage };
  },
  gemini(reply) {
    for (const candidate of reply['candidates'] as Json[]) {
      const content = candidate['content'] as Json;
      content['parts'] = joinedParts(content['parts'] as Json[]);
    }
    return reply;
  },
  responses({ output_parsed: _parsed, output_text: _text, ...reply }) {
    for (const item of reply['output'] as Json[]) {
      delete item['parsed_arguments'];
      for (const part of (item['content'] ?? []) as Json[]) delete part['parsed'];
    }
    return reply;
  },
};
