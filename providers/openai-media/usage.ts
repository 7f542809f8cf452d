/**
 * Usage of pictures and sound. Vendors report tokens for their newer models, under the names of either OpenAI API; for
 * the others seconds, or nothing at all, and then what the reply or the request shows is counted in the vendor's unit.
 */
import { isRecord } from '../../src/usage/json-value.ts';
import {
  inputTokens,
  outputTokens,
  ZERO_TOKENS,
  type Metered,
  type Units,
  type UsageLine,
} from '../../src/usage/usage.ts';
import { TOKENS_MAX } from '../passage/counts.ts';
import { readChatUsage, type ChatUsage } from '../openai-chat/usage.ts';

/** What a reply generates: the class its output tokens are of when no details say so. */
export type Generates = 'text' | 'image' | 'audio';

/** The tokens of a `usage`; undefined when it reports none, or zeros alone, as proxies write for models that have no tokens. */
export function mediaTokens(usage: unknown, generates: Generates): ChatUsage | undefined {
  if (!isRecord(usage)) return undefined;
  const prompt = usage['input_tokens'] ?? usage['prompt_tokens'];
  const completion = usage['output_tokens'] ?? usage['completion_tokens'];
  if ((prompt ?? completion) === undefined) return undefined;
  const told = detailsOf(usage, 'output') ?? detailsOf(usage, 'completion');
  const read = readChatUsage({
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: usage['total_tokens'],
    prompt_tokens_details: detailsOf(usage, 'input') ?? detailsOf(usage, 'prompt'),
    completion_tokens_details:
      told ?? (generates === 'text' ? undefined : { [`${generates}_tokens`]: completion }),
    reasoning_tokens: usage['reasoning_tokens'],
    prompt_audio_seconds: usage['prompt_audio_seconds'],
  });
  const isZero = read.kind === 'counts' && inputTokens(read.counts) + outputTokens(read.counts) === 0;
  return isZero ? undefined : read;
}

/** The tokens of a `usage`, else the units; where it reports tokens that are not believed, the units as an estimate. */
export function meteredMedia(usage: unknown, generates: Generates, units: Units): Metered {
  const read = mediaTokens(usage, generates);
  if (read === undefined) return meteredUnits(units);
  return read.kind === 'counts' ? meteredTokens(read) : estimatedUnits(units, read.reason);
}

/** OpenAI writes `input_tokens_details` of pictures and `input_token_details` of sound. */
const detailsOf = (usage: Readonly<Record<string, unknown>>, side: string): unknown =>
  usage[`${side}_tokens_details`] ?? usage[`${side}_token_details`];

/** The seconds of a `usage` that is reported as a duration; undefined for any other. */
export function reportedSeconds(usage: unknown): number | undefined {
  if (!isRecord(usage)) return undefined;
  return wholeSeconds(usage['seconds'] ?? usage['prompt_audio_seconds']);
}

/** Seconds as they are billed: begun ones count. Undefined for anything that is no length of time. OpenAI's reference has a `duration` as text. */
export function wholeSeconds(value: unknown): number | undefined {
  const seconds = typeof value === 'string' && /^\d{1,10}(?:\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof seconds === 'number' && seconds >= 0 && seconds <= TOKENS_MAX
    ? Math.ceil(seconds)
    : undefined;
}

export const unitsLine = (units: Units): UsageLine => ({ ...ZERO_TOKENS, servedModel: null, units });

/** A reply that told its tokens. */
export const meteredTokens = (read: Extract<ChatUsage, { kind: 'counts' }>): Metered => ({
  kind: 'final',
  lines: [{ ...read.counts, servedModel: null }],
  reason: read.reason,
});

export const meteredUnits = (units: Units): Metered => ({ kind: 'final', lines: [unitsLine(units)] });

/** Our own count in the vendor's unit: marked as an estimate. */
export const estimatedUnits = (units: Units, reason: string): Metered => ({
  kind: 'cut',
  lines: [unitsLine(units)],
  reason,
});
