/** Reads the input of a Responses request: a text, or messages, tool calls, their results and thoughts in one list. */
import {
  type DocumentPart,
  type ImagePart,
  type Part,
  type TextPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import { type JsonRecord, checkMembers } from '../members.ts';
import { unsignedId, unwrapProof } from '../proofs.ts';
import { cacheOf, detailOf } from '../read-members.ts';
import { dataOf, listAt, malformed, neededText, oneOfAt, recordAt, sourceOf, textAt } from '../reading.ts';
import { RESPONSES_PLACES } from './members.ts';

export interface ReadInput {
  readonly instructions: readonly TextPart[];
  readonly turns: readonly Turn[];
}

/** What the system says before anybody else are the instructions; what it says later is a turn of its own. */
export function readInput(value: unknown): ReadInput {
  if (typeof value === 'string')
    return {
      instructions: [],
      turns: [{ role: 'user', parts: [{ kind: 'text', at: 'input', text: value }] }],
    };
  const instructions: TextPart[] = [];
  const turns: Turn[] = [];
  const toolNames = new Map<string, string>();
  for (const [index, one] of listAt(value, 'input').entries()) {
    const at = `input[${index}]`;
    const turn = readItem(recordAt(one, at), at, toolNames);
    if (turn.role === 'system' && turns.length === 0)
      instructions.push(...turn.parts.filter((part) => part.kind === 'text'));
    else turns.push(turn);
  }
  return { instructions, turns };
}

function readItem(item: JsonRecord, at: string, toolNames: Map<string, string>): Turn {
  switch (item['type']) {
    case undefined:
    case null:
    case 'message':
      return readMessage(item, at);
    case 'function_call': {
      const part = readCall(item, at);
      toolNames.set(part.id, part.name);
      return { role: 'assistant', parts: [part] };
    }
    case 'function_call_output':
      return { role: 'user', parts: [readResult(item, at, toolNames)] };
    case 'reasoning':
      return { role: 'assistant', parts: [readThought(item, at)] };
    default:
      throw new Untranslatable(`${at}.type`, 'this type of item has no translation');
  }
}

function readMessage(item: JsonRecord, at: string): Turn {
  check(item, at, 'message');
  const parts = readContent(item['content'], `${at}.content`);
  const role = oneOfAt(item['role'], `${at}.role`, ['user', 'assistant', 'system', 'developer']);
  if (role === 'user' || role === 'assistant') return { role, parts };
  if (role === undefined) throw malformed(`${at}.role`, 'is missing');
  for (const part of parts)
    if (part.kind !== 'text') throw new Untranslatable(part.at ?? at, 'only text can stand here');
  return { role: 'system', parts };
}

function readCall(item: JsonRecord, at: string): Part & { readonly kind: 'tool_call' } {
  check(item, at, 'function_call');
  const text = textAt(item['arguments'], `${at}.arguments`) ?? '';
  return {
    kind: 'tool_call',
    at,
    ...unsignedId(neededText(item['call_id'], `${at}.call_id`)),
    name: neededText(item['name'], `${at}.name`),
    argumentsJson: text.trim() === '' ? '{}' : text,
  };
}

function readResult(item: JsonRecord, at: string, toolNames: ReadonlyMap<string, string>): ToolResultPart {
  check(item, at, 'function_call_output');
  const { id } = unsignedId(neededText(item['call_id'], `${at}.call_id`));
  return {
    kind: 'tool_result',
    at,
    id,
    name: toolNames.get(id) ?? textAt(item['name'], `${at}.name`),
    content: readContent(item['output'], `${at}.output`).map((part) => {
      if (part.kind === 'text' || part.kind === 'image' || part.kind === 'document') return part;
      throw new Untranslatable(part.at ?? at, "a tool's answer has text, images and files only");
    }),
    isError: false,
  };
}

/** The text is the summary where there is one, else the thought itself. A wrapped proof names its own vendor. */
function readThought(item: JsonRecord, at: string): Part {
  check(item, at, 'reasoning');
  const summary = readThoughtTexts(item['summary'], `${at}.summary`);
  const text = summary === '' ? readThoughtTexts(item['content'], `${at}.content`) : summary;
  const sealed = textAt(item['encrypted_content'], `${at}.encrypted_content`) ?? '';
  const proof = unwrapProof(sealed);
  if (proof !== undefined) return { kind: 'reasoning', at, text, ...proof };
  return {
    kind: 'reasoning',
    at,
    text,
    vendor: 'openai',
    id: textAt(item['id'], `${at}.id`),
    sealed: sealed === '' ? undefined : sealed,
  };
}

function readThoughtTexts(value: unknown, at: string): string {
  const texts = listAt(value, at).map((one, index) => {
    const part = recordAt(one, `${at}[${index}]`);
    check(part, `${at}[${index}]`, 'summary[], content[] of reasoning');
    return neededText(part['text'], `${at}[${index}].text`);
  });
  return texts.join('\n\n');
}

function readContent(value: unknown, at: string): readonly Part[] {
  if (typeof value === 'string') return value === '' ? [] : [{ kind: 'text', at, text: value }];
  if (!Array.isArray(value)) throw malformed(at, 'must be a string or a list of parts');
  return value.map((one, index) => readPart(recordAt(one, `${at}[${index}]`), `${at}[${index}]`));
}

function readPart(part: JsonRecord, at: string): Part {
  switch (part['type']) {
    case 'input_text':
    case 'output_text':
    case 'text':
      check(part, at, part['type'] === 'output_text' ? 'output_text part' : 'input_text part');
      return { kind: 'text', at, text: neededText(part['text'], `${at}.text`), cache: cacheOf(part, at) };
    case 'refusal':
      check(part, at, 'refusal part');
      return { kind: 'refusal', at, text: neededText(part['refusal'], `${at}.refusal`) };
    case 'input_image':
      check(part, at, 'input_image part');
      return readImage(part, at);
    case 'input_file':
      check(part, at, 'input_file part');
      return readFile(part, at);
    default:
      throw new Untranslatable(`${at}.type`, 'this type of content has no translation');
  }
}

const readImage = (part: JsonRecord, at: string): ImagePart => ({
  kind: 'image',
  at: `${at}.image_url`,
  source: sourceOf(neededText(part['image_url'], `${at}.image_url`)),
  detail: detailOf(part, at),
  cache: cacheOf(part, at),
});

function readFile(part: JsonRecord, at: string): DocumentPart {
  const name = textAt(part['filename'], `${at}.filename`);
  const cache = cacheOf(part, at);
  const url = textAt(part['file_url'], `${at}.file_url`);
  if (url !== undefined)
    return { kind: 'document', at: `${at}.file_url`, source: sourceOf(url), name, cache };
  const data = neededText(part['file_data'], `${at}.file_data`);
  const source = dataOf(data) ?? { mediaType: 'application/pdf', base64: data };
  return { kind: 'document', at: `${at}.file_data`, source: { kind: 'data', ...source }, name, cache };
}

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, RESPONSES_PLACES[place] ?? {});
