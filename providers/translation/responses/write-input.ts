/** Writes a conversation's turns as the input of a Responses request. */
import {
  type Conversation,
  type DocumentPart,
  type Part,
  type ReasoningPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import { addressOf } from '../chat/write-messages.ts';
import type { JsonRecord } from '../members.ts';
import { documentText, joinedTurns, tellingError } from '../turns.ts';

export const writeInput = ({ turns }: Conversation): readonly JsonRecord[] =>
  joinedTurns(turns).flatMap(writeTurn);

/** Calls, answers and thoughts are items of their own, in their order; what stands between them are messages. */
function writeTurn({ role, parts }: Turn): readonly JsonRecord[] {
  const items: JsonRecord[] = [];
  let said: JsonRecord[] = [];
  const close = (): void => {
    if (said.length > 0) items.push({ role: role === 'system' ? 'developer' : role, content: said });
    said = [];
  };
  for (const part of parts) {
    const item = writeItem(part);
    if (item === undefined) {
      said.push(...(role === 'assistant' ? writeOutput(part) : [writeContent(part)]));
    } else {
      close();
      items.push(...item);
    }
  }
  close();
  return items;
}

/** Undefined for what belongs into a message. */
function writeItem(part: Part): readonly JsonRecord[] | undefined {
  switch (part.kind) {
    case 'tool_call': {
      const { id, name, argumentsJson } = part;
      return [{ type: 'function_call', call_id: id, name, arguments: argumentsJson }];
    }
    case 'tool_result':
      return [{ type: 'function_call_output', call_id: part.id, output: writeAnswer(part) }];
    case 'reasoning':
      return writeThought(part);
    default:
      return undefined;
  }
}

/** Only OpenAI's own sealed thoughts can be given back. */
function writeThought({ vendor, id, sealed, text }: ReasoningPart): readonly JsonRecord[] {
  if (vendor !== 'openai' || sealed === undefined) return [];
  const summary = text === '' ? [] : [{ type: 'summary_text', text }];
  return [{ type: 'reasoning', id, summary, encrypted_content: sealed }];
}

function writeAnswer(result: ToolResultPart): unknown {
  const content = tellingError(result);
  const [first] = content;
  if (first === undefined) return '';
  return content.length === 1 && first.kind === 'text' ? first.text : content.map(writeContent);
}

function writeOutput(part: Part): readonly JsonRecord[] {
  if (part.kind === 'text') return [{ type: 'output_text', text: part.text, annotations: [] }];
  if (part.kind === 'refusal') return [{ type: 'refusal', refusal: part.text }];
  throw new Untranslatable(part.at ?? 'input', 'in this dialect a model only writes');
}

function writeContent(part: Part): JsonRecord {
  const at = part.at ?? 'input';
  switch (part.kind) {
    case 'text':
      return { type: 'input_text', text: part.text };
    case 'image':
      return {
        type: 'input_image',
        image_url: addressOf(part.source, at),
        detail: part.detail ?? 'auto',
      };
    case 'document':
      return writeDocument(part, at);
    case 'audio':
      throw new Untranslatable(at, 'this dialect takes no sound');
    default:
      throw new Untranslatable(at, 'this cannot stand in a turn of its role');
  }
}

function writeDocument(document: DocumentPart, at: string): JsonRecord {
  const text = documentText(document);
  if (text !== undefined) return { type: 'input_text', text };
  const address = addressOf(document.source, at);
  return document.source.kind === 'url'
    ? { type: 'input_file', file_url: address }
    : { type: 'input_file', filename: document.name ?? 'document.pdf', file_data: address };
}
