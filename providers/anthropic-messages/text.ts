/** The text of Anthropic's messages, weighed for estimates. */
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';

/** What frames a message: about 4 tokens, as in other dialects. */
const MESSAGE_QUARTERS = 4 * 4;
/** What an image counts for: width times height by 750, which for one of 256 pixels square is some 87 tokens. */
const IMAGE_QUARTERS = 87 * 4;
/** Tool results hold blocks, search results hold blocks: three deep at most. */
const BLOCKS_DEPTH_MAX = 4;

/** The weight of content: a text, or a list of blocks, as it stands in a request or a whole reply. */
export function contentQuarters(content: unknown, depth = 0): number {
  if (typeof content === 'string') return textQuarters(content);
  let quarters = 0;
  for (const block of listOf(content)) if (isRecord(block)) quarters += blockQuarters(block, depth);
  return quarters;
}

/** The weight of a request's messages. */
export function messagesQuarters(messages: unknown, frame = MESSAGE_QUARTERS): number {
  let quarters = 0;
  for (const message of listOf(messages)) {
    if (isRecord(message)) quarters += frame + contentQuarters(message['content']);
  }
  return quarters;
}

/** The weight of one event of a stream. */
export function eventQuarters(event: Readonly<Record<string, unknown>>): number {
  if (isRecord(event['delta'])) {
    const { text, thinking, partial_json: json } = event['delta'];
    return quartersOf(text) + quartersOf(thinking) + quartersOf(json);
  }
  const block = event['content_block'];
  if (!isRecord(block)) return 0;
  // Results of the vendor's own tools come whole in a block's start: they are read, not generated.
  return quartersOf(block['name']) + quartersOf(block['text']) + quartersOf(block['thinking']);
}

function blockQuarters(block: Readonly<Record<string, unknown>>, depth: number): number {
  if (block['type'] === 'image') return IMAGE_QUARTERS;
  let quarters = quartersOf(block['text']) + quartersOf(block['thinking']) + quartersOf(block['name']);
  if (isRecord(block['input'])) quarters += textQuarters(JSON.stringify(block['input']));
  const source = block['source'];
  if (isRecord(source) && source['type'] === 'text') quarters += quartersOf(source['data']);
  return depth < BLOCKS_DEPTH_MAX ? quarters + contentQuarters(block['content'], depth + 1) : quarters;
}

const quartersOf = (value: unknown): number => (typeof value === 'string' ? textQuarters(value) : 0);
