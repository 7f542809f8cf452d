/**
 * Usage of pictures and sound. Vendors report tokens for their newer models, under the names of either OpenAI API; for
 * the others seconds, or nothing at all, and then what the reply or the request shows is counted in the vendor's unit.
 */
import { isRecord } from '../../src/usage/json-value.ts';
import { ZERO_TOKENS, type Metered, type Units, type UsageLine } from '../../src/usage/usage.ts';
import { TOKENS_MAX } from '../passage/counts.ts';
import { readChatUsage, type ChatUsage } from '../openai-chat/usage.ts';

/** What a reply generates: the class its output tokens are of when no details say so. */
export type Generates = 'text' | 'image' | 'audio';

/** The tokens of a `usage`; undefined when it reports none. */
export function mediaTokens(usage: unknown, generates: Generates): ChatUsage | undefined {
  if (!isRecord(usage)) return undefined;
  const prompt = usage['input_tokens'] ?? usage['prompt_tokens'];
  const completion = usage['output_tokens'] ?? usage['completion_tokens'];
  if ((prompt ?? completion) === undefined) return undefined;
  const told = detailsOf(usage, 'output') ?? detailsOf(usage, 'completion');
  return readChatUsage({
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: usage['total_tokens'],
    prompt_tokens_details: detailsOf(usage, 'input') ?? detailsOf(usage, 'prompt'),
    completion_tokens_details:
      told ?? (generates === 'text' ? undefined : { [`${generates}_tokens`]: completion }),
    reasoning_tokens: usage['reasoning_tokens'],
    prompt_audio_seconds: usage['prompt_audio_seconds'],
  });
}

/** OpenAI writes `input_tokens_details` of pictures and `input_token_details` of sound. */
const detailsOf = (usage: Readonly<Record<string, unknown>>, side: string): unknown =>
  usage[`${side}_tokens_details`] ?? usage[`${side}_token_details`];

/** The seconds of a `usage` that is reported as a duration; undefined for any other. */
export function reportedSeconds(usage: unknown): number | undefined {
  if (!isRecord(usage)) return undefined;
  return wholeSeconds(usage['seconds'] ?? usage['prompt_audio_seconds']);
}

/** Seconds as they are billed: begun ones count. Undefined for anything that is no length of time. */
export const wholeSeconds = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value <= TOKENS_MAX ? Math.ceil(value) : undefined;

export const unitsLine = (units: Units): UsageLine => ({ ...ZERO_TOKENS, servedModel: null, units });

/** A reply that told its tokens, or a reason why they are not believed. */
export function meteredTokens(read: ChatUsage): Metered {
  if (read.kind === 'refused') return { kind: 'none', lines: [], reason: read.reason };
  return { kind: 'final', lines: [{ ...read.counts, servedModel: null }], reason: read.reason };
}

export const meteredUnits = (units: Units): Metered => ({ kind: 'final', lines: [unitsLine(units)] });

/** Our own count in the vendor's unit: marked as an estimate. */
export const estimatedUnits = (units: Units, reason: string): Metered => ({
  kind: 'cut',
  lines: [unitsLine(units)],
  reason,
});
