/** Why an Anthropic message stopped, both ways. */
import type { StopReason } from '../reply.ts';

const REASONS: Readonly<Record<string, StopReason>> = {
  end_turn: 'end',
  max_tokens: 'max_tokens',
  tool_use: 'tool_calls',
  stop_sequence: 'stop_sequence',
  refusal: 'refusal',
  pause_turn: 'pause',
  model_context_window_exceeded: 'max_tokens',
};

export const messagesStopReason = (word: string): StopReason =>
  Object.hasOwn(REASONS, word) ? (REASONS[word] ?? 'end') : 'end';

export const STOP_WORDS: Readonly<Record<StopReason, string>> = {
  end: 'end_turn',
  max_tokens: 'max_tokens',
  tool_calls: 'tool_use',
  stop_sequence: 'stop_sequence',
  refusal: 'refusal',
  // Anthropic has one word for whatever was withheld.
  content_filter: 'refusal',
  pause: 'pause_turn',
};
