/** Writes a conversation's turns as the contents of a generateContent request. */
import {
  type Conversation,
  type Part,
  type ReasoningPart,
  type Source,
  type ToolCallPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import type { JsonRecord } from '../members.ts';
import { argumentsOf } from '../reading.ts';
import { documentText, joinedTurns, withoutSystem } from '../turns.ts';

export function writeContents({ turns, names }: Conversation, model: string): readonly JsonRecord[] {
  const contents = joinedTurns(withoutSystem(turns)).map((turn) => writeTurn(turn, model));
  if (contents.length > 0) return contents;
  throw new Untranslatable(
    names.turns ?? 'messages',
    'this dialect needs a word of the user, not of the system alone',
  );
}

/** What Google says to send where another vendor's model called: later models refuse a call without a signature. */
const NO_SIGNATURE = 'skip_thought_signature_validator';
const wantsSignatures = (model: string): boolean => !/gemini-[12][.-]/.test(model);

function writeTurn({ role, parts }: Turn, model: string): JsonRecord {
  const firstCall = parts.find((part) => part.kind === 'tool_call');
  return {
    role: role === 'assistant' ? 'model' : 'user',
    parts: parts.flatMap((part) => {
      if (part.kind !== 'tool_call') return writePart(part, model);
      const needed = part === firstCall && wantsSignatures(model) ? NO_SIGNATURE : undefined;
      return [writeCall(part, part.signature ?? needed)];
    }),
  };
}

const writeCall = ({ id, name, argumentsJson, at }: ToolCallPart, signature?: string): JsonRecord => ({
  functionCall: { id, name, args: argumentsOf(argumentsJson, at ?? 'messages') },
  thoughtSignature: signature,
});

function writePart(part: Part, model: string): readonly JsonRecord[] {
  const at = part.at ?? 'messages';
  switch (part.kind) {
    case 'text':
    case 'refusal':
      return [{ text: part.text }];
    case 'image':
      return [writeSource(part.source, at)];
    case 'document': {
      const text = documentText(part);
      return [text === undefined ? writeSource(part.source, at) : { text }];
    }
    case 'audio':
      return [writeSource(part.source, at)];
    case 'reasoning':
      return writeThought(part);
    case 'tool_result':
      return writeResult(part, model);
    case 'tool_call':
      return [];
  }
}

/** Only what this vendor thought can be given back. */
const writeThought = ({ vendor, text, signature }: ReasoningPart): readonly JsonRecord[] =>
  vendor === 'google' ? [{ text, thought: true, thoughtSignature: signature }] : [];

/** The texts are the answer; what is no text goes with it where the model takes that, and after it where not. */
function writeResult(result: ToolResultPart, model: string): readonly JsonRecord[] {
  const { id, name, isError, content } = result;
  if (name === undefined)
    throw new Untranslatable(
      result.at ?? 'messages',
      'no call before it has its id, so its tool is not known',
    );
  const said = content
    .filter((part) => part.kind === 'text')
    .map(({ text }) => text)
    .join('\n\n');
  const shown = content.filter((part) => part.kind !== 'text').flatMap((part) => writePart(part, model));
  const within = wantsSignatures(model) && shown.every((part) => 'inlineData' in part);
  const response = isError ? { error: said } : { output: said };
  const answer = { id, name, response, ...(within && shown.length > 0 ? { parts: shown } : {}) };
  return [{ functionResponse: answer }, ...(within ? [] : shown)];
}

function writeSource(source: Source, at: string): JsonRecord {
  switch (source.kind) {
    case 'data':
      return { inlineData: { mimeType: source.mediaType, data: source.base64 } };
    case 'text':
      return { text: source.text };
    case 'url': {
      const mimeType = source.mediaType ?? typeByName(source.url);
      if (mimeType === undefined)
        throw new Untranslatable(at, 'this dialect wants the type of what lies there; send the data');
      return { fileData: { mimeType, fileUri: source.url } };
    }
  }
}

const TYPES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  heic: 'image/heic',
  pdf: 'application/pdf',
  txt: 'text/plain',
  mp3: 'audio/mp3',
  wav: 'audio/wav',
};

/** By the end of the address's path. */
function typeByName(url: string): string | undefined {
  const ending = /\.([a-z0-9]{3,4})(?:[?#]|$)/i.exec(url)?.[1]?.toLowerCase();
  return ending === undefined ? undefined : TYPES[ending];
}
