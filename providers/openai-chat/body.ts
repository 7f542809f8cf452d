/** Whole replies of chat completions, completions and embeddings. */
import { listOf } from '../../src/usage/json-value.ts';
import type { BodyMeter } from '../passage/json-reader.ts';
import { ChatReport } from './report.ts';
import { choiceQuarters } from './text.ts';

export const meterChatBody: BodyMeter = (body, tally) => {
  const report = new ChatReport();
  report.take(body);
  for (const choice of listOf(body['choices'])) tally.add(choiceQuarters(choice));
  return report.metered(true, 'the reply told no usage');
};

/** Nothing is generated: a report that leaves the completion out means none. */
export const meterEmbeddingsBody: BodyMeter = (body) => {
  const report = new ChatReport({ generates: false });
  report.take(body);
  return report.metered(true, 'the reply told no usage');
};
