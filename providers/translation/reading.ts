/** Reads JSON of unknown origin by its place in the request, so that what is wrong can be named. */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { JSON_DEPTH_MAX, memberValue } from '../../src/usage/json-scanner.ts';
import type { ProviderCall } from '../provider.ts';
import { type Source, Untranslatable } from './conversation.ts';
import type { JsonRecord } from './members.ts';

/** The whole body. */
export const bodyOf = (call: ProviderCall): JsonRecord =>
  Object.fromEntries(
    [...call.scan.members.keys()].map((key) => [key, memberValue(call.body, call.scan, key)]),
  );

export function recordAt(value: unknown, at: string): JsonRecord {
  if (isRecord(value)) return value;
  throw malformed(at, 'must be an object');
}

/** Empty where nothing was given. */
export function listAt(value: unknown, at: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw malformed(at, 'must be a list');
}

/** The value, or undefined where nothing was given: the four read a member that may be left out. */
export function textAt(value: unknown, at: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw malformed(at, 'must be a string');
}

export function numberAt(value: unknown, at: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number') return value;
  throw malformed(at, 'must be a number');
}

export function booleanAt(value: unknown, at: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'boolean') return value;
  throw malformed(at, 'must be true or false');
}

export function oneOfAt<const T extends string>(
  value: unknown,
  at: string,
  known: readonly T[],
): T | undefined {
  if (value === undefined || value === null) return undefined;
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  throw new Untranslatable(at, `only ${known.map((one) => `"${one}"`).join(', ')} can be translated`);
}

/** A text that must be there. */
export function neededText(value: unknown, at: string): string {
  const text = textAt(value, at);
  if (text !== undefined) return text;
  throw malformed(at, 'is missing');
}

/** A JSON schema, or any object that is taken over as it stands. */
export const schemaAt = (value: unknown, at: string): JsonRecord | undefined =>
  value === undefined || value === null ? undefined : recordAt(value, at);

/** The bytes and type of `data:image/png;base64,…`; undefined for any other address. */
export function dataOf(url: string): { readonly mediaType: string; readonly base64: string } | undefined {
  if (!url.startsWith('data:')) return undefined;
  const comma = url.indexOf(',');
  const [mediaType = '', ...options] = url.slice('data:'.length, comma < 0 ? 0 : comma).split(';');
  if (comma < 0 || !options.includes('base64')) return undefined;
  return { mediaType: mediaTypeOf(mediaType), base64: url.slice(comma + 1) };
}

/** What many clients call a picture is no registered type, and only some vendors take it. */
export function mediaTypeOf(told: string): string {
  const mediaType = told.toLowerCase();
  return mediaType === 'image/jpg' ? 'image/jpeg' : mediaType;
}

/** The bytes of a data URL, or the address itself. */
export function sourceOf(url: string): Source {
  const data = dataOf(url);
  return data === undefined ? { kind: 'url', url, mediaType: undefined } : { kind: 'data', ...data };
}

/**
 * The object that a tool call's arguments are, where a dialect wants them as an object. A model may have written what is
 * none, or not to its end, and OpenAI's dialects take that back; it goes on as Anthropic advises, by this name.
 */
export function argumentsOf(json: string, at: string): JsonRecord {
  const value = parseJson(json === '' ? '{}' : json);
  if (!isRecord(value)) return { INVALID_JSON: json };
  if (isShallow(value)) return value;
  throw malformed(at, `must be nested ${JSON_DEPTH_MAX} deep at most`);
}

export const malformed = (at: string, why: string): Untranslatable =>
  new Untranslatable(at, why, 'malformed');

/** Level by level, so that no depth can cost the stack. */
function isShallow(value: unknown): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > JSON_DEPTH_MAX) return false;
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
  return true;
}
