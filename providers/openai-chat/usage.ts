/**
 * Chat completions usage, brought to disjoint classes. The spellings and the arithmetic differ by vendor:
 * - cache reads are inside `prompt_tokens` and have five names (OpenAI, Writer, DeepSeek, Moonshot and Together, Mistral);
 * - xAI's reasoning is beside `completion_tokens`, everyone else's inside; Mistral's audio is beside `prompt_tokens`;
 * - Gemini's thoughts, at Google's endpoint of this dialect, are in the total alone;
 * - details are parts of their whole, never added to it.
 * Where two readings are possible, the vendor's own `total_tokens` decides.
 */
import { isRecord } from '../../src/usage/json-value.ts';
import type { TokenCounts } from '../../src/usage/usage.ts';
import { countOf } from '../passage/counts.ts';

export type ChatUsage =
  | { readonly kind: 'counts'; readonly counts: TokenCounts; readonly reason?: string | undefined }
  /** The report cannot be believed: the reply counts as one without usage. */
  | { readonly kind: 'refused'; readonly reason: string };

/** Reads a `usage` value that is neither null nor missing. `servedModel`: as the reply names it, where it does. */
export function readChatUsage(told: unknown, servedModel = ''): ChatUsage {
  if (!isRecord(told)) return { kind: 'refused', reason: 'usage is not an object' };
  const usage = byChatNames(told);
  const total = countOf(usage['total_tokens']);
  const prompt = required(usage, 'prompt_tokens', 'completion_tokens');
  const completion = required(usage, 'completion_tokens', 'prompt_tokens');
  if (typeof prompt === 'string') return { kind: 'refused', reason: prompt };
  if (typeof completion === 'string') return { kind: 'refused', reason: completion };
  const doubts: string[] = [];
  if (total === 'malformed') doubts.push('total_tokens is not a token count');
  const parts = readParts(usage, servedModel, doubts);
  const whole = typeof total === 'number' ? total : undefined;
  const sums = settleSums({ prompt, completion, total: whole, apart: isAnthropics(told) }, parts, doubts);
  const counts = { ...inputClasses(sums.input, parts, doubts), ...outputClasses(sums.output, parts, doubts) };
  return { kind: 'counts', counts, reason: doubts.length === 0 ? undefined : doubts.join('; ') };
}

/**
 * The counts by the names of chat completions. The Responses API has others, which some vendors and proxies write here
 * too, alone or beside them; then those of this dialect stand.
 */
function byChatNames(usage: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return {
    ...usage,
    prompt_tokens: usage['prompt_tokens'] ?? usage['input_tokens'],
    completion_tokens: usage['completion_tokens'] ?? usage['output_tokens'],
    prompt_tokens_details: usage['prompt_tokens_details'] ?? usage['input_tokens_details'],
    completion_tokens_details: usage['completion_tokens_details'] ?? usage['output_tokens_details'],
  };
}

/** Cached tokens in details are parts of their whole, as OpenAI has them, by whatever name they are told once more. */
const isAnthropics = (usage: Readonly<Record<string, unknown>>): boolean =>
  (usage['prompt_tokens'] ?? usage['input_tokens_details'] ?? null) === null &&
  (usage['cache_read_input_tokens'] ?? usage['cache_creation_input_tokens'] ?? null) !== null;

/** The details of a report; zero where it has none. */
interface Parts {
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly audioInput: number;
  readonly imageInput: number;
  readonly reasoning: number;
  readonly audioOutput: number;
  readonly imageOutput: number;
}

/** One of the two main counts; where it is missing, the total less the other. A text is the reason for refusal. */
function required(usage: Readonly<Record<string, unknown>>, name: string, other: string): number | string {
  const count = countOf(usage[name]);
  if (typeof count === 'number') return count;
  if (count === 'malformed') return `${name} is not a token count`;
  const total = countOf(usage['total_tokens']);
  const rest = countOf(usage[other]);
  if (typeof total === 'number' && typeof rest === 'number' && total >= rest) return total - rest;
  return `usage has no ${name}`;
}

function readParts(usage: Readonly<Record<string, unknown>>, servedModel: string, doubts: string[]): Parts {
  const prompt = recordOf(usage['prompt_tokens_details']) ?? recordOf(usage['prompt_token_details']) ?? {};
  const completion =
    recordOf(usage['completion_tokens_details']) ?? recordOf(usage['completion_token_details']) ?? {};
  const detail = (name: string, value: unknown): number => {
    const count = countOf(value);
    if (count === 'malformed') doubts.push(`${name} is not a token count`);
    return typeof count === 'number' ? count : 0;
  };
  return {
    cacheRead: detail(
      'cached_tokens',
      prompt['cached_tokens'] ??
        usage['prompt_cache_hit_tokens'] ??
        usage['cached_tokens'] ??
        usage['num_cached_tokens'] ??
        usage['cache_read_input_tokens'],
    ),
    cacheWrite: detail(
      'cache_write_tokens',
      prompt['cache_write_tokens'] ?? usage['cache_write_tokens'] ?? usage['cache_creation_input_tokens'],
    ),
    audioInput: detail('prompt audio_tokens', prompt['audio_tokens'] ?? untoldAudio(usage)),
    imageInput: detail('prompt image_tokens', prompt['image_tokens']),
    reasoning: detail(
      'reasoning_tokens',
      completion['reasoning_tokens'] ?? usage['reasoning_tokens'] ?? untoldThoughts(usage, servedModel),
    ),
    audioOutput: detail('completion audio_tokens', completion['audio_tokens']),
    imageOutput: detail('completion image_tokens', completion['image_tokens']),
  };
}

/** Mistral's audio where it is told in seconds alone, as its documentation shows it: what the total has beside the other two. */
function untoldAudio(usage: Readonly<Record<string, unknown>>): number | undefined {
  const seconds = usage['prompt_audio_seconds'];
  return typeof seconds === 'number' && seconds > 0 ? besideTheTwo(usage) : undefined;
}

/**
 * Gemini's thoughts at Google's endpoint of this dialect: they are in the total and nowhere else, say 9 and 1 of 103. Of
 * another vendor's model such a rest tells nothing of what it is.
 */
const untoldThoughts = (usage: Readonly<Record<string, unknown>>, servedModel: string): number | undefined =>
  /^(?:models\/|google\/)?gemini-/.test(servedModel) ? besideTheTwo(usage) : undefined;

/** What the total has beside the two main counts; undefined where one of the three is not told. */
function besideTheTwo(usage: Readonly<Record<string, unknown>>): number | undefined {
  const [total, prompt, completion] = ['total_tokens', 'prompt_tokens', 'completion_tokens'].map((name) =>
    countOf(usage[name]),
  );
  if (typeof total !== 'number' || typeof prompt !== 'number' || typeof completion !== 'number')
    return undefined;
  return Math.max(0, total - prompt - completion);
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  isRecord(value) ? value : undefined;

interface Reported {
  readonly prompt: number;
  readonly completion: number;
  readonly total: number | undefined;
  /** The report is one of Anthropic's by its names: cached tokens lie beside its input. */
  readonly apart: boolean;
}

/** What was read and what was generated in all: which details lie beside the two main counts, the total tells. */
function settleSums(
  { prompt, completion, total, apart }: Reported,
  parts: Parts,
  doubts: string[],
): { input: number; output: number } {
  const inside = prompt + completion;
  // A part cannot exceed its whole: such reasoning lies beside the completion, whatever the total says.
  const output = parts.reasoning > completion ? completion + parts.reasoning : completion;
  if (total === undefined) {
    const tooMany = parts.cacheRead > prompt || parts.cacheWrite > prompt;
    if (tooMany) doubts.push('more cached tokens than prompt tokens, taken as beside the prompt');
    return { input: tooMany || apart ? prompt + parts.cacheRead + parts.cacheWrite : prompt, output };
  }
  if (total === inside) {
    if (output > completion)
      doubts.push('more reasoning tokens than completion tokens, which the total leaves out');
    return { input: prompt, output };
  }
  for (const beside of [0, parts.audioInput, parts.cacheRead, parts.cacheRead + parts.cacheWrite]) {
    for (const thought of [parts.reasoning, 0]) {
      if (total !== inside + beside + thought) continue;
      return { input: prompt + beside, output: thought > 0 ? completion + thought : output };
    }
  }
  doubts.push(`total_tokens ${total} is not the sum of its parts`);
  return { input: prompt, output };
}

type InputClasses = Pick<
  TokenCounts,
  'uncachedInput' | 'cacheRead' | 'cacheWrite' | 'cacheWrite1h' | 'audioInput' | 'imageInput'
>;

function inputClasses(input: number, parts: Parts, doubts: string[]): InputClasses {
  let { cacheRead, cacheWrite } = parts;
  if (cacheRead > input) {
    // Azure's Grok: 163 cached of a prompt of 7, with a total that has room for 7 only. What the total names is billed,
    // as fresh input: that is right if the prompt leaves the cached tokens out, and close if it does not.
    doubts.push(`${cacheRead} cached tokens of ${input} input tokens: not believed`);
    cacheRead = 0;
  }
  if (cacheRead + cacheWrite > input) {
    // OpenRouter's Gemini names the same tokens as read and as written.
    doubts.push(`${cacheWrite} cache-write tokens do not fit beside ${cacheRead} cached ones: not believed`);
    cacheWrite = 0;
  }
  let fresh = input - cacheRead - cacheWrite;
  // How much of the audio and images came from a cache is not told. Caches hold beginnings, which are mostly text.
  const audioInput = Math.min(parts.audioInput, fresh);
  fresh -= audioInput;
  const imageInput = Math.min(parts.imageInput, fresh);
  return {
    uncachedInput: fresh - imageInput,
    cacheRead,
    cacheWrite,
    cacheWrite1h: 0,
    audioInput,
    imageInput,
  };
}

type OutputClasses = Pick<TokenCounts, 'textOutput' | 'reasoning' | 'audioOutput' | 'imageOutput'>;

function outputClasses(output: number, parts: Parts, doubts: string[]): OutputClasses {
  const named = parts.reasoning + parts.audioOutput + parts.imageOutput;
  if (named > output) doubts.push(`${named} tokens in the details of ${output} output tokens`);
  const reasoning = Math.min(parts.reasoning, output);
  const audioOutput = Math.min(parts.audioOutput, output - reasoning);
  const imageOutput = Math.min(parts.imageOutput, output - reasoning - audioOutput);
  return {
    textOutput: output - reasoning - audioOutput - imageOutput,
    reasoning,
    audioOutput,
    imageOutput,
  };
}
