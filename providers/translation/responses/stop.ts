/** Why a response stopped, both ways: its status, and what makes it incomplete. */
import type { StopReason } from '../reply.ts';

const REASONS: Readonly<Record<string, StopReason>> = {
  max_output_tokens: 'max_tokens',
  content_filter: 'content_filter',
};

/** `incomplete`: the reason in `incomplete_details`, undefined for a response that is complete. */
export const responsesStopReason = (incomplete: string | undefined): StopReason => {
  if (incomplete === undefined) return 'end';
  return Object.hasOwn(REASONS, incomplete) ? (REASONS[incomplete] ?? 'max_tokens') : 'max_tokens';
};

/** Undefined: the response is complete. */
const INCOMPLETE: Readonly<Record<StopReason, string | undefined>> = {
  end: undefined,
  max_tokens: 'max_output_tokens',
  tool_calls: undefined,
  stop_sequence: undefined,
  refusal: 'content_filter',
  content_filter: 'content_filter',
  pause: undefined,
};

/** `refused`: the response says in a part of its own that it is a refusal, which with OpenAI is an ordinary end. */
export const incompleteReason = (reason: StopReason, refused: boolean): string | undefined =>
  reason === 'refusal' && refused ? undefined : INCOMPLETE[reason];
