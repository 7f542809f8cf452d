/** Writes a conversation's turns as the messages of a Messages request. */
import {
  type Conversation,
  type DocumentPart,
  type ImagePart,
  type Part,
  type ReasoningPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import type { JsonRecord } from '../members.ts';
import { argumentsOf } from '../reading.ts';
import { bareText, joinedTurns, withoutSystem } from '../turns.ts';
import { writeCache } from './write-cache.ts';

export function writeMessages({ turns, names }: Conversation): readonly JsonRecord[] {
  const messages = joinedTurns(withoutSystem(turns)).map(writeTurn);
  if (messages.length > 0) return messages;
  throw new Untranslatable(
    names.turns ?? 'messages',
    'this dialect needs a word of the user, not of the system alone',
  );
}

const writeTurn = ({ role, parts }: Turn): JsonRecord => ({ role, content: parts.flatMap(writePart) });

function writePart(part: Part): readonly JsonRecord[] {
  const at = part.at ?? 'messages';
  switch (part.kind) {
    case 'text':
    case 'image':
    case 'document':
      return writeContent(part);
    case 'refusal':
      return [{ type: 'text', text: part.text }];
    case 'reasoning':
      return writeThought(part);
    case 'tool_call': {
      const input = argumentsOf(part.argumentsJson, at);
      return [{ type: 'tool_use', id: plainId(part.id), name: part.name, input, ...writeCache(part.cache) }];
    }
    case 'tool_result':
      return [writeResult(part)];
    case 'audio':
      throw new Untranslatable(at, 'this dialect takes no sound');
  }
}

/** The dialect's ids are letters, digits, dashes and underscores. Two that differ stay two, whatever they are made of. */
const plainId = (id: string): string =>
  id.replace(/[^\w-]/gu, (letter) => `_${(letter.codePointAt(0) ?? 0).toString(16)}_`);

/** Only what this vendor thought and proves can be given back. */
function writeThought({ vendor, text, signature, sealed }: ReasoningPart): readonly JsonRecord[] {
  if (vendor !== 'anthropic') return [];
  if (sealed !== undefined) return [{ type: 'redacted_thinking', data: sealed }];
  return signature === undefined ? [] : [{ type: 'thinking', thinking: text, signature }];
}

const writeResult = ({ id, content, isError, cache }: ToolResultPart): JsonRecord => ({
  type: 'tool_result',
  tool_use_id: plainId(id),
  ...(content.length === 0 ? {} : { content: content.flatMap(writeContent) }),
  ...(isError ? { is_error: true } : {}),
  ...writeCache(cache),
});

/** The dialect refuses a text without letters. */
export function writeContent(part: ToolResultPart['content'][number]): readonly JsonRecord[] {
  if (part.kind === 'text')
    return part.text === '' ? [] : [{ type: 'text', text: part.text, ...writeCache(part.cache) }];
  const source = part.kind === 'image' ? writeImageSource(part) : writeDocumentSource(part);
  return [
    {
      type: part.kind,
      source,
      ...(part.kind === 'document' ? { title: part.name } : {}),
      ...writeCache(part.cache),
    },
  ];
}

function writeImageSource({ source, at }: ImagePart): JsonRecord {
  if (source.kind === 'url') return { type: 'url', url: source.url };
  if (source.kind === 'data') return { type: 'base64', media_type: source.mediaType, data: source.base64 };
  throw new Untranslatable(at ?? 'messages', 'text is no picture');
}

function writeDocumentSource(document: DocumentPart): JsonRecord {
  const { source, at } = document;
  const text = bareText(document);
  if (text !== undefined) return { type: 'text', media_type: 'text/plain', data: text };
  if (source.kind === 'url') return { type: 'url', url: source.url };
  if (source.kind === 'data' && source.mediaType === 'application/pdf')
    return { type: 'base64', media_type: source.mediaType, data: source.base64 };
  throw new Untranslatable(at ?? 'messages', 'this dialect takes PDF and text for documents only');
}
