/** Reads the messages of a Messages request, and its system prompt. */
import {
  type DocumentPart,
  type ImagePart,
  type Part,
  type ReasoningPart,
  type Source,
  type TextPart,
  type ToolCallPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import { checkMembers, isGiven, type JsonRecord } from '../members.ts';
import { unsignedId, unwrapProof } from '../proofs.ts';
import { cacheOf } from '../read-members.ts';
import { booleanAt, listAt, malformed, neededText, oneOfAt, recordAt, textAt } from '../reading.ts';
import { MESSAGES_PLACES } from './members.ts';

export function readSystem(value: unknown, at: string): readonly TextPart[] {
  if (!isGiven(value)) return [];
  return readContent(value, at, new Map()).map((part) => {
    if (part.kind === 'text') return part;
    throw new Untranslatable(part.at ?? at, 'only text can stand here');
  });
}

export function readMessages(value: unknown): readonly Turn[] {
  const toolNames = new Map<string, string>();
  return listAt(value, 'messages').map((one, index) => {
    const at = `messages[${index}]`;
    const message = recordAt(one, at);
    check(message, at, 'messages[]');
    const role = oneOfAt(message['role'], `${at}.role`, ['user', 'assistant', 'system']);
    if (role === undefined) throw malformed(`${at}.role`, 'is missing');
    const content = `${at}.content`;
    if (role === 'system') return { role, parts: readSystem(message['content'], content) };
    return { role, parts: readContent(message['content'], content, toolNames) };
  });
}

function readContent(value: unknown, at: string, toolNames: Map<string, string>): readonly Part[] {
  if (typeof value === 'string') return value === '' ? [] : [{ kind: 'text', at, text: value }];
  if (!Array.isArray(value)) throw malformed(at, 'must be a string or a list of blocks');
  return value.flatMap((one, index) => {
    const place = `${at}[${index}]`;
    return readBlock(recordAt(one, place), place, toolNames);
  });
}

function readBlock(block: JsonRecord, at: string, toolNames: Map<string, string>): readonly Part[] {
  switch (block['type']) {
    case 'text':
      check(block, at, 'text block');
      return [{ kind: 'text', at, text: neededText(block['text'], `${at}.text`), cache: cacheOf(block, at) }];
    case 'image':
      return [readImage(block, at)];
    case 'document':
      return readDocument(block, at);
    case 'thinking':
    case 'redacted_thinking':
      return [readThought(block, at)];
    case 'tool_use': {
      const call = readCall(block, at);
      toolNames.set(call.id, call.name);
      return [call];
    }
    case 'tool_result':
      return [readResult(block, at, toolNames)];
    default:
      throw new Untranslatable(`${at}.type`, 'this type of block has no translation');
  }
}

function readImage(block: JsonRecord, at: string): ImagePart {
  check(block, at, 'image block');
  return {
    kind: 'image',
    at: `${at}.source`,
    source: readSource(recordAt(block['source'], `${at}.source`), `${at}.source`),
    cache: cacheOf(block, at),
  };
}

/** What the caller says about a document goes before it as text. */
function readDocument(block: JsonRecord, at: string): readonly Part[] {
  check(block, at, 'document block');
  const context = textAt(block['context'], `${at}.context`) ?? '';
  const said: readonly TextPart[] =
    context === '' ? [] : [{ kind: 'text', at: `${at}.context`, text: context }];
  const source = recordAt(block['source'], `${at}.source`);
  const name = textAt(block['title'], `${at}.title`);
  const cache = cacheOf(block, at);
  if (source['type'] === 'content') {
    check(source, `${at}.source`, 'source of content');
    const titled: readonly TextPart[] =
      name === undefined || name === '' ? [] : [{ kind: 'text', at: `${at}.title`, text: name }];
    return [...titled, ...said, ...readContent(source['content'], `${at}.source.content`, new Map())];
  }
  const document: DocumentPart = {
    kind: 'document',
    at: `${at}.source`,
    source: readSource(source, `${at}.source`),
    name,
    cache,
  };
  return [...said, document];
}

function readSource(source: JsonRecord, at: string): Source {
  switch (source['type']) {
    case 'base64':
      check(source, at, 'source of base64, text');
      return {
        kind: 'data',
        mediaType: neededText(source['media_type'], `${at}.media_type`),
        base64: neededText(source['data'], `${at}.data`),
      };
    case 'text':
      check(source, at, 'source of base64, text');
      return { kind: 'text', text: neededText(source['data'], `${at}.data`) };
    case 'url':
      check(source, at, 'source of url');
      return { kind: 'url', url: neededText(source['url'], `${at}.url`), mediaType: undefined };
    default:
      throw new Untranslatable(`${at}.type`, 'what the vendor keeps is known to it alone; send the data');
  }
}

function readThought(block: JsonRecord, at: string): ReasoningPart {
  check(block, at, `${String(block['type'])} block`);
  const redacted = block['type'] === 'redacted_thinking';
  const text = redacted ? '' : (textAt(block['thinking'], `${at}.thinking`) ?? '');
  const secret = redacted
    ? neededText(block['data'], `${at}.data`)
    : (textAt(block['signature'], `${at}.signature`) ?? '');
  const proof = unwrapProof(secret);
  if (proof !== undefined) return { kind: 'reasoning', at, text, ...proof };
  if (redacted) return { kind: 'reasoning', at, text, vendor: 'anthropic', sealed: secret };
  // Without a signature it is no thought of this vendor's.
  return {
    kind: 'reasoning',
    at,
    text,
    ...(secret === '' ? {} : { vendor: 'anthropic', signature: secret }),
  };
}

function readCall(block: JsonRecord, at: string): ToolCallPart {
  check(block, at, 'tool_use block');
  return {
    kind: 'tool_call',
    at,
    ...unsignedId(neededText(block['id'], `${at}.id`)),
    name: neededText(block['name'], `${at}.name`),
    argumentsJson: JSON.stringify(recordAt(block['input'] ?? {}, `${at}.input`)),
    cache: cacheOf(block, at),
  };
}

function readResult(block: JsonRecord, at: string, toolNames: Map<string, string>): ToolResultPart {
  check(block, at, 'tool_result block');
  const { id } = unsignedId(neededText(block['tool_use_id'], `${at}.tool_use_id`));
  const content = isGiven(block['content']) ? readContent(block['content'], `${at}.content`, new Map()) : [];
  return {
    kind: 'tool_result',
    at,
    id,
    name: toolNames.get(id),
    content: content.map((part) => {
      if (part.kind === 'text' || part.kind === 'image' || part.kind === 'document') return part;
      throw new Untranslatable(part.at ?? at, "a tool's answer has text, images and documents only");
    }),
    isError: booleanAt(block['is_error'], `${at}.is_error`) ?? false,
    cache: cacheOf(block, at),
  };
}

const check = (record: JsonRecord, at: string, place: string): void =>
  checkMembers(record, at, MESSAGES_PLACES[place] ?? {});
