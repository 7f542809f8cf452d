/** Writes a conversation as a Messages request. */
import type { Conversation, Tool } from '../conversation.ts';
import type { RequestWriter } from '../dialect.ts';
import type { JsonRecord } from '../members.ts';
import { cannotSay, checkTarget } from '../targets.ts';
import { toolSchema } from '../tool-schema.ts';
import { systemTexts } from '../turns.ts';
import { writeCache } from './write-cache.ts';
import { writeContent, writeMessages } from './write-messages.ts';
import { writeThinking } from './write-thinking.ts';

/**
 * What a model may write where the caller sets no bound; the dialect wants one. The most that the models named take, and
 * for every other what the smallest of them takes, so that a reply ends early only where it is longer than most.
 */
const MAX_TOKENS: readonly (readonly [model: RegExp, tokens: number])[] = [
  [/^claude-3-(?:opus|sonnet|haiku)/, 4_096],
  [/^claude-3-5-/, 8_192],
];
const MAX_TOKENS_ELSE = 32_000;

export const writeMessagesRequest: RequestWriter = (conversation, model) => {
  checkTarget(conversation, 'messages');
  const { sampling, tools } = conversation;
  const system = systemTexts(conversation);
  const maxTokens = sampling.maxTokens ?? defaultMaxTokens(model);
  if ((sampling.temperature ?? 0) > 1)
    throw cannotSay(conversation, 'temperature', "this dialect's goes from 0 to 1");
  return {
    model,
    max_tokens: maxTokens,
    ...(system.length === 0 ? {} : { system: system.flatMap(writeContent) }),
    messages: writeMessages(conversation),
    ...(conversation.stream ? { stream: true } : {}),
    ...(tools.length === 0 ? {} : { tools: tools.map(writeTool), ...writeToolChoice(conversation) }),
    temperature: sampling.temperature,
    // Of all tokens is what the dialect has unasked; newer models refuse to be told both.
    top_p: sampling.topP === 1 ? undefined : sampling.topP,
    top_k: sampling.topK,
    stop_sequences: sampling.stop,
    ...writeThinking(conversation, { model, maxTokens, format: writeFormat(conversation) }),
    ...writeTier(conversation),
    ...(conversation.endUser === undefined ? {} : { metadata: { user_id: conversation.endUser } }),
  };
};

export const defaultMaxTokens = (model: string): number =>
  MAX_TOKENS.find(([models]) => models.test(model))?.[1] ?? MAX_TOKENS_ELSE;

const writeTool = ({ name, description, parameters, strict, cache }: Tool): JsonRecord => ({
  name,
  description,
  input_schema: toolSchema(parameters ?? {}),
  ...(strict === true ? { strict } : {}),
  ...writeCache(cache),
});

const CHOICES = { auto: 'auto', required: 'any', none: 'none', tool: 'tool' } as const;

function writeToolChoice({ toolChoice, parallelTools }: Conversation): JsonRecord {
  const single = parallelTools === false;
  if (toolChoice === undefined && !single) return {};
  const type = CHOICES[toolChoice?.kind ?? 'auto'];
  return {
    tool_choice: {
      type,
      ...(toolChoice?.kind === 'tool' ? { name: toolChoice.name } : {}),
      ...(single && type !== 'none' ? { disable_parallel_tool_use: true } : {}),
    },
  };
}

function writeFormat(conversation: Conversation): JsonRecord {
  const { format } = conversation;
  if (format === undefined || format.kind === 'text') return {};
  if (format.kind === 'json_schema') return { format: { type: 'json_schema', schema: format.schema } };
  throw cannotSay(conversation, 'format', 'this dialect holds a reply to a schema only');
}

function writeTier(conversation: Conversation): JsonRecord {
  switch (conversation.serviceTier) {
    case undefined:
      return {};
    case 'auto':
      return { service_tier: 'auto' };
    case 'default':
      return { service_tier: 'standard_only' };
    default:
      throw cannotSay(conversation, 'serviceTier', 'this dialect has "auto" and "default" only');
  }
}
