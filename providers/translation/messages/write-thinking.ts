/** How a Messages request says how hard to think: in words for newer models, by a budget for older ones. */
import type { Conversation } from '../conversation.ts';
import { budgetOf, effortOf } from '../effort.ts';
import type { JsonRecord } from '../members.ts';
import { cannotSay } from '../targets.ts';
import { joinedTurns } from '../turns.ts';

/** The least that the dialect takes. */
const BUDGET_TOKENS_MIN = 1_024;

/** Claude 3 and 4 up to 4.5: they know no effort and do not think by themselves. */
const BY_BUDGET = /claude-(?:3|(?:opus|sonnet|haiku)-4(?:[-.][0-5])?(?:[-@]20\d{6}|-latest|$))/;

interface Asked {
  readonly model: string;
  readonly maxTokens: number;
  /** The output's format, which stands beside the effort. */
  readonly format: JsonRecord;
}

export function writeThinking(conversation: Conversation, { model, maxTokens, format }: Asked): JsonRecord {
  const { effort, ...thinking } = BY_BUDGET.test(model)
    ? writeBudget(conversation, maxTokens)
    : writeEffort(conversation);
  const output = { ...format, ...(effort === undefined ? {} : { effort }) };
  return { ...thinking, ...(Object.keys(output).length === 0 ? {} : { output_config: output }) };
}

function writeEffort(conversation: Conversation): JsonRecord {
  const { reasoning } = conversation;
  const effort = effortOf(reasoning);
  if (effort === 'none') return { thinking: { type: 'disabled' } };
  if (effort === undefined && reasoning.budgetTokens === undefined && reasoning.visible === undefined)
    return {};
  return {
    thinking: { type: 'adaptive', ...writeDisplay(conversation) },
    effort: effort === 'minimal' ? 'low' : effort,
  };
}

function writeBudget(conversation: Conversation, maxTokens: number): JsonRecord {
  const budget = budgetOf(conversation.reasoning);
  if (budget === undefined || budget <= 0 || lacksThoughts(conversation)) return {};
  const fitting = Math.min(Math.max(budget, BUDGET_TOKENS_MIN), maxTokens - 1);
  if (fitting < BUDGET_TOKENS_MIN) {
    const member = conversation.reasoning.effort === undefined ? 'budgetTokens' : 'effort';
    const why = `thinking needs more than ${BUDGET_TOKENS_MIN} tokens, and ${maxTokens} are all that may be written`;
    throw cannotSay(conversation, member, why);
  }
  return { thinking: { type: 'enabled', budget_tokens: fitting, ...writeDisplay(conversation) } };
}

const writeDisplay = ({ reasoning: { visible } }: Conversation): JsonRecord =>
  visible === undefined ? {} : { display: visible ? 'summarized' : 'omitted' };

/**
 * Tools answer a turn whose thoughts the caller did not return. With a budget the dialect then refuses to go on thinking,
 * so such a turn is asked for without.
 */
function lacksThoughts(conversation: Conversation): boolean {
  const [calls, answers] = joinedTurns(conversation.turns.filter(({ role }) => role !== 'system')).slice(-2);
  if (answers?.role !== 'user' || calls?.role !== 'assistant') return false;
  if (!answers.parts.some(({ kind }) => kind === 'tool_result')) return false;
  return !calls.parts.some((part) => part.kind === 'reasoning' && part.vendor === 'anthropic');
}
