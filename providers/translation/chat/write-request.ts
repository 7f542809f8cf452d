/** Writes a conversation as a chat completion request. */
import { type Conversation, type OutputFormat, type Tool, type ToolChoice } from '../conversation.ts';
import type { RequestWriter } from '../dialect.ts';
import { effortOf } from '../effort.ts';
import type { JsonRecord } from '../members.ts';
import { checkTarget } from '../targets.ts';
import { toolSchema } from '../tool-schema.ts';
import { writeMessages } from './write-messages.ts';

/** OpenAI takes no longer name of an end user. */
export const END_USER_LENGTH_MAX = 64;

export const writeChatRequest: RequestWriter = (conversation, model) => {
  checkTarget(conversation, 'chat');
  const { tools, toolChoice, format } = conversation;
  return {
    model,
    messages: writeMessages(conversation),
    ...(conversation.stream ? { stream: true } : {}),
    ...(tools.length === 0 ? {} : { tools: tools.map(writeTool) }),
    ...(toolChoice === undefined || tools.length === 0 ? {} : { tool_choice: writeToolChoice(toolChoice) }),
    ...(tools.length === 0 ? {} : { parallel_tool_calls: conversation.parallelTools }),
    ...(format === undefined ? {} : { response_format: writeFormat(format) }),
    ...writeSampling(conversation, model),
    reasoning_effort: writeEffort(conversation),
    verbosity: conversation.verbosity,
    service_tier: conversation.serviceTier === 'auto' ? undefined : conversation.serviceTier,
    user: shortName(conversation.endUser),
  };
};

export const shortName = (endUser: string | undefined): string | undefined =>
  (endUser?.length ?? 0) > END_USER_LENGTH_MAX ? undefined : endUser;

/** Not to think at all is what a model does that nobody asked to. */
const writeEffort = ({ reasoning }: Conversation): string | undefined =>
  reasoning.budgetTokens === 0 ? undefined : effortOf(reasoning);

/** OpenAI's models that think refuse the older name, and others who speak the dialect may not know the newer one. */
const maxTokensName = (model: string): string =>
  /^(?:o\d|gpt-[5-9])/.test(model) ? 'max_completion_tokens' : 'max_tokens';

function writeSampling({ sampling }: Conversation, model: string): JsonRecord {
  const { logprobs } = sampling;
  return {
    [maxTokensName(model)]: sampling.maxTokens,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    stop: sampling.stop,
    seed: sampling.seed,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    n: sampling.choices,
    ...(logprobs === undefined ? {} : { logprobs: true }),
    ...(logprobs === undefined || logprobs === 0 ? {} : { top_logprobs: logprobs }),
  };
}

const writeTool = ({ name, description, parameters, strict }: Tool): JsonRecord => ({
  type: 'function',
  function: {
    name,
    description,
    parameters: parameters === undefined ? undefined : toolSchema(parameters),
    strict,
  },
});

const writeToolChoice = (choice: ToolChoice): unknown =>
  choice.kind === 'tool' ? { type: 'function', function: { name: choice.name } } : choice.kind;

function writeFormat(format: OutputFormat): JsonRecord {
  if (format.kind !== 'json_schema') return { type: format.kind };
  const { name, description, schema, strict } = format;
  return { type: 'json_schema', json_schema: { name, description, schema, strict } };
}
