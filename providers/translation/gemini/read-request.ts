/** Reads a generateContent request into a conversation. */
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
import { isGiven, type JsonRecord } from '../members.ts';
import { namesOf, samplingOf } from '../read-members.ts';
import { bodyOf, booleanAt, malformed, neededText, numberAt, oneOfAt, recordAt, textAt } from '../reading.ts';
import { fieldsAt, someAt } from './fields.ts';
import { readContents, readInstruction } from './read-contents.ts';
import { readSchema } from './read-schema.ts';

export const readGeminiRequest: RequestReader = (call) => {
  const body = fieldsAt(bodyOf(call), '', '');
  const config = within(body, 'generationConfig');
  const thinking = within(config, 'thinkingConfig', 'generationConfig.');
  const tools = someAt(body['tools'], 'tools').flatMap((tool, index) => readTools(tool, `tools[${index}]`));
  const tier = oneOfAt(body['serviceTier'], 'serviceTier', ['unspecified', 'standard', 'flex', 'priority']);
  return {
    instructions: readInstruction(body['systemInstruction']),
    turns: readContents(body['contents']),
    tools,
    toolChoice: readToolChoice(body, tools),
    parallelTools: undefined,
    format: readFormat(config),
    reasoning: readReasoning(thinking),
    sampling: samplingOf({ ...config, logprobs: logprobsOf(config) }, SAMPLING),
    stream: call.stream,
    endUser: undefined,
    metadata: undefined,
    serviceTier: TIERS[tier ?? ''],
    store: undefined,
    cacheKey: undefined,
    verbosity: undefined,
    names: {
      turns: 'contents',
      ...Object.fromEntries(
        Object.entries(namesOf(config, NAMES)).map(([member, name]) => [member, `generationConfig.${name}`]),
      ),
      ...(isGiven(body['tools']) ? { tools: 'tools' } : {}),
      ...(isGiven(body['toolConfig']) ? { toolChoice: 'toolConfig' } : {}),
      ...(isGiven(body['serviceTier']) ? { serviceTier: 'serviceTier' } : {}),
    },
  } satisfies Conversation;
};

const TIERS: Readonly<Record<string, ServiceTier>> = {
  standard: 'default',
  flex: 'flex',
  priority: 'priority',
};

const SAMPLING = {
  maxTokens: 'maxOutputTokens',
  temperature: 'temperature',
  topP: 'topP',
  topK: 'topK',
  stop: 'stopSequences',
  seed: 'seed',
  presencePenalty: 'presencePenalty',
  frequencyPenalty: 'frequencyPenalty',
  choices: 'candidateCount',
  logprobs: 'logprobs',
} as const;

const NAMES: readonly (readonly [member: Member, name: string])[] = [
  ['maxTokens', 'maxOutputTokens'],
  ['temperature', 'temperature'],
  ['topP', 'topP'],
  ['topK', 'topK'],
  ['stop', 'stopSequences'],
  ['seed', 'seed'],
  ['presencePenalty', 'presencePenalty'],
  ['frequencyPenalty', 'frequencyPenalty'],
  ['choices', 'candidateCount'],
  ['logprobs', 'responseLogprobs'],
  ['format', 'responseMimeType'],
  ['effort', 'thinkingConfig'],
  ['budgetTokens', 'thinkingConfig'],
  ['visible', 'thinkingConfig'],
];

function within(record: JsonRecord, key: string, path = ''): JsonRecord {
  return isGiven(record[key]) ? fieldsAt(record[key], `${path}${key}`, key) : {};
}

function logprobsOf(config: JsonRecord): unknown {
  const top = numberAt(config['logprobs'], 'generationConfig.logprobs') ?? 0;
  if (booleanAt(config['responseLogprobs'], 'generationConfig.responseLogprobs') === true) return top;
  if (top > 0) throw malformed('generationConfig.logprobs', 'wants "responseLogprobs" to be true');
  return undefined;
}

const LEVELS: readonly (keyof typeof EFFORT_OF)[] = [
  'THINKING_LEVEL_UNSPECIFIED',
  'MINIMAL',
  'LOW',
  'MEDIUM',
  'HIGH',
];
const EFFORT_OF = {
  THINKING_LEVEL_UNSPECIFIED: undefined,
  MINIMAL: 'minimal',
  LOW: 'low',
  MEDIUM: 'medium',
  HIGH: 'high',
} as const satisfies Record<string, Reasoning['effort']>;

function readReasoning(thinking: JsonRecord): Reasoning {
  const at = 'generationConfig.thinkingConfig';
  const told = textAt(thinking['thinkingLevel'], `${at}.thinkingLevel`)?.toUpperCase();
  const level = oneOfAt(told, `${at}.thinkingLevel`, LEVELS);
  return {
    effort: level === undefined ? undefined : EFFORT_OF[level],
    budgetTokens: numberAt(thinking['thinkingBudget'], `${at}.thinkingBudget`),
    visible: booleanAt(thinking['includeThoughts'], `${at}.includeThoughts`),
  };
}

/** A tool is a list of functions, or one of the vendor's own, switched on by an object that may be empty. */
function readTools(value: unknown, at: string): readonly Tool[] {
  for (const name of Object.keys(recordAt(value, at)))
    if (!/^function_?declarations$/i.test(name))
      throw new Untranslatable(`${at}.${name.slice(0, 64)}`, "the tool is the vendor's own");
  const { functionDeclarations } = fieldsAt(value, at, 'tools[]');
  return someAt(functionDeclarations, `${at}.functionDeclarations`).map((one, index) => {
    const place = `${at}.functionDeclarations[${index}]`;
    const declaration = fieldsAt(one, place, 'functionDeclarations[]');
    return {
      at: place,
      name: neededText(declaration['name'], `${place}.name`),
      description: textAt(declaration['description'], `${place}.description`),
      parameters: schemaOf(declaration, { google: 'parameters', json: 'parametersJsonSchema', at: place }),
      strict: undefined,
    };
  });
}

/** A schema stands in either of two members, in Google's words or in JSON Schema's. */
function schemaOf(
  record: JsonRecord,
  { google, json, at }: { readonly google: string; readonly json: string; readonly at: string },
): JsonRecord | undefined {
  if (isGiven(record[json])) return recordAt(record[json], `${at}.${json}`);
  return isGiven(record[google]) ? readSchema(recordAt(record[google], `${at}.${google}`)) : undefined;
}

function readToolChoice(body: JsonRecord, tools: readonly Tool[]): ToolChoice | undefined {
  const at = 'toolConfig.functionCallingConfig';
  const config = within(within(body, 'toolConfig'), 'functionCallingConfig', 'toolConfig.');
  const allowed = someAt(config['allowedFunctionNames'], `${at}.allowedFunctionNames`);
  const mode = textAt(config['mode'], `${at}.mode`)?.toUpperCase();
  const known = oneOfAt(mode, `${at}.mode`, ['MODE_UNSPECIFIED', 'AUTO', 'ANY', 'NONE', 'VALIDATED']);
  const isPart = allowed.length > 0 && !tools.every(({ name }) => allowed.includes(name));
  if (isPart && known !== 'NONE' && !(known === 'ANY' && allowed.length === 1))
    throw new Untranslatable(`${at}.allowedFunctionNames`, 'other dialects allow one function, or all');
  switch (known) {
    case 'AUTO':
    case 'VALIDATED':
      return { kind: 'auto' };
    case 'NONE':
      return { kind: 'none' };
    case 'ANY':
      if (allowed.length === 1)
        return { kind: 'tool', name: neededText(allowed[0], `${at}.allowedFunctionNames[0]`) };
      return { kind: 'required' };
    default:
      return undefined;
  }
}

function readFormat(config: JsonRecord): OutputFormat | undefined {
  const at = 'generationConfig';
  const type = oneOfAt(config['responseMimeType'], `${at}.responseMimeType`, [
    'text/plain',
    'application/json',
  ]);
  if (type !== 'application/json') {
    for (const name of ['responseSchema', 'responseJsonSchema'])
      if (isGiven(config[name]))
        throw malformed(`${at}.${name}`, 'wants "responseMimeType" to be "application/json"');
    return undefined;
  }
  const schema = schemaOf(config, { google: 'responseSchema', json: 'responseJsonSchema', at });
  if (schema === undefined) return { kind: 'json_object' };
  return { kind: 'json_schema', name: 'output', description: undefined, schema, strict: undefined };
}
