import { expect, it } from 'vitest';
import { type Config, configJsonSchema, type Problem, parseConfig } from '../../src/config.ts';

const valid = (text: string, env: Record<string, string> = {}): Config => {
  const parsed = parseConfig(text, { env });
  if (parsed.kind === 'invalid') throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
};

const problems = (text: string, env: Record<string, string> = {}): readonly Problem[] => {
  const parsed = parseConfig(text, { env });
  return parsed.kind === 'invalid' ? parsed.problems : [];
};

const CONTRACT_FILE = `
providers:
  openai:    { api_key: "\${OPENAI_API_KEY}" }
  anthropic: { api_key: "\${ANTHROPIC_API_KEY}" }
  google:    { api_key: "\${GEMINI_API_KEY}" }
  groq:      { type: openai-compatible, base_url: https://api.groq.com/openai/v1, api_key: "\${GROQ_API_KEY}" }
             # every OpenAI route passes through
models:
  fast:  openai/gpt-5-mini
  smart: [anthropic/claude-sonnet-4.6, openai/gpt-5]
billing:
  event_name: token-billing-tokens
  layouts: [dimensions]
  token_types: [input, output]
  transport: auto
  window: 0s
  markup: 1.0
budget:
  mode: standard
  no_credit: serve
  on_empty: block
  when_unknown: refuse
  alerts: { default: block, notify_only: [] }
limits: { rpm: null, tpm: null, concurrency: null }
metering: { on_disconnect: drain, on_missing_usage: estimate }
prices:
  openai/gpt-5-mini: { input: 0.25, output: 2.00, cache_read: 0.025, cache_write: 0, cache_write_1h: 0 }
`;

it('the configuration file is valid as the documentation shows it', () => {
  const config = valid(CONTRACT_FILE);
  expect(config.aliases.get('smart')).toEqual(['anthropic/claude-sonnet-4.6', 'openai/gpt-5']);
  expect(config.providers.map(({ name, type }) => [name, type])).toEqual([
    ['openai', 'openai'],
    ['anthropic', 'anthropic'],
    ['google', 'google'],
    ['groq', 'openai-compatible'],
  ]);
});

it('the configuration file means the documented defaults when it is empty', () => {
  const { prices: _own, providers: _listed, aliases: _named, ...shown } = valid(CONTRACT_FILE);
  expect(valid('')).toMatchObject(shown);
  expect(valid('providers:\nprices:\n').providers).toEqual([]);
});

it('the configuration file keeps prices exact, in picodollars per token', () => {
  const price = valid(
    'prices:\n  a/b: { input: 0.25, output: 2.00, cache_read: 0.025, cache_write: 0, cache_write_1h: "0.000001" }',
  );
  expect(price.prices.get('a/b')).toEqual({
    input: 250_000n,
    output: 2_000_000n,
    cacheRead: 25_000n,
    cacheWrite: 0n,
    cacheWrite1h: 1n,
  });
  // As floats, 0.1 + 0.2 and 1234567.654321 would both be off.
  expect(valid('prices: { a/b: { input: 1234567.654321 } }').prices.get('a/b')?.input).toBe(
    1_234_567_654_321n,
  );
});

it('the configuration file refuses a price finer than a picodollar per token, and every other way of writing numbers', () => {
  for (const bad of ['0.0000001', '1e3', '-1', '.inf', '0x10', 'free', '[1]']) {
    expect(problems(`prices:\n  a/b:\n    input: ${bad}`), bad).toMatchObject([
      { path: 'prices["a/b"].input', line: 3, message: expect.stringContaining('USD per million tokens') },
    ]);
  }
});

it('the configuration file reads money and durations', () => {
  const config = valid('billing: { window: 5m, markup: 1.25 }\nbudget: { on_empty: { grace: "5.00" } }');
  expect(config.billing).toMatchObject({ windowMs: 300_000, markupMillionths: 1_250_000n });
  expect(config.budget.onEmpty).toEqual({ kind: 'grace', pico: 5_000_000_000_000n });
});

it('the JSON Schema of the configuration file knows every section and refuses others', () => {
  expect(configJsonSchema()).toMatchObject({ additionalProperties: false });
  expect(Object.keys(Object(configJsonSchema()['properties']))).toEqual([
    'providers',
    'models',
    'billing',
    'budget',
    'notify',
    'limits',
    'ledger',
    'metering',
    'plans',
    'timeouts',
    'retries',
    'breaker',
    'prices',
  ]);
});
