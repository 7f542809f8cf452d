/**
 * Our record against what the vendors' own clients make of the same bytes: each client is given a recorded reply by a
 * fetch of the test's, accumulates it in its own way, and must have read and generated as many tokens as we counted.
 */
import Anthropic from '@anthropic-ai/sdk';
import { type GenerateContentResponse, GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { anthropic } from '../../providers/anthropic.ts';
import { google } from '../../providers/google.ts';
import { openai } from '../../providers/openai.ts';
import type { Endpoint, Provider } from '../../providers/provider.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import { checksOf } from '../support/recorded.ts';
import {
  type ExpectedUsage,
  recordedCases,
  type RecordedCase,
  recordingsDirectory,
} from '../support/recordings.ts';

interface Told {
  readonly input: number;
  readonly output: number;
}
interface Difference {
  readonly api: string;
  readonly provider: Provider;
  readonly endpoint: Endpoint;
  readonly atLeast: number;
  /** Recordings that the client itself gives up on: several replies in one, a form of stream that it never asks for. */
  readonly unreadMax: number;
  /** What the vendor's client tells of the reply; undefined where it tells no usage. */
  told(recorded: RecordedCase): Promise<Told | undefined>;
}

const MESSAGES = [{ role: 'user' as const, content: 'Where?' }];
/** The client's fetch: answers the recorded reply to whatever is asked. */
const replaying =
  ({ status, headers, body }: RecordedCase): typeof fetch =>
  () =>
    Promise.resolve(
      new Response(new Uint8Array(body), {
        status,
        headers: { 'content-type': headers['content-type'] ?? 'application/json' },
      }),
    );
const openaiOf = (recorded: RecordedCase): OpenAI =>
  new OpenAI({ apiKey: 'sk-none', maxRetries: 0, fetch: replaying(recorded) });
const isVendors = ({ provider }: ExpectedUsage): boolean =>
  ['openai', 'anthropic', 'google'].includes(provider);

const DIFFERENCES: readonly Difference[] = [
  {
    api: 'openai.chat',
    provider: openai,
    endpoint: 'chat.completions',
    atLeast: 400,
    unreadMax: 0,
    async told(recorded) {
      const { completions } = openaiOf(recorded).chat;
      const body = { model: 'm', messages: MESSAGES };
      const { usage } = recorded.stream ? await lastChunk(completions, body) : await completions.create(body);
      return usage ? { input: usage.prompt_tokens, output: usage.completion_tokens } : undefined;
    },
  },
  {
    api: 'openai.responses',
    provider: openai,
    endpoint: 'responses',
    atLeast: 250,
    unreadMax: 4,
    async told(recorded) {
      const { responses } = openaiOf(recorded);
      const body = { model: 'm', input: 'Where?' };
      const { usage } = recorded.stream
        ? await responses.stream(body).finalResponse()
        : await responses.create(body);
      return usage ? { input: usage.input_tokens, output: usage.output_tokens } : undefined;
    },
  },
  {
    api: 'anthropic.messages',
    provider: anthropic,
    endpoint: 'messages',
    atLeast: 200,
    unreadMax: 7,
    async told(recorded) {
      const client = new Anthropic({ apiKey: 'sk-none', maxRetries: 0, fetch: replaying(recorded) });
      const body = { model: 'm', max_tokens: 9, messages: MESSAGES };
      const { usage } = recorded.stream
        ? await client.messages.stream(body).finalMessage()
        : await client.messages.create(body);
      return {
        input:
          usage.input_tokens +
          (usage.cache_read_input_tokens ?? 0) +
          (usage.cache_creation_input_tokens ?? 0),
        output: usage.output_tokens,
      };
    },
  },
  { ...geminiDifference('gemini.generateContent', 'generateContent'), atLeast: 120, unreadMax: 0 },
  {
    ...geminiDifference('gemini.streamGenerateContent', 'streamGenerateContent'),
    atLeast: 29,
    unreadMax: 19,
  },
];

async function lastChunk(
  completions: OpenAI.Chat.Completions,
  body: { readonly model: string; readonly messages: typeof MESSAGES },
): Promise<{ usage: OpenAI.CompletionUsage | undefined }> {
  let usage: OpenAI.CompletionUsage | undefined;
  for await (const chunk of await completions.create({ ...body, stream: true })) usage = chunk.usage ?? usage;
  return { usage };
}

function geminiDifference(
  api: string,
  endpoint: 'generateContent' | 'streamGenerateContent',
): Omit<Difference, 'atLeast' | 'unreadMax'> {
  return {
    api,
    endpoint,
    provider: google,
    async told(recorded) {
      const { models } = new GoogleGenAI({ apiKey: 'none' });
      const request = { model: 'm', contents: 'Where?' };
      const fetched = globalThis.fetch;
      // This client takes no fetch of ours.
      globalThis.fetch = replaying(recorded);
      let last: GenerateContentResponse | undefined;
      try {
        if (endpoint === 'generateContent') last = await models.generateContent(request);
        else for await (const chunk of await models.generateContentStream(request)) last = chunk;
      } finally {
        globalThis.fetch = fetched;
      }
      const usage = last?.usageMetadata;
      if (usage === undefined) return undefined;
      return {
        input: (usage.promptTokenCount ?? 0) + (usage.toolUsePromptTokenCount ?? 0),
        output: (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0),
      };
    },
  };
}

if (recordingsDirectory === undefined)
  console.warn('Recorded replies are not compared with the clients: FAREGATE_RECORDINGS names no directory.');

describe.skipIf(recordingsDirectory === undefined).each(DIFFERENCES)(
  'the vendor’s own client on recorded $api',
  (difference) => {
    it('reads as many tokens as we count', async () => {
      const checks = checksOf({ ...difference, endpoint: () => difference.endpoint });
      let compared = 0;
      const unread: string[] = [];
      const filter = (expected: ExpectedUsage): boolean =>
        expected.api === difference.api && isVendors(expected) && expected.metered && !expected.error;
      for await (const recorded of recordedCases(filter)) {
        // Several passes of a reply are several lines: the client's one usage is the last pass's.
        const metered = checks.metered(recorded);
        const told = await difference
          .told(recorded)
          .catch((error: unknown) => void unread.push(`${recorded.id}: ${String(error)}`));
        if (told === undefined || metered.lines.length > 1) continue;
        const counted = {
          input: metered.lines.reduce((sum, line) => sum + inputTokens(line), 0),
          output: metered.lines.reduce((sum, line) => sum + outputTokens(line), 0),
        };
        expect(counted, recorded.id).toEqual(told);
        compared += 1;
      }
      expect(compared).toBeGreaterThanOrEqual(difference.atLeast);
      expect(unread.slice(difference.unreadMax)).toEqual([]);
    }, 60_000);
  },
);
