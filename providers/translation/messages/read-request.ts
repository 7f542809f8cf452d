/** Reads a Messages request into a conversation. */
import {
  type Conversation,
  type Member,
  type OutputFormat,
  type Reasoning,
  type ServiceTier,
  type Tool,
  type ToolChoice,
  Untranslatable,
} from '../conversation.ts';
import type { RequestReader } from '../dialect.ts';
import { checkMembers, isGiven, type JsonRecord } from '../members.ts';
import { cacheOf, EFFORTS, namesOf, samplingOf } from '../read-members.ts';
import {
  bodyOf,
  booleanAt,
  listAt,
  neededText,
  numberAt,
  oneOfAt,
  recordAt,
  schemaAt,
  textAt,
} from '../reading.ts';
import { MESSAGES_PLACES } from './members.ts';
import { readMessages, readSystem } from './read-messages.ts';

export const readMessagesRequest: RequestReader = (call) => {
  const body = bodyOf(call);
  check(body, '', '');
  const choice = optional(body, 'tool_choice');
  const thinking = optional(body, 'thinking');
  const output = optional(body, 'output_config');
  const metadata = optional(body, 'metadata');
  return {
    instructions: readSystem(body['system'], 'system'),
    turns: readMessages(body['messages']),
    tools: listAt(body['tools'], 'tools').map((tool, index) => readTool(tool, `tools[${index}]`)),
    toolChoice: readToolChoice(choice),
    parallelTools: booleanAt(choice['disable_parallel_tool_use'], 'tool_choice') === true ? false : undefined,
    format: isGiven(output['format'])
      ? readFormat(output['format'], 'output_config.format')
      : readFormat(body['output_format'], 'output_format'),
    reasoning: readReasoning(thinking, output),
    sampling: samplingOf(body, SAMPLING),
    stream: call.stream,
    endUser: textAt(metadata['user_id'], 'metadata.user_id'),
    metadata: undefined,
    serviceTier: TIERS[oneOfAt(body['service_tier'], 'service_tier', ['auto', 'standard_only']) ?? ''],
    store: undefined,
    cacheKey: undefined,
    verbosity: undefined,
    names: { ...namesOf(body, NAMES), ...nestedNames({ choice, thinking, output, metadata }) },
  } satisfies Conversation;
};

const TIERS: Readonly<Record<string, ServiceTier>> = { auto: 'auto', standard_only: 'default' };

const SAMPLING = {
  maxTokens: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  stop: 'stop_sequences',
} as const;

const NAMES: readonly (readonly [member: Member, name: string])[] = [
  ['maxTokens', 'max_tokens'],
  ['temperature', 'temperature'],
  ['topP', 'top_p'],
  ['topK', 'top_k'],
  ['stop', 'stop_sequences'],
  ['tools', 'tools'],
  ['toolChoice', 'tool_choice'],
  ['format', 'output_format'],
  ['serviceTier', 'service_tier'],
];

const nestedNames = (given: {
  readonly choice: JsonRecord;
  readonly thinking: JsonRecord;
  readonly output: JsonRecord;
  readonly metadata: JsonRecord;
}): Readonly<Partial<Record<Member, string>>> => ({
  ...(given.choice['disable_parallel_tool_use'] === true
    ? { parallelTools: 'tool_choice.disable_parallel_tool_use' }
    : {}),
  ...(isGiven(given.thinking['type'])
    ? { effort: 'thinking', visible: 'thinking', budgetTokens: 'thinking' }
    : {}),
  ...(isGiven(given.thinking['budget_tokens']) ? { budgetTokens: 'thinking.budget_tokens' } : {}),
  ...(isGiven(given.output['effort']) ? { effort: 'output_config.effort' } : {}),
  ...(isGiven(given.output['format']) ? { format: 'output_config.format' } : {}),
  ...(isGiven(given.metadata['user_id']) ? { endUser: 'metadata.user_id' } : {}),
});

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, MESSAGES_PLACES[place] ?? {});

function optional(body: JsonRecord, key: string): JsonRecord {
  if (!isGiven(body[key])) return {};
  const record = recordAt(body[key], key);
  check(record, key, key);
  return record;
}

/** A thought that is asked for is shown, unless the caller leaves it out; no thinking at all is an effort of none. */
function readReasoning(thinking: JsonRecord, output: JsonRecord): Reasoning {
  const effort = oneOfAt(output['effort'], 'output_config.effort', EFFORTS);
  const shown = oneOfAt(thinking['display'], 'thinking.display', ['summarized', 'omitted']) !== 'omitted';
  switch (oneOfAt(thinking['type'], 'thinking.type', ['enabled', 'adaptive', 'disabled'])) {
    case 'enabled':
      return {
        effort,
        budgetTokens: numberAt(thinking['budget_tokens'], 'thinking.budget_tokens'),
        visible: shown,
      };
    case 'adaptive':
      return { effort, budgetTokens: -1, visible: shown };
    case 'disabled':
      return { effort, budgetTokens: 0, visible: undefined };
    default:
      return { effort, budgetTokens: undefined, visible: undefined };
  }
}

function readTool(value: unknown, at: string): Tool {
  const tool = recordAt(value, at);
  if (isGiven(tool['type']) && tool['type'] !== 'custom')
    throw new Untranslatable(`${at}.type`, "only tools of the caller's own can be translated");
  check(tool, at, 'tools[]');
  return {
    at,
    name: neededText(tool['name'], `${at}.name`),
    description: textAt(tool['description'], `${at}.description`),
    parameters: schemaAt(tool['input_schema'], `${at}.input_schema`),
    strict: booleanAt(tool['strict'], `${at}.strict`),
    cache: cacheOf(tool, at),
  };
}

function readToolChoice(choice: JsonRecord): ToolChoice | undefined {
  switch (oneOfAt(choice['type'], 'tool_choice.type', ['auto', 'any', 'tool', 'none'])) {
    case 'auto':
      return { kind: 'auto' };
    case 'any':
      return { kind: 'required' };
    case 'none':
      return { kind: 'none' };
    case 'tool':
      return { kind: 'tool', name: neededText(choice['name'], 'tool_choice.name') };
    default:
      return undefined;
  }
}

/** The vendor names no schema and always holds to it. */
function readFormat(value: unknown, at: string): OutputFormat | undefined {
  if (!isGiven(value)) return undefined;
  const format = recordAt(value, at);
  check(format, at, 'output_config.format, output_format');
  oneOfAt(format['type'], `${at}.type`, ['json_schema']);
  return {
    kind: 'json_schema',
    name: 'output',
    description: undefined,
    schema: recordAt(format['schema'], `${at}.schema`),
    strict: true,
  };
}
