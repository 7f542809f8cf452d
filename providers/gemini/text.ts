/** The text of Gemini's contents, weighed for estimates. */
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';

/** What an image of 384 pixels square or less counts for: 258 tokens, by the vendor's documentation. */
const IMAGE_QUARTERS = 258 * 4;
const CONTENT_QUARTERS = 4 * 4;

/** The weight of what a candidate generated. */
export const candidateQuarters = (candidate: Readonly<Record<string, unknown>>): number =>
  partsQuarters(candidate['content']);

/** The weight of one content or of a list of them, as a request has them. */
export function contentsQuarters(contents: unknown, frame = CONTENT_QUARTERS): number {
  if (typeof contents === 'string') return frame + textQuarters(contents);
  if (isRecord(contents)) return frame + partsQuarters(contents);
  let quarters = 0;
  for (const content of listOf(contents)) quarters += frame + partsQuarters(content);
  return quarters;
}

function partsQuarters(content: unknown): number {
  if (!isRecord(content)) return 0;
  let quarters = 0;
  // The vendor takes a lone part for a list of one.
  for (const part of isRecord(content['parts']) ? [content['parts']] : listOf(content['parts'])) {
    if (isRecord(part)) quarters += partQuarters(part);
  }
  return quarters;
}

function partQuarters(part: Readonly<Record<string, unknown>>): number {
  const inline = part['inlineData'] ?? part['inline_data'];
  let quarters = isRecord(inline) ? IMAGE_QUARTERS : 0;
  if (typeof part['text'] === 'string') quarters += textQuarters(part['text']);
  for (const name of JSON_PARTS) {
    const value = part[name];
    if (isRecord(value)) quarters += textQuarters(JSON.stringify(value));
  }
  return quarters;
}

const JSON_PARTS = [
  'functionCall',
  'function_call',
  'functionResponse',
  'function_response',
  'executableCode',
] as const;
