/** Writes a conversation as a Responses request. */
import type { Conversation, OutputFormat, Tool, ToolChoice } from '../conversation.ts';
import type { RequestWriter } from '../dialect.ts';
import { type Effort, effortOf } from '../effort.ts';
import type { JsonRecord } from '../members.ts';
import { cannotSay, checkTarget } from '../targets.ts';
import { toolSchema } from '../tool-schema.ts';
import { joinedText } from '../turns.ts';
import { shortName } from '../chat/write-request.ts';
import { writeInput } from './write-input.ts';

/** The dialect refuses fewer. */
const OUTPUT_TOKENS_MIN = 16;

export const writeResponsesRequest: RequestWriter = (conversation, model) => {
  checkTarget(conversation, 'responses');
  const { instructions, tools, toolChoice, sampling } = conversation;
  const { maxTokens, logprobs } = sampling;
  return {
    model,
    ...(instructions.length === 0 ? {} : { instructions: joinedText(instructions) }),
    input: writeInput(conversation),
    ...(conversation.stream ? { stream: true } : {}),
    // Stored unless it is told otherwise: nobody who spoke another dialect asked for that.
    store: false,
    ...(tools.length === 0 ? {} : { tools: tools.map(writeTool) }),
    ...(toolChoice === undefined || tools.length === 0 ? {} : { tool_choice: writeToolChoice(toolChoice) }),
    ...(tools.length === 0 ? {} : { parallel_tool_calls: conversation.parallelTools }),
    max_output_tokens: maxTokens === undefined ? undefined : Math.max(OUTPUT_TOKENS_MIN, maxTokens),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    ...writeText(conversation),
    ...writeReasoning(conversation, model),
    ...writeInclude(logprobs, model),
    ...(logprobs === undefined || logprobs === 0 ? {} : { top_logprobs: logprobs }),
    service_tier: conversation.serviceTier === 'auto' ? undefined : conversation.serviceTier,
    safety_identifier: shortName(conversation.endUser),
    prompt_cache_key: conversation.cacheKey,
  };
};

/** OpenAI's models that think; the others refuse to be asked for thoughts. */
const thinks = (model: string): boolean =>
  /^(?:o\d|gpt-[5-9]|codex-|computer-use)/.test(model) && !model.includes('-chat');

function writeText({ format, verbosity }: Conversation): JsonRecord {
  if (format === undefined && verbosity === undefined) return {};
  return { text: { ...(format === undefined ? {} : { format: writeFormat(format) }), verbosity } };
}

function writeFormat(format: OutputFormat): JsonRecord {
  if (format.kind !== 'json_schema') return { type: format.kind };
  const { name, description, schema, strict } = format;
  return { type: 'json_schema', name, description, schema, strict: strict ?? false };
}

function writeReasoning(conversation: Conversation, model: string): JsonRecord {
  const { reasoning } = conversation;
  const effort = effortOf(reasoning);
  if (effort === undefined && reasoning.visible !== true) return {};
  if (!thinks(model) && (effort === undefined || effort === 'none')) return {};
  return {
    reasoning: {
      effort: effort === 'none' ? leastEffort(conversation, model) : effort,
      ...(reasoning.visible === true ? { summary: 'auto' } : {}),
    },
  };
}

/** Not thinking is `none` since GPT-5.1 and `minimal` with GPT-5; the models before it always think. */
function leastEffort(conversation: Conversation, model: string): Effort {
  if (/^(?:o\d|codex-)/.test(model)) {
    const member = conversation.reasoning.effort === undefined ? 'budgetTokens' : 'effort';
    throw cannotSay(conversation, member, `the model ${model} always thinks`);
  }
  return /^gpt-5(?:-|$)/.test(model) ? 'minimal' : 'none';
}

/** Nothing is stored, so what the model thought must come along to be given back with the next turn. */
function writeInclude(logprobs: number | undefined, model: string): JsonRecord {
  const include = [
    ...(thinks(model) ? ['reasoning.encrypted_content'] : []),
    ...(logprobs === undefined ? [] : ['message.output_text.logprobs']),
  ];
  return include.length === 0 ? {} : { include };
}

/** Left out, this dialect's tools are strict and other dialects' are not. */
const writeTool = ({ name, description, parameters, strict }: Tool): JsonRecord => ({
  type: 'function',
  name,
  description,
  parameters: toolSchema(parameters ?? {}),
  strict: strict ?? false,
});

const writeToolChoice = (choice: ToolChoice): unknown =>
  choice.kind === 'tool' ? { type: 'function', name: choice.name } : choice.kind;
