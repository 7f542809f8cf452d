/** The text of chat messages, weighed for estimates: see src/usage/text-estimate.ts for the weights. */
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';
import type { Tally } from '../passage/tally.ts';

/** What an image in a prompt counts for: OpenAI's charge for the smallest one, 85 tokens. Its base64 text tells nothing. */
const IMAGE_QUARTERS = 85 * 4;
/** What frames a message (role and separators): about 4 tokens in the chat templates of all families. */
const MESSAGE_QUARTERS = 4 * 4;
/** Content parts nest twice at most (a part of kind `thinking` holds text parts). */
const PARTS_DEPTH_MAX = 4;

/** The weight of what a choice generated: a stream's `delta` or a reply's `message`. */
export function generatedQuarters(message: unknown): number {
  if (!isRecord(message)) return 0;
  // OpenRouter gives the same thought under two names: the longest stands for all.
  const thought = Math.max(
    quartersOf(message['reasoning']),
    quartersOf(message['reasoning_content']),
    contentQuarters(message['reasoning_details'], 0),
  );
  return thought + shownQuarters(message);
}

/** The weight of one choice of a reply or an event; the older completions have its text beside the message's place. */
export function choiceQuarters(choice: unknown): number {
  if (!isRecord(choice)) return 0;
  // Perplexity and Writer give the whole message so far beside each delta.
  return generatedQuarters(choice['delta'] ?? choice['message']) + quartersOf(choice['text']);
}

/** Weighs an event of a stream, each choice a piece. Writer's older completions are bare values. */
export function weighChatEvent(event: Readonly<Record<string, unknown>>, tally: Tally): void {
  for (const choice of listOf(event['choices'])) tally.add(choiceQuarters(choice));
  tally.add(quartersOf(event['value']));
}

/** The weight of a prompt or of an input to embed: texts, token ids, or lists of either. */
export function promptQuarters(prompt: unknown, depth = 0): number {
  if (typeof prompt === 'number') return 4;
  if (isRecord(prompt)) return contentQuarters([prompt], 0);
  if (depth > PARTS_DEPTH_MAX) return 0;
  let quarters = quartersOf(prompt);
  for (const part of listOf(prompt)) quarters += promptQuarters(part, depth + 1);
  return quarters;
}

function shownQuarters(message: Readonly<Record<string, unknown>>): number {
  let quarters = contentQuarters(message['content'], 0) + quartersOf(message['refusal']);
  for (const call of listOf(message['tool_calls'])) quarters += toolCallQuarters(call);
  quarters += functionQuarters(message['function_call']);
  const audio = message['audio'];
  return isRecord(audio) ? quarters + quartersOf(audio['transcript']) : quarters;
}

/** The weight of a request's messages. Earlier thoughts sent back are left out: most chat templates drop them. */
export function messagesQuarters(messages: unknown, frame = MESSAGE_QUARTERS): number {
  let quarters = 0;
  for (const message of listOf(messages)) {
    if (isRecord(message)) quarters += frame + shownQuarters(message) + quartersOf(message['name']);
  }
  return quarters;
}

/** The weight of a request's tool definitions, as the JSON text that models are shown. */
export const toolsQuarters = (tools: unknown): number =>
  listOf(tools).length === 0 ? 0 : textQuarters(JSON.stringify(tools));

const quartersOf = (value: unknown): number => (typeof value === 'string' ? textQuarters(value) : 0);

function contentQuarters(content: unknown, depth: number): number {
  if (typeof content === 'string') return textQuarters(content);
  let quarters = 0;
  for (const part of listOf(content)) {
    if (typeof part === 'string') quarters += textQuarters(part);
    else if (isRecord(part)) quarters += partQuarters(part, depth);
  }
  return quarters;
}

function partQuarters(part: Readonly<Record<string, unknown>>, depth: number): number {
  if (part['type'] === 'image_url' || part['image_url'] !== undefined) return IMAGE_QUARTERS;
  const thinking = depth < PARTS_DEPTH_MAX ? contentQuarters(part['thinking'], depth + 1) : 0;
  return thinking + quartersOf(part['text']) + quartersOf(part['summary']) + quartersOf(part['refusal']);
}

function toolCallQuarters(call: unknown): number {
  if (!isRecord(call)) return 0;
  const custom = call['custom'];
  const own = isRecord(custom) ? quartersOf(custom['name']) + quartersOf(custom['input']) : 0;
  return own + functionQuarters(call['function']);
}

const functionQuarters = (called: unknown): number =>
  isRecord(called) ? quartersOf(called['name']) + argumentsQuarters(called['arguments']) : 0;

/** Some vendors give arguments as an object instead of its text. */
const argumentsQuarters = (value: unknown): number =>
  isRecord(value) ? textQuarters(JSON.stringify(value)) : quartersOf(value);
