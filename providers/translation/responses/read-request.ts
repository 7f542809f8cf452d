/** Reads a Responses request into a conversation. */
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
import { checkMembers, isGiven, type JsonRecord } from '../members.ts';
import { EFFORTS, labelsOf, namesOf, samplingOf, TIERS, VERBOSITIES } from '../read-members.ts';
import { bodyOf, booleanAt, listAt, neededText, oneOfAt, recordAt, schemaAt, textAt } from '../reading.ts';
import { RESPONSES_PLACES } from './members.ts';
import { readInput } from './read-input.ts';

export const readResponsesRequest: RequestReader = (call) => {
  const body = bodyOf(call);
  check(body, '', '');
  const text = isGiven(body['text']) ? recordAt(body['text'], 'text') : {};
  check(text, 'text', 'text');
  const reasoning = isGiven(body['reasoning']) ? recordAt(body['reasoning'], 'reasoning') : {};
  check(reasoning, 'reasoning', 'reasoning of the request');
  const { instructions, turns } = readInput(body['input']);
  const told = textAt(body['instructions'], 'instructions') ?? '';
  const summary = reasoning['summary'] ?? reasoning['generate_summary'];
  return {
    instructions: [
      ...(told === '' ? [] : [{ kind: 'text' as const, at: 'instructions', text: told }]),
      ...instructions,
    ],
    turns,
    tools: listAt(body['tools'], 'tools').map((tool, index) => readTool(tool, `tools[${index}]`)),
    toolChoice: readToolChoice(body['tool_choice']),
    parallelTools: booleanAt(body['parallel_tool_calls'], 'parallel_tool_calls'),
    format: readFormat(text['format']),
    reasoning: {
      effort: oneOfAt(reasoning['effort'], 'reasoning.effort', EFFORTS),
      budgetTokens: undefined,
      visible: isGiven(summary) ? true : undefined,
    },
    sampling: samplingOf({ ...body, top_logprobs: logprobsOf(body) }, SAMPLING),
    stream: call.stream,
    endUser: textAt(body['safety_identifier'] ?? body['user'], 'user'),
    metadata: labelsOf(body['metadata'], 'metadata'),
    serviceTier: oneOfAt(body['service_tier'], 'service_tier', TIERS),
    store: booleanAt(body['store'], 'store'),
    cacheKey: textAt(body['prompt_cache_key'], 'prompt_cache_key'),
    verbosity: oneOfAt(text['verbosity'], 'text.verbosity', VERBOSITIES),
    names: { turns: 'input', ...namesOf(body, NAMES), ...nestedNames({ text, reasoning }) },
  } satisfies Conversation;
};

const SAMPLING = {
  maxTokens: 'max_output_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  logprobs: 'top_logprobs',
} as const;

const NAMES: readonly (readonly [member: Member, name: string])[] = [
  ['maxTokens', 'max_output_tokens'],
  ['temperature', 'temperature'],
  ['topP', 'top_p'],
  ['logprobs', 'top_logprobs'],
  ['logprobs', 'include'],
  ['tools', 'tools'],
  ['toolChoice', 'tool_choice'],
  ['parallelTools', 'parallel_tool_calls'],
  ['endUser', 'safety_identifier'],
  ['endUser', 'user'],
  ['metadata', 'metadata'],
  ['serviceTier', 'service_tier'],
  ['store', 'store'],
  ['cacheKey', 'prompt_cache_key'],
];

const nestedNames = (nested: {
  readonly text: JsonRecord;
  readonly reasoning: JsonRecord;
}): Readonly<Partial<Record<Member, string>>> => ({
  ...(isGiven(nested.text['format']) ? { format: 'text.format' } : {}),
  ...(isGiven(nested.text['verbosity']) ? { verbosity: 'text.verbosity' } : {}),
  ...(isGiven(nested.reasoning['effort']) ? { effort: 'reasoning.effort' } : {}),
  ...(isGiven(nested.reasoning['summary']) ? { visible: 'reasoning.summary' } : {}),
});

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, RESPONSES_PLACES[place] ?? {});

/** Told where either asks: `include` for the chosen token's, `top_logprobs` for as many others beside it. */
function logprobsOf(body: JsonRecord): unknown {
  let asked = false;
  for (const [index, one] of listAt(body['include'], 'include').entries()) {
    if (one === 'message.output_text.logprobs') asked = true;
    // Sealed thoughts are always given to a caller who could return them.
    else if (one !== 'reasoning.encrypted_content')
      throw new Untranslatable(`include[${index}]`, "this can be told by the vendor's own tools only");
  }
  const top = body['top_logprobs'];
  return asked ? (top ?? 0) : top === 0 ? undefined : top;
}

function readTool(value: unknown, at: string): Tool {
  const tool = recordAt(value, at);
  if (tool['type'] !== 'function')
    throw new Untranslatable(`${at}.type`, 'only tools of type "function" can be translated');
  check(tool, at, 'tools[]');
  return {
    at,
    name: neededText(tool['name'], `${at}.name`),
    description: textAt(tool['description'], `${at}.description`),
    parameters: schemaAt(tool['parameters'], `${at}.parameters`),
    strict: booleanAt(tool['strict'], `${at}.strict`),
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
  return { kind: 'tool', name: neededText(value['name'], 'tool_choice.name') };
}

function readFormat(value: unknown): OutputFormat | undefined {
  if (value === undefined || value === null) return undefined;
  const at = 'text.format';
  const format = recordAt(value, at);
  check(format, at, at);
  const kind = oneOfAt(format['type'], `${at}.type`, ['text', 'json_object', 'json_schema']);
  if (kind === undefined || kind === 'text') return undefined;
  if (kind === 'json_object') return { kind };
  return {
    kind,
    name: neededText(format['name'], `${at}.name`),
    description: textAt(format['description'], `${at}.description`),
    schema: recordAt(format['schema'], `${at}.schema`),
    strict: booleanAt(format['strict'], `${at}.strict`),
  };
}
