/** Writes a conversation's turns as the messages of a chat completion request. */
import {
  type Conversation,
  type DocumentPart,
  type Part,
  type ReasoningPart,
  type Source,
  type TextPart,
  type ToolCallPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import type { JsonRecord } from '../members.ts';
import { documentText, joinedText, joinedTurns, tellingError } from '../turns.ts';

export const writeMessages = (conversation: Conversation): readonly JsonRecord[] => [
  ...(conversation.instructions.length === 0
    ? []
    : [{ role: 'system', content: joinedText(conversation.instructions) }]),
  ...joinedTurns(conversation.turns).flatMap(writeTurn),
];

function writeTurn({ role, parts }: Turn): readonly JsonRecord[] {
  if (role === 'system') return [{ role, content: writeContent(parts) }];
  if (role === 'assistant') return [writeAssistant(parts)];
  const results = parts.filter((part) => part.kind === 'tool_result');
  const shown = results.flatMap(imagesOf);
  const others = [...shown, ...parts.filter((part) => part.kind !== 'tool_result')];
  return [
    ...results.map(writeResult),
    ...(others.length === 0 ? [] : [{ role, content: writeContent(others) }]),
  ];
}

function writeAssistant(parts: readonly Part[]): JsonRecord {
  const said = parts.filter((part) => part.kind === 'text');
  const calls = parts.filter((part) => part.kind === 'tool_call');
  const refusals = parts.filter((part) => part.kind === 'refusal');
  for (const part of parts)
    if (part.kind === 'image' || part.kind === 'document' || part.kind === 'audio')
      throw new Untranslatable(part.at ?? 'messages', 'in this dialect a model only writes');
  const thought = thoughtOf(parts);
  return {
    role: 'assistant',
    ...(thought === '' ? {} : { reasoning_content: thought }),
    content: said.length === 0 ? null : writeContent(said),
    ...(refusals.length === 0 ? {} : { refusal: refusals.map(({ text }) => text).join('\n\n') }),
    ...(calls.length === 0 ? {} : { tool_calls: calls.map(writeCall) }),
  };
}

/** Thoughts are told again to those who think without proof; nobody else's are known here. */
const thoughtOf = (parts: readonly Part[]): string =>
  parts
    .filter((part): part is ReasoningPart => part.kind === 'reasoning' && part.vendor === 'compatible')
    .map(({ text }) => text)
    .join('\n\n');

const writeCall = ({ id, name, argumentsJson }: ToolCallPart): JsonRecord => ({
  id,
  type: 'function',
  function: { name, arguments: argumentsJson },
});

/** A tool answers in text alone; what else it answered follows as the user's. */
const writeResult = (result: ToolResultPart): JsonRecord => ({
  role: 'tool',
  tool_call_id: result.id,
  content: joinedText(tellingError(result).filter((part): part is TextPart => part.kind === 'text')),
});

function imagesOf(result: ToolResultPart): readonly Part[] {
  const shown = result.content.filter((part) => part.kind !== 'text');
  if (shown.length === 0) return [];
  return [{ kind: 'text', text: `The tool call ${result.id} answered with this:` }, ...shown];
}

/** One text stands alone; several, or anything else, make a list. */
function writeContent(parts: readonly Part[]): unknown {
  const [first] = parts;
  if (first?.kind === 'text' && parts.length === 1) return first.text;
  return parts.map(writePart);
}

function writePart(part: Part): JsonRecord {
  const at = part.at ?? 'messages';
  switch (part.kind) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image':
      return { type: 'image_url', image_url: { url: addressOf(part.source, at), detail: part.detail } };
    case 'document':
      return writeDocument(part, at);
    case 'audio':
      return { type: 'input_audio', input_audio: writeAudio(part.source, at) };
    default:
      throw new Untranslatable(at, 'this cannot stand in a turn of its role');
  }
}

function writeDocument(document: DocumentPart, at: string): JsonRecord {
  const text = documentText(document);
  if (text !== undefined) return { type: 'text', text };
  if (document.source.kind === 'url')
    throw new Untranslatable(at, 'this dialect takes no address of a document; send its data');
  const filename = document.name ?? 'document.pdf';
  return { type: 'file', file: { filename, file_data: addressOf(document.source, at) } };
}

function writeAudio(source: Source, at: string): JsonRecord {
  const format = source.kind === 'data' ? AUDIO_FORMATS[source.mediaType] : undefined;
  if (source.kind !== 'data' || format === undefined)
    throw new Untranslatable(at, 'this dialect takes sound as WAV or MP3 data only');
  return { data: source.base64, format };
}

const AUDIO_FORMATS: Readonly<Record<string, string>> = {
  'audio/wav': 'wav',
  'audio/x-wav': 'wav',
  'audio/mpeg': 'mp3',
  'audio/mp3': 'mp3',
};

/** The address, or a data URL of the bytes. */
export function addressOf(source: Source, at: string): string {
  if (source.kind === 'url') return source.url;
  if (source.kind === 'data') return `data:${source.mediaType};base64,${source.base64}`;
  throw new Untranslatable(at, 'text is no picture');
}
