/** Calls and replies of the chat completions dialect, as a provider sees them. */
import type { Exchange, ProviderCall, ResponseReader, Upstream } from '../../providers/provider.ts';
import { openaiCompatible } from '../../providers/openai-compatible.ts';
import { scanJsonObject } from '../../src/usage/json-scanner.ts';
import { bytesOf } from './chunks.ts';

export const upstream: Upstream = {
  name: 'acme',
  type: 'openai-compatible',
  baseUrl: 'https://acme.example/v1',
  apiKey: 'sk-upstream',
  asksUsage: true,
};

/** The call that a request body makes. */
export function chatCall(body: string | object, model = 'gpt-test'): ProviderCall {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const bytes = bytesOf(text);
  const scan = scanJsonObject(bytes);
  if (scan.kind !== 'object') throw new Error(scan.message);
  const parsed = JSON.parse(text) as { stream?: unknown };
  return {
    endpoint: 'chat.completions',
    model,
    stream: parsed.stream === true,
    body: bytes,
    scan,
    path: '/v1/chat/completions',
    query: '',
    headers: {},
  };
}

export const prepare = (body: string | object, more: Partial<Upstream> = {}): Exchange =>
  openaiCompatible.prepare(chatCall(body), { ...upstream, ...more });

/** A reader of a stream: `asked` when the caller asked for usage, so that nothing is withheld. */
export function streamReader(asked: boolean): ResponseReader {
  const body = { model: 'm', stream: true, stream_options: asked ? { include_usage: true } : null };
  return prepare(body).read({ status: 200, headers: { 'content-type': 'text/event-stream' } });
}

export const jsonReader = (status = 200, headers: Record<string, string> = {}): ResponseReader =>
  prepare({ model: 'm' }).read({ status, headers: { 'content-type': 'application/json', ...headers } });

/** Writes all chunks and ends; answers everything the caller got. */
export const readAll = (reader: ResponseReader, chunks: readonly Uint8Array[]): Uint8Array[] => [
  ...chunks.flatMap((chunk) => reader.write(chunk)),
  ...reader.end(),
];

/** One event of a stream. */
export const event = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;

export const delta = (more: object): string =>
  event({ id: 'c1', model: 'm-served', choices: [{ index: 0, delta: more }], usage: null });

export const usageChunk = (prompt: number, completion: number): string =>
  event({
    id: 'c1',
    model: 'm-served',
    choices: [],
    usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
  });

export const DONE = 'data: [DONE]\n\n';
