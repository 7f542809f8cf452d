/** Reads the messages of a chat completion request. */
import { isRecord } from '../../../src/usage/json-value.ts';
import {
  type DocumentPart,
  type ImagePart,
  type Part,
  type ReasoningPart,
  type TextPart,
  type ToolCallPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import { type JsonRecord, checkMembers } from '../members.ts';
import { unsignedId, unwrapProof } from '../proofs.ts';
import { cacheOf, detailOf } from '../read-members.ts';
import { dataOf, listAt, malformed, neededText, oneOfAt, recordAt, sourceOf, textAt } from '../reading.ts';
import { CHAT_PLACES } from './members.ts';

export interface ReadMessages {
  readonly instructions: readonly TextPart[];
  readonly turns: readonly Turn[];
}

/** What the system says before anybody else are the instructions; what it says later is a turn of its own. */
export function readMessages(value: unknown): ReadMessages {
  const instructions: TextPart[] = [];
  const turns: Turn[] = [];
  const toolNames = new Map<string, string>();
  for (const [index, one] of listAt(value, 'messages').entries()) {
    const at = `messages[${index}]`;
    const message = recordAt(one, at);
    const turn = readMessage(message, at, toolNames);
    if (turn.role === 'system' && turns.length === 0) instructions.push(...textsOf(turn));
    else turns.push(turn);
  }
  return { instructions, turns };
}

const textsOf = (turn: Turn): readonly TextPart[] => turn.parts.filter((part) => part.kind === 'text');

function readMessage(message: JsonRecord, at: string, toolNames: Map<string, string>): Turn {
  switch (message['role']) {
    case 'system':
    case 'developer':
      check(message, at, 'messages[] of system, developer');
      return { role: 'system', parts: readTexts(message['content'], `${at}.content`) };
    case 'user':
      check(message, at, 'messages[] of user');
      return { role: 'user', parts: readContent(message['content'], `${at}.content`) };
    case 'assistant': {
      check(message, at, 'messages[] of assistant');
      const turn: Turn = { role: 'assistant', parts: readAssistant(message, at) };
      for (const part of turn.parts) if (part.kind === 'tool_call') toolNames.set(part.id, part.name);
      return turn;
    }
    case 'tool':
      check(message, at, 'messages[] of tool');
      return { role: 'user', parts: [readResult(message, at, toolNames)] };
    default:
      throw new Untranslatable(
        `${at}.role`,
        'only the roles "system", "developer", "user", "assistant" and "tool" can be translated',
      );
  }
}

function readResult(message: JsonRecord, at: string, toolNames: ReadonlyMap<string, string>): Part {
  const { id } = unsignedId(neededText(message['tool_call_id'], `${at}.tool_call_id`));
  return {
    kind: 'tool_result',
    at,
    id,
    name: toolNames.get(id) ?? textAt(message['name'], `${at}.name`),
    content: readTexts(message['content'], `${at}.content`),
    isError: false,
  };
}

function readAssistant(message: JsonRecord, at: string): readonly Part[] {
  const refusal = textAt(message['refusal'], `${at}.refusal`);
  const calls = listAt(message['tool_calls'], `${at}.tool_calls`);
  return [
    ...readThoughts(message, at),
    ...readContent(message['content'] ?? '', `${at}.content`),
    ...(refusal === undefined || refusal === ''
      ? []
      : [{ kind: 'refusal' as const, at: `${at}.refusal`, text: refusal }]),
    ...readPictures(message, at),
    ...calls.map((call, index) => readCall(call, `${at}.tool_calls[${index}]`)),
  ];
}

/** What the model drew, as a translated reply gave it. */
const readPictures = (message: JsonRecord, at: string): readonly Part[] =>
  listAt(message['images'], `${at}.images`).map((one, index) => {
    const place = `${at}.images[${index}]`;
    return readPart(recordAt(one, place), place);
  });

/** Thoughts with their proofs where the caller returned them; else the bare text, whose vendor is not known to be more. */
function readThoughts(message: JsonRecord, at: string): readonly ReasoningPart[] {
  const details = listAt(message['reasoning_details'], `${at}.reasoning_details`).filter(isRecord);
  const proven = details.flatMap((detail, index): readonly ReasoningPart[] => {
    const place = `${at}.reasoning_details[${index}]`;
    const proof = unwrapProof(textAt(detail['signature'], `${place}.signature`) ?? '');
    if (proof === undefined) return [];
    return [{ kind: 'reasoning', at: place, text: textAt(detail['text'], `${place}.text`) ?? '', ...proof }];
  });
  if (proven.length > 0) return proven;
  const text = textAt(message['reasoning_content'], `${at}.reasoning_content`) ?? '';
  if (text === '') return [];
  return [{ kind: 'reasoning', at: `${at}.reasoning_content`, text, vendor: 'compatible' }];
}

function readCall(value: unknown, at: string): ToolCallPart {
  const call = recordAt(value, at);
  if (call['type'] !== 'function')
    throw new Untranslatable(`${at}.type`, 'only calls of type "function" can be translated');
  check(call, at, 'tool_calls[]');
  const called = recordAt(call['function'], `${at}.function`);
  check(called, `${at}.function`, 'tool_calls[].function');
  const text = textAt(called['arguments'], `${at}.function.arguments`) ?? '';
  return {
    kind: 'tool_call',
    at,
    ...unsignedId(neededText(call['id'], `${at}.id`)),
    name: neededText(called['name'], `${at}.function.name`),
    argumentsJson: text.trim() === '' ? '{}' : text,
  };
}

/** Content where the dialect has nothing but text. */
function readTexts(value: unknown, at: string): readonly TextPart[] {
  return readContent(value ?? '', at).map((part) => {
    if (part.kind === 'text') return part;
    throw new Untranslatable(part.at ?? at, 'only text can stand here');
  });
}

function readContent(value: unknown, at: string): readonly Part[] {
  if (typeof value === 'string') return value === '' ? [] : [{ kind: 'text', at, text: value }];
  if (!Array.isArray(value)) throw malformed(at, 'must be a string or a list of parts');
  return value.map((one, index) => readPart(recordAt(one, `${at}[${index}]`), `${at}[${index}]`));
}

function readPart(part: JsonRecord, at: string): Part {
  const cache = cacheOf(part, at);
  switch (part['type']) {
    case 'text':
      check(part, at, 'text part');
      return { kind: 'text', at, text: neededText(part['text'], `${at}.text`), cache };
    case 'refusal':
      check(part, at, 'refusal part');
      return { kind: 'refusal', at, text: neededText(part['refusal'], `${at}.refusal`) };
    case 'image_url':
      check(part, at, 'image_url part');
      return { ...readImage(recordAt(part['image_url'], `${at}.image_url`), `${at}.image_url`), cache };
    case 'input_audio':
      check(part, at, 'input_audio part');
      return readAudio(recordAt(part['input_audio'], `${at}.input_audio`), `${at}.input_audio`);
    case 'file':
      check(part, at, 'file part');
      return { ...readFile(recordAt(part['file'], `${at}.file`), `${at}.file`), cache };
    default:
      throw new Untranslatable(`${at}.type`, 'this type of content has no translation');
  }
}

function readImage(image: JsonRecord, at: string): ImagePart {
  check(image, at, 'image_url');
  return {
    kind: 'image',
    at: `${at}.url`,
    source: sourceOf(neededText(image['url'], `${at}.url`)),
    detail: detailOf(image, at),
  };
}

function readAudio(audio: JsonRecord, at: string): Part {
  check(audio, at, 'input_audio');
  const format = oneOfAt(audio['format'], `${at}.format`, ['wav', 'mp3']) ?? 'wav';
  const base64 = neededText(audio['data'], `${at}.data`);
  return {
    kind: 'audio',
    at,
    source: { kind: 'data', mediaType: format === 'mp3' ? 'audio/mpeg' : 'audio/wav', base64 },
  };
}

function readFile(file: JsonRecord, at: string): DocumentPart {
  check(file, at, 'file');
  const data = neededText(file['file_data'], `${at}.file_data`);
  // The vendor's own guide has a data URL; bare base64 is understood as the PDF that it then is.
  const source = dataOf(data) ?? { mediaType: 'application/pdf', base64: data };
  return {
    kind: 'document',
    at: `${at}.file_data`,
    source: { kind: 'data', ...source },
    name: textAt(file['filename'], `${at}.filename`),
  };
}

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, CHAT_PLACES[place] ?? {});
