/**
 * How hard a model is to think: OpenAI has a word for it, Anthropic and Google have words for their newer models and a
 * budget of tokens for the older ones. One table goes both ways.
 */
import type { Reasoning } from './conversation.ts';

export type Effort = NonNullable<Reasoning['effort']>;

/**
 * Tokens for an effort. Anthropic takes no fewer than 1,024 and the thinking must fit into the reply with the rest: the
 * most is less than the 32,000 that every model with a budget may write.
 */
const BUDGETS: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 1_024,
  low: 4_096,
  medium: 8_192,
  high: 16_384,
  xhigh: 24_576,
  max: 28_672,
};

/** The largest budgets that still are that effort; more is `high`, which every model with efforts knows. */
const LOW_BUDGET_MAX = 4_096;
const MEDIUM_BUDGET_MAX = 16_383;

/** The effort as it was given, or that of the budget; undefined where neither was, or as much as the model likes. */
export function effortOf({ effort, budgetTokens }: Reasoning): Effort | undefined {
  if (budgetTokens === 0) return 'none';
  if (effort !== undefined || budgetTokens === undefined || budgetTokens < 0) return effort;
  if (budgetTokens <= LOW_BUDGET_MAX) return 'low';
  return budgetTokens <= MEDIUM_BUDGET_MAX ? 'medium' : 'high';
}

/** The budget as it was given, or that of the effort; undefined where neither was; -1 for as much as the model likes. */
export const budgetOf = ({ effort, budgetTokens }: Reasoning): number | undefined =>
  effort !== undefined && (budgetTokens === undefined || budgetTokens < 0) ? BUDGETS[effort] : budgetTokens;
