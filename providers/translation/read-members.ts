/** The members that dialects spell differently and mean alike. */
import { isRecord } from '../../src/usage/json-value.ts';
import type { CacheMark, ImagePart, Member, Sampling } from './conversation.ts';
import { type JsonRecord, isGiven } from './members.ts';
import { malformed, numberAt, oneOfAt, textAt } from './reading.ts';

/** A dialect's names for what steers the sampling; one it has not is left out. */
export type SamplingNames = Readonly<Partial<Record<keyof Sampling, string>>>;

export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export const TIERS = ['auto', 'default', 'flex', 'priority'] as const;
export const VERBOSITIES = ['low', 'medium', 'high'] as const;

/** What asks for the vendor's own default everywhere is as if it were not given: one choice, penalties of zero. */
export function samplingOf(body: JsonRecord, names: SamplingNames): Sampling {
  const number = (member: keyof Sampling, harmless?: number): number | undefined => {
    const name = names[member];
    const value = name === undefined ? undefined : numberAt(body[name], name);
    return value === harmless ? undefined : value;
  };
  return {
    maxTokens: number('maxTokens'),
    temperature: number('temperature'),
    topP: number('topP'),
    topK: number('topK'),
    stop: names.stop === undefined ? undefined : stopsOf(body[names.stop], names.stop),
    seed: number('seed'),
    presencePenalty: number('presencePenalty', 0),
    frequencyPenalty: number('frequencyPenalty', 0),
    choices: number('choices', 1),
    logprobs: number('logprobs'),
  };
}

/** The members that were given, each under the first of its names that was used. */
export function namesOf(
  body: JsonRecord,
  names: readonly (readonly [member: Member, name: string])[],
): Readonly<Partial<Record<Member, string>>> {
  const given = names.filter(([, name]) => isGiven(body[name]));
  return Object.fromEntries(given.toReversed());
}

/** Labels are texts by name. */
export function labelsOf(value: unknown, at: string): Readonly<Record<string, string>> | undefined {
  if (!isGiven(value)) return undefined;
  if (!isRecord(value)) throw malformed(at, 'must be an object');
  return Object.fromEntries(Object.entries(value).map(([key, label]) => [key, textAt(label, at) ?? '']));
}

/** How closely an image is looked at; as the vendor likes where it says so. */
export function detailOf(image: JsonRecord, at: string): ImagePart['detail'] {
  const detail = oneOfAt(image['detail'], `${at}.detail`, ['low', 'high', 'original', 'auto']);
  return detail === 'auto' ? undefined : detail;
}

/** Anthropic's mark, and OpenAI's: what shall be cached for half an hour or more is cached for one. */
export function cacheOf(part: JsonRecord, at: string): CacheMark | undefined {
  const mark = part['cache_control'];
  if (isRecord(mark)) return { ttl: oneOfAt(mark['ttl'], `${at}.cache_control.ttl`, ['5m', '1h']) };
  const breakpoint = part['prompt_cache_breakpoint'];
  if (!isRecord(breakpoint)) return undefined;
  return { ttl: breakpoint['ttl'] === undefined ? undefined : '1h' };
}

function stopsOf(value: unknown, at: string): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const stops = list
    .map((stop, index) => textAt(stop, `${at}[${index}]`) ?? '')
    .filter((stop) => stop !== '');
  return stops.length === 0 ? undefined : stops;
}
