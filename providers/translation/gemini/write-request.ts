/** Writes a conversation as a generateContent request. The model and whether to stream stand in the path. */
import type { Conversation, OutputFormat, Tool, ToolChoice } from '../conversation.ts';
import type { RequestWriter } from '../dialect.ts';
import { budgetOf, type Effort, effortOf } from '../effort.ts';
import type { JsonRecord } from '../members.ts';
import { cannotSay, checkTarget } from '../targets.ts';
import { systemTexts } from '../turns.ts';
import { writeContents } from './write-contents.ts';

export const writeGeminiRequest: RequestWriter = (conversation, model) => {
  checkTarget(conversation, 'gemini');
  const { tools } = conversation;
  const system = systemTexts(conversation);
  return {
    ...(system.length === 0 ? {} : { systemInstruction: { parts: system.map(({ text }) => ({ text })) } }),
    contents: writeContents(conversation, model),
    ...(tools.length === 0
      ? {}
      : { tools: [{ functionDeclarations: tools.map(writeTool) }], ...writeToolConfig(conversation) }),
    generationConfig: writeConfig(conversation, model),
    ...writeTier(conversation),
  };
};

/** Gemini 1 and 2 count the tokens of a thought; later ones know how hard to think. */
const thinksByBudget = (model: string): boolean => /gemini-[12][.-]/.test(model);

/** Gemini 2.5 takes no more, the smallest of its models counted. */
const BUDGET_TOKENS_MAX = 24_576;

const LEVELS: Readonly<Record<Effort, string | undefined>> = {
  none: undefined,
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'HIGH',
  max: 'HIGH',
};

function writeConfig(conversation: Conversation, model: string): JsonRecord {
  const { sampling, format } = conversation;
  const { logprobs } = sampling;
  return {
    maxOutputTokens: sampling.maxTokens,
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: sampling.topK,
    stopSequences: sampling.stop,
    seed: sampling.seed,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    candidateCount: sampling.choices,
    ...(logprobs === undefined ? {} : { responseLogprobs: true }),
    ...(logprobs === undefined || logprobs === 0 ? {} : { logprobs }),
    ...(format === undefined ? {} : writeFormat(format)),
    ...writeThinking(conversation, model),
  };
}

function writeFormat(format: OutputFormat): JsonRecord {
  switch (format.kind) {
    case 'text':
      return {};
    case 'json_object':
      return { responseMimeType: 'application/json' };
    case 'json_schema':
      return { responseMimeType: 'application/json', responseJsonSchema: format.schema };
  }
}

function writeThinking(conversation: Conversation, model: string): JsonRecord {
  const { reasoning } = conversation;
  const thinking = {
    ...(thinksByBudget(model) ? writeBudget(conversation) : writeLevel(conversation, model)),
    ...(reasoning.visible === undefined ? {} : { includeThoughts: reasoning.visible }),
  };
  return Object.keys(thinking).length === 0 ? {} : { thinkingConfig: thinking };
}

function writeBudget({ reasoning }: Conversation): JsonRecord {
  const budget = budgetOf(reasoning);
  return budget === undefined ? {} : { thinkingBudget: Math.min(budget, BUDGET_TOKENS_MAX) };
}

/** Only the small models can be asked for almost no thought, and none of them for none. */
function writeLevel(conversation: Conversation, model: string): JsonRecord {
  const effort = effortOf(conversation.reasoning);
  if (effort === undefined) return {};
  const small = model.includes('flash');
  if (effort === 'none' && !small) {
    const member = conversation.reasoning.effort === undefined ? 'budgetTokens' : 'effort';
    throw cannotSay(conversation, member, `the model ${model} always thinks`);
  }
  if (effort === 'none' || effort === 'minimal') return { thinkingLevel: small ? 'MINIMAL' : 'LOW' };
  return { thinkingLevel: LEVELS[effort] };
}

const writeTool = ({ name, description, parameters }: Tool): JsonRecord => ({
  name,
  description,
  ...(parameters === undefined ? {} : { parametersJsonSchema: parameters }),
});

const MODES: Readonly<Record<ToolChoice['kind'], string>> = {
  auto: 'AUTO',
  none: 'NONE',
  required: 'ANY',
  tool: 'ANY',
};

/** A strict tool's calls are held to its schema by the mode: `ANY` does, `VALIDATED` is `AUTO` that does. */
function writeToolConfig({ toolChoice, tools }: Conversation): JsonRecord {
  const strict = tools.some((tool) => tool.strict === true);
  if (toolChoice === undefined && !strict) return {};
  const mode = MODES[toolChoice?.kind ?? 'auto'] ?? 'AUTO';
  return {
    toolConfig: {
      functionCallingConfig: {
        mode: mode === 'AUTO' && strict ? 'VALIDATED' : mode,
        ...(toolChoice?.kind === 'tool' ? { allowedFunctionNames: [toolChoice.name] } : {}),
      },
    },
  };
}

function writeTier({ serviceTier }: Conversation): JsonRecord {
  if (serviceTier === undefined || serviceTier === 'auto') return {};
  return { serviceTier: serviceTier === 'default' ? 'standard' : serviceTier };
}
