import { beforeAll, describe, expect, it } from 'vitest';
import { anthropic } from '../../providers/anthropic.ts';
import { google } from '../../providers/google.ts';
import { openaiCompatible } from '../../providers/openai-compatible.ts';
import { checksOf, type RecordedApi } from '../support/recorded.ts';
import { recordedCases, recordingsDirectory, type RecordedCase } from '../support/recordings.ts';

const APIS: readonly (RecordedApi & { readonly atLeast: number })[] = [
  { api: 'anthropic.messages', provider: anthropic, endpoint: () => 'messages', atLeast: 200 },
  { api: 'gemini.generateContent', provider: google, endpoint: () => 'generateContent', atLeast: 200 },
  {
    api: 'gemini.streamGenerateContent',
    provider: google,
    endpoint: () => 'streamGenerateContent',
    atLeast: 60,
  },
  { api: 'gemini.embedContent', provider: google, endpoint: () => 'embedContent', atLeast: 10 },
  { api: 'gemini.interactions', provider: google, endpoint: () => 'interactions', atLeast: 15 },
  { api: 'openai.responses', provider: openaiCompatible, endpoint: () => 'responses', atLeast: 350 },
  { api: 'openai.completions', provider: openaiCompatible, endpoint: () => 'completions', atLeast: 70 },
  { api: 'openai.embeddings', provider: openaiCompatible, endpoint: () => 'embeddings', atLeast: 100 },
];

if (recordingsDirectory === undefined) {
  console.warn('Recorded replies are skipped: FAREGATE_RECORDINGS names no directory.');
}

describe.skipIf(recordingsDirectory === undefined).each(APIS)('recorded $api replies', (api) => {
  const cases: RecordedCase[] = [];
  const checks = checksOf(api);

  beforeAll(async () => {
    for await (const recorded of recordedCases((expected) => expected.api === api.api)) cases.push(recorded);
  });

  it('are there', () => {
    expect(cases.length).toBeGreaterThanOrEqual(api.atLeast);
  });

  it('are metered exactly as the vendors mean them, and passed on byte for byte', () => {
    for (const recorded of cases) checks.whole(recorded);
  });

  it('are metered the same at random chunk boundaries', () => {
    for (const recorded of cases) checks.atRandomChunks(recorded);
  });

  it('are metered the same one byte at a time', () => {
    for (const recorded of cases) checks.oneByOne(recorded);
  });

  it('never count more than was billed when they are cut, wherever that is', () => {
    for (const recorded of cases) checks.cut(recorded);
  });

  it('never count more than was billed, behind any byte', () => {
    for (const recorded of cases) checks.everywhere(recorded);
  });
});
