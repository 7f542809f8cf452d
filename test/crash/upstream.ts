/**
 * An upstream that outlives the gateway and counts for itself: a word of a prompt is a token read, a word of a reply a
 * token generated. It generates at a pace of its own, one to three tokens an event, and stops when the connection is cut.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { randomNumbers } from '../../src/simulator/faults.ts';
import type { UpstreamEntry } from './books.ts';

export interface CountingUpstream {
  /** With `/v1`, as a base URL is given. */
  readonly url: string;
  readonly served: UpstreamEntry[];
  close(): Promise<void>;
}

interface ChatRequest {
  readonly model: string;
  readonly messages: readonly { readonly content: string }[];
  /** Tokens to generate: all of them are. */
  readonly max_tokens: number;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
}

/** Between two events, milliseconds, at most. */
const PACE_MS_MAX = 25;

export async function startCountingUpstream(seed: number): Promise<CountingUpstream> {
  const served: UpstreamEntry[] = [];
  const random = randomNumbers(seed);
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const asked = JSON.parse(Buffer.concat(pieces).toString()) as ChatRequest;
      const entry = entryOf(request, asked, served.length);
      served.push(entry);
      void reply({ asked, entry, response, random });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    served,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const entryOf = (request: IncomingMessage, asked: ChatRequest, number: number): UpstreamEntry => ({
  tag: String(request.headers['x-test-call']),
  model: asked.model,
  responseId: `chatcmpl-${number}`,
  seenAtMs: Date.now(),
  inputTokens: asked.messages.reduce((sum, { content }) => sum + content.split(' ').length, 0),
  outputTokens: 0,
  finished: false,
});

interface Reply {
  readonly asked: ChatRequest;
  readonly entry: UpstreamEntry;
  readonly response: ServerResponse;
  readonly random: () => number;
}

const WORDS = ['gate ', 'fare ', 'toll ', 'line ', 'ride '];

async function reply({ asked, entry, response, random }: Reply): Promise<void> {
  const base = { id: entry.responseId, created: 1_700_000_000, model: asked.model };
  const stream = asked.stream === true;
  const send = (data: object): boolean => response.write(`data: ${JSON.stringify({ ...base, ...data })}\n\n`);
  const object = 'chat.completion.chunk';
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' });
  let text = '';
  while (entry.outputTokens < asked.max_tokens) {
    await pause(random() * PACE_MS_MAX * (stream ? 1 : 0.3));
    if (response.destroyed) return;
    const count = Math.min(1 + Math.floor(random() * 3), asked.max_tokens - entry.outputTokens);
    const words = Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)]).join('');
    entry.outputTokens += count;
    text += words;
    if (stream) send({ object, choices: [{ index: 0, delta: { content: words }, finish_reason: null }] });
  }
  const usage = {
    prompt_tokens: entry.inputTokens,
    completion_tokens: entry.outputTokens,
    total_tokens: entry.inputTokens + entry.outputTokens,
  };
  entry.finished = true;
  if (stream) {
    send({ object, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    if (asked.stream_options?.include_usage === true) send({ object, choices: [], usage });
    response.end('data: [DONE]\n\n');
    return;
  }
  const message = { role: 'assistant', content: text };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ ...base, object: 'chat.completion', choices, usage }));
}
