/** Usage in the words of Anthropic's messages: cache reads and writes beside the input, thinking inside the output. */
import { outputTokens, ZERO_TOKENS, type TokenCounts } from '../../../src/usage/usage.ts';

type Json = Readonly<Record<string, unknown>>;

/** What a `message_delta` tells; zeros where nothing is known, since the SDK wants numbers. */
export const deltaUsage = (counts: TokenCounts = ZERO_TOKENS): Json => ({
  input_tokens: counts.uncachedInput + counts.audioInput + counts.imageInput,
  cache_creation_input_tokens: counts.cacheWrite + counts.cacheWrite1h,
  cache_read_input_tokens: counts.cacheRead,
  output_tokens: outputTokens(counts),
  output_tokens_details: { thinking_tokens: counts.reasoning },
});

/** What a message tells. */
export const messageUsage = (counts: TokenCounts = ZERO_TOKENS, tier?: string): Json => ({
  ...deltaUsage(counts),
  cache_creation: {
    ephemeral_5m_input_tokens: counts.cacheWrite,
    ephemeral_1h_input_tokens: counts.cacheWrite1h,
  },
  server_tool_use: null,
  service_tier: anthropicTier(tier),
});

/** Service tiers that Anthropic knows, by the words of all vendors; others it would call the ordinary one. */
const TIERS: Readonly<Record<string, string>> = { priority: 'priority', batch: 'batch' };

const anthropicTier = (tier = ''): string =>
  Object.hasOwn(TIERS, tier.toLowerCase()) ? (TIERS[tier.toLowerCase()] ?? 'standard') : 'standard';
