/** Whole replies of chat completions, completions and embeddings. */
import { listOf } from '../../src/usage/json-value.ts';
import type { BodyRules } from '../passage/json-reader.ts';
import { ChatReport } from './report.ts';
import { choiceQuarters } from './text.ts';

export const chatBody: BodyRules = {
  meter(body) {
    const report = new ChatReport();
    report.take(body);
    return report.metered(true, 'the reply told no usage');
  },
  weigh(body, tally) {
    for (const choice of listOf(body['choices'])) tally.add(choiceQuarters(choice));
  },
};

/** Nothing is generated: a report that leaves the completion out means none. */
export const embeddingsBody: BodyRules = {
  meter(body) {
    const report = new ChatReport({ generates: false });
    report.take(body);
    return report.metered(true, 'the reply told no usage');
  },
  weigh: () => undefined,
};
