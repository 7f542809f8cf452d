import { describe, expect, it } from 'vitest';
import { boundOf, type Vendor } from '../../../src/billing/budgets/bound.ts';
import { limitsOf } from '../../../src/billing/budgets/model-limits.ts';
import { featuresOf } from '../../../src/billing/budgets/request-features.ts';
import { recordedCases, recordingsDirectory } from '../../support/recordings.ts';

const VENDORS: Readonly<Record<string, Vendor>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  google: 'google',
  vertex: 'google',
};
const APIS = /^(?:openai\.(?:chat|responses|completions|embeddings)|anthropic\.messages|gemini\.)/;

const endpointOf = (api: string): string =>
  api.startsWith('gemini.')
    ? 'generateContent'
    : api.replace(/^openai\.chat.*/, 'chat.completions').replace(/^\w+\./, '');

interface Row {
  readonly id: string;
  readonly ratio: number;
  readonly excess: number;
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;

describe.skipIf(recordingsDirectory === undefined)('the bound on what recorded calls read', () => {
  it('holds for every one of them whose request is whole and can be bounded', async () => {
    const rows: Row[] = [];
    let boundless = 0;
    let replies = 0;
    const outputs: string[] = [];
    for await (const { id, api, provider, request, requestTrimmed, expected } of recordedCases(
      (known) => APIS.test(known.api) && known.metered,
    )) {
      if (request === null || requestTrimmed) continue;
      const text = typeof request === 'string' ? request : JSON.stringify(request);
      const vendor = VENDORS[provider] ?? 'other';
      const bound = boundOf({
        vendor,
        bodyBytes: new TextEncoder().encode(text).length,
        features: featuresOf(JSON.parse(text), endpointOf(api)),
        limits: limitsOf(provider, expected.model_requested ?? expected.model ?? ''),
        generates: !/embed/.test(api),
      });
      const read = Math.max(...expected.accept.map((pair) => pair.input_tokens ?? 0));
      if (bound.inputTokens === null) {
        boundless += 1;
        continue;
      }
      rows.push({ id, ratio: bound.inputTokens / Math.max(1, read), excess: read - bound.inputTokens });
      replies += 1;
      if (bound.outputTokens !== null && (expected.output_tokens ?? 0) > bound.outputTokens)
        outputs.push(`${id}: ${String(expected.output_tokens)} > ${String(bound.outputTokens)}`);
    }
    const ratios = rows.map(({ ratio }) => ratio).toSorted((a, b) => a - b);
    process.stdout.write(
      `bound on input: ${String(rows.length)} calls hold (${String(boundless)} more are boundless); bound/read p1 ${quantile(ratios, 0.01).toFixed(2)}, ` +
        `p50 ${quantile(ratios, 0.5).toFixed(1)}, p99 ${quantile(ratios, 0.99).toFixed(0)}, max ${quantile(ratios, 1).toFixed(0)}\n`,
    );
    expect(rows.filter(({ excess }) => excess > 0)).toEqual([]);
    expect(rows.length).toBeGreaterThan(900);
    expect(outputs).toEqual([]);
    expect(replies).toBe(rows.length);
  });
});
