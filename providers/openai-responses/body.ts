/** Whole replies of `/responses` and `/responses/compact`. */
import { listOf } from '../../src/usage/json-value.ts';
import type { BodyMeter } from '../passage/json-reader.ts';
import { ResponsesReport } from './report.ts';
import { itemQuarters } from './text.ts';

export const meterResponsesBody: BodyMeter = (body, tally) => {
  const report = new ResponsesReport();
  report.take(body);
  for (const item of listOf(body['output'])) tally.add(itemQuarters(item));
  return report.metered(true, 'the response told no usage');
};
