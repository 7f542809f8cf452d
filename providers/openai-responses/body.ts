/** Whole replies of `/responses` and `/responses/compact`. */
import { listOf } from '../../src/usage/json-value.ts';
import type { BodyRules } from '../passage/json-reader.ts';
import { ResponsesReport } from './report.ts';
import { itemQuarters } from './text.ts';

export const responsesBody: BodyRules = {
  meter(body) {
    const report = new ResponsesReport();
    report.take(body);
    return report.metered(true, 'the response told no usage');
  },
  weigh(body, tally) {
    for (const item of listOf(body['output'])) tally.add(itemQuarters(item));
  },
};
