/** The text of the Responses API's items, weighed for estimates. */
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';
import { promptQuarters } from '../openai-chat/text.ts';

/** What frames an item: as a message of the chat dialect. */
const ITEM_QUARTERS = 4 * 4;

/** The fields of an item that a model writes or reads; ids, statuses and encrypted thoughts are not among them. */
const TEXT_FIELDS = ['name', 'arguments', 'input', 'code', 'query', 'refusal'] as const;
const CONTENT_FIELDS = ['content', 'summary', 'output'] as const;

/** The weight of one output item, or of one input item beside its frame. */
export function itemQuarters(item: unknown): number {
  if (typeof item === 'string') return textQuarters(item);
  if (!isRecord(item)) return 0;
  let quarters = 0;
  for (const field of TEXT_FIELDS) {
    const text = item[field];
    if (typeof text === 'string') quarters += textQuarters(text);
  }
  for (const field of CONTENT_FIELDS) quarters += contentQuarters(item[field]);
  return quarters;
}

/** The weight of a request's `instructions` and `input`. */
export function responsesInputQuarters(
  instructions: unknown,
  input: unknown,
  frame: number = ITEM_QUARTERS,
): number {
  let quarters = promptQuarters(instructions);
  if (typeof input === 'string') return quarters + frame + textQuarters(input);
  for (const item of listOf(input)) quarters += frame + itemQuarters(item);
  return quarters;
}

function contentQuarters(content: unknown): number {
  if (typeof content === 'string') return textQuarters(content);
  let quarters = 0;
  for (const part of listOf(content)) {
    if (!isRecord(part)) continue;
    quarters += promptQuarters(part['type'] === 'input_image' ? [{ type: 'image_url' }] : part);
  }
  return quarters;
}

/** The weight of one event of a stream: its delta, or the name of a tool that begins to be called. */
export function eventQuarters(event: Readonly<Record<string, unknown>>): number {
  const { type, delta, item } = event;
  if (type === 'response.output_item.added' && isRecord(item)) {
    const { name } = item;
    return typeof name === 'string' ? textQuarters(name) : 0;
  }
  // Audio comes as base64, which says nothing of tokens; its transcript is counted.
  if (typeof type !== 'string' || !type.endsWith('.delta') || type.endsWith('audio.delta')) return 0;
  return typeof delta === 'string' ? textQuarters(delta) : 0;
}
