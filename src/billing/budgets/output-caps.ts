/**
 * The limit on generated tokens that a request names. Only the name counts that its route knows: a lenient server ignores
 * another route's, and what it ignores is no limit.
 */
import { isRecord } from '../../usage/json-value.ts';

export interface OutputCaps {
  /** Every limit the request names; empty where it names none, or one that cannot be relied on. */
  readonly caps: readonly number[];
  /** How many replies one prompt is given. */
  readonly replies: number;
  /** For thought, where a Gemini is given a budget; null where it is left to the model. */
  readonly thinkingBudget: number | null;
}

type Members = Readonly<Record<string, unknown>>;

const GEMINI_CAPS = ['maxOutputTokens', 'max_output_tokens'];
const CAPS: Readonly<Record<string, readonly string[]>> = {
  'chat.completions': ['max_tokens', 'max_completion_tokens'],
  completions: ['max_tokens'],
  responses: ['max_output_tokens'],
  messages: ['max_tokens'],
  generateContent: GEMINI_CAPS,
  streamGenerateContent: GEMINI_CAPS,
  interactions: GEMINI_CAPS,
};
const CONFIGS = ['generationConfig', 'generation_config'];
const THINKING = ['thinkingConfig', 'thinking_config'];
const THINKING_BUDGETS = ['thinkingBudget', 'thinking_budget'];
const REPLIES = ['n', 'best_of', 'candidateCount', 'candidate_count'];
/** No reply is so long, and no request has so many; it keeps 1e999, which JSON allows, a number. */
const COUNT_MAX = 1_000_000_000;

/** Reads a request to one of the gateway's routes; `configs` are the settings that lie deeper, by `configsOf`. */
export function outputCapsOf(body: Members, configs: readonly Members[], endpoint: string): OutputCaps {
  const names = CAPS[endpoint] ?? [];
  const given = countsIn(names === GEMINI_CAPS ? configs : [body], names);
  // A cap of nothing, or less, means none to some servers; of two they may take either.
  const isSound = given.every((cap) => cap >= 1);
  let replies = 1;
  for (const settings of [body, ...configs])
    for (const name of REPLIES)
      if (settings[name] !== undefined) replies = larger(replies, countOf(settings[name]));
  return { caps: isSound ? given : [], replies, thinkingBudget: thinkingBudgetOf(configs) };
}

/** Every number that one of them has under one of the names. */
function countsIn(several: readonly Members[], names: readonly string[]): number[] {
  const counts: number[] = [];
  for (const settings of several)
    for (const name of names) {
      const value = settings[name];
      if (value !== undefined && value !== null) counts.push(countOf(value));
    }
  return counts;
}

/** NaN is never larger. */
const larger = (a: number, b: number): number => (b > a ? b : a);

/** Gemini's settings lie one deeper, under either name. */
export const configsOf = (body: Members): readonly Members[] => recordsIn(body, CONFIGS);

function recordsIn(members: Members, names: readonly string[]): Members[] {
  const records: Members[] = [];
  for (const name of names) {
    const value = members[name];
    if (isRecord(value)) records.push(value);
  }
  return records;
}

/** Servers that coerce read a number in a text. NaN where it is none. */
function countOf(value: unknown): number {
  if (typeof value !== 'number' && typeof value !== 'string') return NaN;
  const text = typeof value === 'string' ? value.trim() : value;
  return text === '' ? NaN : Math.min(Number(text), COUNT_MAX);
}

/** Below zero leaves it to the model. */
function thinkingBudgetOf(configs: readonly Members[]): number | null {
  if (configs.length === 0) return null;
  const budgets = countsIn(
    configs.flatMap((config) => recordsIn(config, THINKING)),
    THINKING_BUDGETS,
  );
  if (budgets.length === 0 || !budgets.every((budget) => budget >= 0)) return null;
  return Math.max(...budgets);
}
