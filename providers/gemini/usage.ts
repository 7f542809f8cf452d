/**
 * Gemini's `usageMetadata`, brought to disjoint classes. Cached content lies inside `promptTokenCount`; what the vendor's
 * own tools read (`toolUsePromptTokenCount`) beside it; thoughts beside the candidates. A count of zero is left out.
 * The vendor's total decides where an older server means it otherwise, and tells the one of the two main counts that is left out.
 */
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import type { TokenCounts } from '../../src/usage/usage.ts';
import { countOf } from '../passage/counts.ts';

export type GeminiUsage =
  | { readonly kind: 'counts'; readonly counts: TokenCounts; readonly reason?: string | undefined }
  /** It tells no counts (a blocked prompt's has a traffic type alone), or none that can be believed. */
  | { readonly kind: 'refused'; readonly reason: string };

type Fields = Readonly<Record<string, unknown>>;

/** Reads a `usageMetadata` as a whole: never merged with an earlier one, whose fields may have been larger. */
export function readGeminiUsage(usage: Fields): GeminiUsage {
  const doubts: string[] = [];
  const main = countOf(usage['promptTokenCount']);
  const generated = countOf(usage['candidatesTokenCount']);
  if (main === 'malformed') return { kind: 'refused', reason: 'promptTokenCount is not a token count' };
  if (generated === 'malformed')
    return { kind: 'refused', reason: 'candidatesTokenCount is not a token count' };
  if (main === undefined && generated === undefined)
    return { kind: 'refused', reason: 'usageMetadata has no counts' };
  const detail = (name: string): number => {
    const count = countOf(usage[name]);
    if (count === 'malformed') doubts.push(`${name} is not a token count`);
    return typeof count === 'number' ? count : 0;
  };
  const total = countOf(usage['totalTokenCount']);
  const beside = { toolUse: detail('toolUsePromptTokenCount'), thoughts: detail('thoughtsTokenCount') };
  const told = (main ?? 0) + (generated ?? 0) + beside.toolUse + beside.thoughts;
  const untold = typeof total === 'number' ? Math.max(0, total - told) : 0;
  const sums = settleSums(
    { ...beside, prompt: main ?? untold, candidates: generated ?? untold },
    total,
    doubts,
  );
  const counts = classes(usage, sums, { cached: detail('cachedContentTokenCount'), doubts });
  return { kind: 'counts', counts, reason: doubts.length === 0 ? undefined : doubts.join('; ') };
}

interface Parts {
  readonly prompt: number;
  readonly toolUse: number;
  readonly candidates: number;
  readonly thoughts: number;
}

interface Sums {
  readonly input: number;
  readonly output: number;
  readonly reasoning: number;
}

function settleSums(
  { prompt, toolUse, candidates, thoughts }: Parts,
  total: number | 'malformed' | undefined,
  doubts: string[],
): Sums {
  const beside = { input: prompt + toolUse, output: candidates + thoughts, reasoning: thoughts };
  if (typeof total !== 'number' || total === beside.input + beside.output) return beside;
  if (thoughts <= candidates && total === prompt + toolUse + candidates)
    return { ...beside, output: candidates };
  if (total === prompt + candidates + thoughts) return { ...beside, input: prompt };
  doubts.push(`totalTokenCount ${total} is not the sum of its parts`);
  return beside;
}

function classes(
  usage: Fields,
  { input, output, reasoning }: Sums,
  { cached, doubts }: { readonly cached: number; readonly doubts: string[] },
): TokenCounts {
  if (cached > input) doubts.push(`${cached} cached tokens of ${input} input tokens: not believed`);
  const cacheRead = cached > input ? 0 : cached;
  const fresh = input - cacheRead;
  const ofModality = (modality: Modality): number => {
    const read = modalityTokens(usage['promptTokensDetails'], modality);
    const used = modalityTokens(usage['toolUsePromptTokensDetails'], modality);
    return Math.max(0, read + used - modalityTokens(usage['cacheTokensDetails'], modality));
  };
  const audioInput = Math.min(ofModality('AUDIO'), fresh);
  const imageInput = Math.min(ofModality('IMAGE'), fresh - audioInput);
  const shown = output - reasoning;
  const audioOutput = Math.min(modalityTokens(usage['candidatesTokensDetails'], 'AUDIO'), shown);
  const imageOutput = Math.min(
    modalityTokens(usage['candidatesTokensDetails'], 'IMAGE'),
    shown - audioOutput,
  );
  return {
    uncachedInput: fresh - audioInput - imageInput,
    cacheRead,
    cacheWrite: 0,
    cacheWrite1h: 0,
    audioInput,
    imageInput,
    textOutput: shown - audioOutput - imageOutput,
    reasoning,
    audioOutput,
    imageOutput,
  };
}

type Modality = 'AUDIO' | 'IMAGE';
/** The enumeration's numbers, which some clients of the vendor's other protocol show. */
const MODALITY_NUMBERS: Readonly<Record<Modality, number>> = { IMAGE: 2, AUDIO: 4 };

function modalityTokens(details: unknown, modality: Modality): number {
  let tokens = 0;
  for (const detail of listOf(details)) {
    if (!isRecord(detail)) continue;
    const named = detail['modality'];
    const count = countOf(detail['tokenCount']);
    if ((named === modality || named === MODALITY_NUMBERS[modality]) && typeof count === 'number')
      tokens += count;
  }
  return tokens;
}
