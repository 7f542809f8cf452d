/** How a canonical usage record becomes billable lines: which classes count under which token type. */
import type { TokenCounts } from './usage.ts';
import { inputTokens, outputTokens } from './usage.ts';

/** `input` and `output` always exist; the finer ones are split out of them where the operator asks for it. */
export type TokenType = 'input' | 'output' | 'cached_input' | 'cache_write' | 'reasoning';

/**
 * The tokens of each configured type, zeros left out. Whatever the types, they add up to everything read and generated.
 */
export function countByType(
  counts: TokenCounts,
  types: readonly TokenType[],
): readonly { readonly tokenType: TokenType; readonly tokens: number }[] {
  const split = {
    cached_input: types.includes('cached_input') ? counts.cacheRead : 0,
    cache_write: types.includes('cache_write') ? counts.cacheWrite + counts.cacheWrite1h : 0,
    reasoning: types.includes('reasoning') ? counts.reasoning : 0,
  };
  const all: { tokenType: TokenType; tokens: number }[] = [
    { tokenType: 'input', tokens: inputTokens(counts) - split.cached_input - split.cache_write },
    { tokenType: 'cached_input', tokens: split.cached_input },
    { tokenType: 'cache_write', tokens: split.cache_write },
    { tokenType: 'output', tokens: outputTokens(counts) - split.reasoning },
    { tokenType: 'reasoning', tokens: split.reasoning },
  ];
  return all.filter(({ tokens }) => tokens > 0);
}
