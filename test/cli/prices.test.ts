import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CATALOGUE_VERSION } from '../../src/billing/prices/prices.ts';

const BIN = new URL('../../bin/faregate.mjs', import.meta.url).pathname;
const PACKAGE = new URL('../../node_modules/@pydantic/genai-prices/package.json', import.meta.url).pathname;
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'faregate-prices-'));
  const config = {
    billing: { markup: 2 },
    plans: { pro: { markup: 1 } },
    prices: { 'openai/gpt-4o-mini': { input: 0.2, markup: 1.5 }, 'openai/own': { input: 1, output: 2 } },
  };
  writeFileSync(join(folder, 'faregate.yaml'), JSON.stringify(config));
});
afterAll(() => rmSync(folder, { recursive: true }));

function prices(...args: string[]): {
  readonly version: string;
  readonly data: readonly Record<string, unknown>[];
} {
  const ran = spawnSync(process.execPath, [BIN, 'prices', ...args, '--json'], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', OPENAI_API_KEY: 'sk-x' },
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(ran.stderr).toBe('');
  return JSON.parse(ran.stdout) as ReturnType<typeof prices>;
}

const of = (model: string, ...args: string[]) =>
  prices('list', ...args).data.find((row) => row['model'] === model)?.['tiers'];

it('lists what every model costs, by the markup of the model, the plan or all', () => {
  expect(of('openai/gpt-4o-mini')).toMatchObject([{ input: '0.30', output: '0.90' }]);
  expect(of('openai/gpt-4o')).toMatchObject([{ input: '5.00', output: '20.00' }]);
  expect(of('openai/gpt-4o', '--plan', 'pro')).toMatchObject([{ input: '2.50', output: '10.00' }]);
  expect(of('openai/own')).toMatchObject([{ input: '2.00', output: '4.00', above_input_tokens: 0 }]);
});

it('says where the configuration differs from the catalogue', () => {
  const rows = prices('diff', '--plan', 'pro').data;
  expect(rows).toContainEqual({
    model: 'openai/gpt-4o-mini',
    price: 'input',
    catalogue: '0.15',
    configured: '0.30',
  });
  expect(rows).toContainEqual({ model: 'openai/own', price: 'input', catalogue: null, configured: '1.00' });
  expect(rows.some((row) => row['model'] === 'openai/gpt-4o')).toBe(false);
});

it('names the catalogue by the version of its package', () => {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
  expect(CATALOGUE_VERSION).toBe(version);
  expect(prices('list').version).toMatch(new RegExp(`^genai-prices@${version}\\+[0-9a-f]{8}$`));
});

it('"faregate check" warns of a price under another name than its model is billed by, and of no other', () => {
  const config = {
    prices: {
      'anthropic/claude-sonnet-4-5': { input: 1, output: 2 },
      'anthropic/claude-opus-4.5': { input: 1, output: 2 },
      'openai/gpt-4o-mini-2024-07-18': { input: 1, output: 2 },
      'openai/gpt-4o-2024-05-13': { input: 1, output: 2 },
    },
  };
  writeFileSync(join(folder, 'named.yaml'), JSON.stringify(config));
  const env = { PATH: process.env['PATH'] ?? '', OPENAI_API_KEY: 'sk-x', ANTHROPIC_API_KEY: 'sk-y' };
  const ran = spawnSync(process.execPath, [BIN, 'check', 'named.yaml', '--json'], { cwd: folder, env });
  const { warnings } = JSON.parse(String(ran.stdout)) as { warnings: { path: string; message: string }[] };
  const ofPrices = warnings.filter(({ path }) => path.startsWith('prices'));
  expect(ofPrices.map(({ path }) => path)).toEqual([
    'prices["anthropic/claude-sonnet-4-5"]',
    'prices["openai/gpt-4o-mini-2024-07-18"]',
  ]);
  expect(ofPrices[0]?.message).toContain('is billed as anthropic/claude-sonnet-4.5: write that name');
});
