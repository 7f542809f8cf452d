/** Why a chat completion stopped, both ways. */
import type { StopReason } from '../reply.ts';

/** OpenAI's words, then those of vendors that speak its dialect; any other word means that the reply simply ended. */
const REASONS: Readonly<Record<string, StopReason | 'failed'>> = {
  stop: 'end',
  length: 'max_tokens',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
  // Mistral: the context is full.
  model_length: 'max_tokens',
  max_tokens: 'max_tokens',
  tool_use: 'tool_calls',
  // Z.ai.
  sensitive: 'content_filter',
  stop_sequence: 'stop_sequence',
  refusal: 'refusal',
  // OpenRouter and DeepSeek: the generation was interrupted.
  error: 'failed',
  insufficient_system_resource: 'failed',
};

/** `failed`: what was generated is no answer. */
export const chatStopReason = (word: string): StopReason | 'failed' =>
  Object.hasOwn(REASONS, word) ? (REASONS[word] ?? 'end') : 'end';

const WORDS: Readonly<Record<StopReason, string>> = {
  end: 'stop',
  max_tokens: 'length',
  tool_calls: 'tool_calls',
  stop_sequence: 'stop',
  refusal: 'content_filter',
  content_filter: 'content_filter',
  pause: 'stop',
};

/** `refused`: the message says in its own field that it is a refusal, which with OpenAI is an ordinary end. */
export const chatFinishReason = (reason: StopReason, refused: boolean): string =>
  reason === 'refusal' && refused ? 'stop' : WORDS[reason];
