/** Why a candidate of Gemini's stopped, both ways. */
import type { StopReason } from '../reply.ts';

/** `failed`: the model wrote what its own server could not read; there is nothing that an answer could be made of. */
const REASONS: Readonly<Record<string, StopReason | 'failed'>> = {
  STOP: 'end',
  MAX_TOKENS: 'max_tokens',
  SAFETY: 'content_filter',
  RECITATION: 'content_filter',
  LANGUAGE: 'content_filter',
  OTHER: 'content_filter',
  BLOCKLIST: 'content_filter',
  PROHIBITED_CONTENT: 'content_filter',
  SPII: 'content_filter',
  IMAGE_SAFETY: 'content_filter',
  IMAGE_PROHIBITED_CONTENT: 'content_filter',
  IMAGE_RECITATION: 'content_filter',
  IMAGE_OTHER: 'content_filter',
  MALFORMED_FUNCTION_CALL: 'failed',
  MALFORMED_RESPONSE: 'failed',
  UNEXPECTED_TOOL_CALL: 'failed',
  TOO_MANY_TOOL_CALLS: 'failed',
  // The enumeration's numbers, which some clients of the vendor's other protocol show.
  1: 'end',
  2: 'max_tokens',
  3: 'content_filter',
  4: 'content_filter',
  5: 'content_filter',
};

export const geminiStopReason = (word: string): StopReason | 'failed' =>
  Object.hasOwn(REASONS, word) ? (REASONS[word] ?? 'end') : 'end';

const WORDS: Readonly<Record<StopReason, string>> = {
  end: 'STOP',
  max_tokens: 'MAX_TOKENS',
  tool_calls: 'STOP',
  stop_sequence: 'STOP',
  refusal: 'SAFETY',
  content_filter: 'SAFETY',
  pause: 'STOP',
};

/** `refused`: the reply says in words that it is a refusal, which for this dialect is an answer. */
export const geminiFinishReason = (reason: StopReason, refused: boolean): string =>
  reason === 'refusal' && refused ? 'STOP' : WORDS[reason];
