/** Reads a chat completion request into a conversation. */
import { isRecord } from '../../../src/usage/json-value.ts';
import {
  type Conversation,
  type Member,
  type OutputFormat,
  type Tool,
  type ToolChoice,
  Untranslatable,
} from '../conversation.ts';
import type { RequestReader } from '../dialect.ts';
import { type JsonRecord, checkMembers } from '../members.ts';
import { EFFORTS, labelsOf, namesOf, samplingOf, TIERS, VERBOSITIES } from '../read-members.ts';
import {
  bodyOf,
  booleanAt,
  listAt,
  malformed,
  neededText,
  numberAt,
  oneOfAt,
  recordAt,
  schemaAt,
  textAt,
} from '../reading.ts';
import { CHAT_PLACES } from './members.ts';
import { readMessages } from './read-messages.ts';

export const readChatRequest: RequestReader = (call) => {
  const body = bodyOf(call);
  check(body, '', '');
  if (isRecord(body['stream_options'])) check(body['stream_options'], 'stream_options', 'stream_options');
  const { instructions, turns } = readMessages(body['messages']);
  const maxTokens = body['max_completion_tokens'] ?? body['max_tokens'];
  return {
    instructions,
    turns,
    tools: listAt(body['tools'], 'tools').map((tool, index) => readTool(tool, `tools[${index}]`)),
    toolChoice: readToolChoice(body['tool_choice']),
    parallelTools: booleanAt(body['parallel_tool_calls'], 'parallel_tool_calls'),
    format: readFormat(body['response_format']),
    reasoning: {
      effort: oneOfAt(body['reasoning_effort'], 'reasoning_effort', EFFORTS),
      budgetTokens: undefined,
      visible: undefined,
    },
    sampling: samplingOf({ ...body, max_tokens: maxTokens, logprobs: logprobsOf(body) }, SAMPLING),
    stream: call.stream,
    endUser: textAt(body['safety_identifier'] ?? body['user'], 'user'),
    metadata: labelsOf(body['metadata'], 'metadata'),
    serviceTier: oneOfAt(body['service_tier'], 'service_tier', TIERS),
    store: booleanAt(body['store'], 'store'),
    cacheKey: textAt(body['prompt_cache_key'], 'prompt_cache_key'),
    verbosity: oneOfAt(body['verbosity'], 'verbosity', VERBOSITIES),
    names: namesOf(body, NAMES),
  } satisfies Conversation;
};

/** Whether the caller of a stream wants its usage in a chunk of its own. */
export const asksUsage = (body: JsonRecord): boolean =>
  isRecord(body['stream_options']) && body['stream_options']['include_usage'] === true;

const SAMPLING = {
  maxTokens: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  stop: 'stop',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  choices: 'n',
  logprobs: 'logprobs',
} as const;

/** The caller's words for a conversation's members; of two the first that he used. */
const NAMES: readonly (readonly [member: Member, name: string])[] = [
  ['maxTokens', 'max_completion_tokens'],
  ['maxTokens', 'max_tokens'],
  ['temperature', 'temperature'],
  ['topP', 'top_p'],
  ['stop', 'stop'],
  ['seed', 'seed'],
  ['presencePenalty', 'presence_penalty'],
  ['frequencyPenalty', 'frequency_penalty'],
  ['choices', 'n'],
  ['logprobs', 'logprobs'],
  ['tools', 'tools'],
  ['toolChoice', 'tool_choice'],
  ['parallelTools', 'parallel_tool_calls'],
  ['format', 'response_format'],
  ['effort', 'reasoning_effort'],
  ['endUser', 'safety_identifier'],
  ['endUser', 'user'],
  ['metadata', 'metadata'],
  ['serviceTier', 'service_tier'],
  ['store', 'store'],
  ['cacheKey', 'prompt_cache_key'],
  ['verbosity', 'verbosity'],
];

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, CHAT_PLACES[place] ?? {});

/** `logprobs: true` asks for the chosen token's; `top_logprobs` for as many others beside it. */
function logprobsOf(body: JsonRecord): unknown {
  const top = numberAt(body['top_logprobs'], 'top_logprobs') ?? 0;
  if (booleanAt(body['logprobs'], 'logprobs') === true) return top;
  if (top > 0) throw malformed('top_logprobs', 'wants "logprobs" to be true');
  return undefined;
}

function readTool(value: unknown, at: string): Tool {
  const tool = recordAt(value, at);
  if (tool['type'] !== 'function')
    throw new Untranslatable(`${at}.type`, 'only tools of type "function" can be translated');
  check(tool, at, 'tools[]');
  const definition = recordAt(tool['function'], `${at}.function`);
  check(definition, `${at}.function`, 'tools[].function');
  return {
    at,
    name: neededText(definition['name'], `${at}.function.name`),
    description: textAt(definition['description'], `${at}.function.description`),
    parameters: schemaAt(definition['parameters'], `${at}.function.parameters`),
    strict: booleanAt(definition['strict'], `${at}.function.strict`),
    cache: isRecord(tool['cache_control'])
      ? { ttl: oneOfAt(tool['cache_control']['ttl'], `${at}.cache_control.ttl`, ['5m', '1h']) }
      : undefined,
  };
}

function readToolChoice(value: unknown): ToolChoice | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) {
    const kind = oneOfAt(value, 'tool_choice', ['auto', 'none', 'required']);
    return kind === undefined ? undefined : { kind };
  }
  if (value['type'] !== 'function')
    throw new Untranslatable('tool_choice.type', 'only a choice of type "function" can be translated');
  check(value, 'tool_choice', 'tool_choice');
  const chosen = recordAt(value['function'], 'tool_choice.function');
  check(chosen, 'tool_choice.function', 'tool_choice.function');
  return { kind: 'tool', name: neededText(chosen['name'], 'tool_choice.function.name') };
}

function readFormat(value: unknown): OutputFormat | undefined {
  if (value === undefined || value === null) return undefined;
  const format = recordAt(value, 'response_format');
  check(format, 'response_format', 'response_format');
  const kind = oneOfAt(format['type'], 'response_format.type', ['text', 'json_object', 'json_schema']);
  if (kind === undefined || kind === 'text') return undefined;
  if (kind === 'json_object') return { kind };
  const at = 'response_format.json_schema';
  const schema = recordAt(format['json_schema'], at);
  check(schema, at, at);
  return {
    kind,
    name: neededText(schema['name'], `${at}.name`),
    description: textAt(schema['description'], `${at}.description`),
    schema: recordAt(schema['schema'], `${at}.schema`),
    strict: booleanAt(schema['strict'], `${at}.strict`),
  };
}
