import { expect, it } from 'vitest';
import { type Problem, parseConfig } from '../../src/config.ts';

const problems = (text: string, env: Record<string, string> = {}): readonly Problem[] => {
  const parsed = parseConfig(text, { env });
  return parsed.kind === 'invalid' ? parsed.problems : [];
};

it('problems of the configuration file name an unknown key with its place and the key that was meant', () => {
  expect(problems('limits:\n  rpm: 3\nmetering:\n  on_disconect: drain\nbudgets: {}\n')).toEqual([
    {
      path: 'metering.on_disconect',
      line: 4,
      column: 3,
      message: 'unknown key "on_disconect"; did you mean "on_disconnect"?',
    },
    { path: 'budgets', line: 5, column: 1, message: 'unknown key "budgets"; did you mean "budget"?' },
  ]);
});

it('problems of the configuration file find the meant key below names that the operator chose', () => {
  expect(problems('providers:\n  groq: { type: openai-compatible, base_ulr: http://x }')).toMatchObject([
    { line: 2, column: 3, message: expect.stringContaining('needs a base_url') },
    { line: 2, column: 36, message: expect.stringContaining('did you mean "base_url"') },
  ]);
  expect(problems('prices:\n  a/b: { cache_reed: 1 }')[0]?.message).toContain('did you mean "cache_read"');
});

it('problems of the configuration file are all said at once, in the order of the file', () => {
  const text = [
    'providers:',
    '  groq: { type: openai-compatible }',
    '  house: { base_url: "http://u:p@h/v1" }',
    'models:',
    '  fast: grok/llama',
    '  slow: gpt-5',
    'billing:',
    '  transport: v3',
    '  token_types: [input]',
    'limits: { rpm: 1.5, tpm: 0 }',
  ].join('\n');
  expect(problems(text).map(({ line, path }) => `${String(line)} ${path}`)).toEqual([
    '2 providers.groq',
    '3 providers.house',
    '3 providers.house.base_url',
    '5 models.fast',
    '6 models.slow',
    '8 billing.transport',
    '9 billing.token_types',
    '10 limits.rpm',
    '10 limits.tpm',
  ]);
});

it('problems of the configuration file are said of an entry whose name is wrong too', () => {
  const text = [
    'providers:',
    '  My_Groq: { type: openai-compatibel, base_url: "http://h/v1", api_kee: x }',
    'plans:',
    '  Pro: { markup: many }',
  ].join('\n');
  const found = problems(text);
  expect(found.map(({ line, path }) => `${String(line)} ${path}`)).toEqual([
    '2 providers.My_Groq',
    '2 providers.My_Groq.type',
    '2 providers.My_Groq.api_kee',
    '4 plans.Pro',
    '4 plans.Pro.markup',
  ]);
  expect(found[0]?.message).toContain('dashes and underscores');
  expect(found[1]?.message).toContain('did you mean "openai-compatible"?');
});

it('problems of the configuration file suggest the nearest word of a choice', () => {
  expect(problems('budget: { mode: standrad }')[0]?.message).toBe(
    'must be one of strict, standard, observe, not "standrad"; did you mean "standard"?',
  );
  expect(problems('models: { fast: opnai/gpt-5 }')[0]?.message).toContain('did you mean "openai"?');
});

it('problems of the configuration file tell of a key given twice and of text that is no YAML', () => {
  expect(problems('limits: {}\nlimits: {}')).toMatchObject([
    { line: 2, column: 1, message: expect.stringContaining('twice') },
  ]);
  expect(problems('a: [1\nb: 2')[0]?.message).toContain('not valid YAML');
  expect(problems('- a')[0]?.message).toBe('must be a mapping of keys and values');
});

it('problems of the configuration file find secrets that are written in the file, comments too, and never repeat them', () => {
  const found = problems(
    '# old: rk_live_abcdefghijkl\nproviders:\n  openai: { api_key: sk-proj-abcdefghijkl }\n  x: { type: openai, api_key: "${K:-whsec_abcdefghijkl}" }',
  );
  expect(found.map(({ line }) => line)).toEqual([1, 3, 4]);
  expect(JSON.stringify(found)).not.toContain('abcdefgh');
});

it('problems of the configuration file name a small file that aliases multiply past all bounds', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
  for (let index = 0; index < 9; index++) {
    const [from, to] = ['abcdefghij'.charAt(index), 'abcdefghij'.charAt(index + 1)];
    bomb.push(`${to}: &${to} [${Array.from({ length: 10 }, () => `*${from}`).join(',')}]`);
  }
  expect(problems(bomb.join('\n')).some(({ message }) => message.includes('too many nodes'))).toBe(true);
});
