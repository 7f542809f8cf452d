/** Usage in the words of chat completions: cache reads inside the prompt, reasoning inside the completion. */
import { inputTokens, outputTokens, type TokenCounts } from '../../../src/usage/usage.ts';

export function chatUsage(counts: TokenCounts): Readonly<Record<string, unknown>> {
  const input = inputTokens(counts);
  const output = outputTokens(counts);
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: inputDetails(counts),
    completion_tokens_details: outputDetails(counts),
  };
}

/** Parts of the input that OpenAI tells; those it tells only now and then stand here only when they are. */
export const inputDetails = (counts: TokenCounts): Readonly<Record<string, number>> => ({
  cached_tokens: counts.cacheRead,
  audio_tokens: counts.audioInput,
  ...some('cache_write_tokens', counts.cacheWrite + counts.cacheWrite1h),
  ...some('image_tokens', counts.imageInput),
});

export const outputDetails = (counts: TokenCounts): Readonly<Record<string, number>> => ({
  reasoning_tokens: counts.reasoning,
  audio_tokens: counts.audioOutput,
  ...some('image_tokens', counts.imageOutput),
});

const some = (name: string, count: number): Readonly<Record<string, number>> =>
  count === 0 ? {} : { [name]: count };

/** Service tiers that OpenAI knows, by the words of all vendors; others are left out. */
const TIERS: Readonly<Record<string, string>> = {
  default: 'default',
  standard: 'default',
  on_demand: 'default',
  flex: 'flex',
  scale: 'scale',
  priority: 'priority',
};

export const openaiTier = (tier: string | undefined): string | undefined =>
  tier !== undefined && Object.hasOwn(TIERS, tier.toLowerCase()) ? TIERS[tier.toLowerCase()] : undefined;
