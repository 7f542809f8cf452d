/** Usage in the words of the Responses API: the chat dialect's arithmetic under other names. */
import { inputTokens, outputTokens, type TokenCounts } from '../../../src/usage/usage.ts';
import { inputDetails, outputDetails } from '../chat/usage-writer.ts';

export function responsesUsage(counts: TokenCounts): Readonly<Record<string, unknown>> {
  const input = inputTokens(counts);
  const output = outputTokens(counts);
  return {
    input_tokens: input,
    input_tokens_details: inputDetails(counts),
    output_tokens: output,
    output_tokens_details: outputDetails(counts),
    total_tokens: input + output,
  };
}
