/** The type of an event in the dialects that name their events: Anthropic's messages, OpenAI's responses, Gemini's interactions. */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { carriesError } from './counts.ts';
import { sseData, sseEventName, type SseUnit } from '../../src/usage/sse-scanner.ts';

/** A type stands first in its event's data wherever a vendor writes it there; so far it is looked for unparsed. */
const TYPE_WITHIN_BYTES = 120;
const LEADING_TYPE = /^\s*\{\s*"type"\s*:\s*"([a-z_.]+)"/;

/** What an event without a name is called (WHATWG, 9.2.6): written out, it names nothing. OpenAI's SDK goes by the data's type. */
const UNNAMED = 'message';

/** The event's name, else the type that its data tells; one that has neither is an `error` where it carries one, else empty. */
export function eventType(bytes: Uint8Array, unit: SseUnit): string {
  const name = unit.eventEnd > unit.eventStart ? sseEventName(bytes, unit) : UNNAMED;
  if (name !== UNNAMED) return name;
  const end = Math.min(unit.dataEnd, unit.dataStart + TYPE_WITHIN_BYTES);
  const leading = LEADING_TYPE.exec(decoder.decode(bytes.subarray(unit.dataStart, end)))?.[1];
  if (leading !== undefined) return leading;
  const event = parseJson(sseData(bytes, unit));
  if (!isRecord(event)) return '';
  const type = event['type'] ?? event['event_type'];
  if (typeof type === 'string') return type;
  return carriesError(event) ? 'error' : '';
}

const decoder = new TextDecoder();
