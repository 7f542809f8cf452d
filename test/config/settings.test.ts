import { expect, it } from 'vitest';
import { settingsFor } from '../../src/config.ts';

const files = (contents: Record<string, string>) => (path: string) => contents[path];

const settings = (purpose: 'start' | 'dev' | 'read', env: Record<string, string>, file?: string) => {
  const result = settingsFor(purpose, {
    env,
    readFile: files(file === undefined ? {} : { './faregate.yaml': file }),
  });
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
  return result;
};
const failures = (purpose: 'start' | 'dev', env: Record<string, string>, file?: string) => {
  const result = settingsFor(purpose, {
    env,
    readFile: files(file === undefined ? {} : { './faregate.yaml': file }),
  });
  return result.kind === 'invalid' ? result.problems.map(({ path }) => path) : [];
};

it('the settings turn vendors on by the environment alone', () => {
  const { settings: made } = settings('start', {
    STRIPE_SECRET_KEY: 'rk_test_1',
    OPENAI_API_KEY: 'k1',
    GOOGLE_API_KEY: 'k2',
    OPENAI_BASE_URL: 'http://h:1/v1',
  });
  const timeouts = { connectMs: 10_000, firstByteMs: 600_000, idleMs: 300_000, totalMs: 3_600_000 };
  expect(made.upstreams).toEqual([
    {
      name: 'openai',
      type: 'openai',
      baseUrl: 'http://h:1/v1',
      apiKey: 'k1',
      asksUsage: true,
      endpoints: undefined,
      timeouts,
    },
    {
      name: 'google',
      type: 'google',
      baseUrl: 'https://generativelanguage.googleapis.com',
      apiKey: 'k2',
      asksUsage: true,
      endpoints: undefined,
      timeouts,
    },
  ]);
});

it('the settings take the file before the environment, and switch by provider', () => {
  const file =
    'providers:\n  openai: { base_url: http://file/v1, include_usage: false, endpoints: [chat.completions] }\n  local: { type: openai-compatible, base_url: http://l }';
  const { settings: made } = settings('read', { OPENAI_API_KEY: 'k', OPENAI_BASE_URL: 'http://env' }, file);
  expect(made.upstreams).toMatchObject([
    {
      name: 'openai',
      baseUrl: 'http://file/v1',
      apiKey: 'k',
      asksUsage: false,
      endpoints: ['chat.completions'],
    },
    { name: 'local', apiKey: null },
  ]);
});

it("the settings read a provider's key from the file that its variable's _FILE names", () => {
  const result = settingsFor('read', {
    env: { GROQ_API_KEY_FILE: '/run/groq', FAREGATE_CONFIG: '/c.yaml' },
    readFile: files({
      '/run/groq': 'g\n',
      '/c.yaml':
        'providers: { groq: { type: openai-compatible, base_url: http://g, api_key: "${GROQ_API_KEY}" } }',
    }),
  });
  expect(result).toMatchObject({
    kind: 'ok',
    settings: { configPath: '/c.yaml', upstreams: [{ apiKey: 'g' }] },
  });
});

it('the settings refuse to start without Stripe and without a provider, beside what is wrong in environment and file', () => {
  expect(failures('start', {})).toEqual(['STRIPE_SECRET_KEY', 'providers']);
  expect(failures('start', { PORT: 'x' }, 'limts: {}')).toEqual(['PORT', 'limts', 'STRIPE_SECRET_KEY']);
  expect(failures('start', { FAREGATE_CONFIG: './gone.yaml' })).toContain('FAREGATE_CONFIG');
});

it('the settings warn at start that without a webhook secret no webhook is believed', () => {
  const { warnings } = settings('start', { STRIPE_SECRET_KEY: 'sk_test_1', OPENAI_API_KEY: 'k' });
  expect(warnings.map(({ path }) => path)).toEqual(['STRIPE_WEBHOOK_SECRET']);
});

it('the settings keep live keys of Stripe out of the sandbox', () => {
  expect(failures('dev', { STRIPE_SECRET_KEY: 'sk_live_1' })).toEqual(['STRIPE_SECRET_KEY']);
  expect(failures('dev', { STRIPE_SECRET_KEY: 'rk_live_1' })).toEqual(['STRIPE_SECRET_KEY']);
  expect(failures('dev', {})).toEqual([]);
});

it('the settings leave targets of providers that are off out of an alias, and say so', () => {
  const result = settings(
    'read',
    { OPENAI_API_KEY: 'k' },
    'models: { smart: [anthropic/a, openai/b], gone: google/c }',
  );
  expect([...result.settings.aliases]).toEqual([['smart', ['openai/b']]]);
  expect(result.warnings.map(({ path }) => path)).toEqual(['models.smart', 'models.gone']);
});

it("the settings give a provider its own timeouts, and the file's where it has none", () => {
  const file =
    'timeouts: { idle: 1m }\nproviders: { a: { type: openai-compatible, base_url: http://a, timeouts: { total: 20s } } }';
  const { settings: made } = settings('read', {}, file);
  expect(made.upstreams[0]?.timeouts).toEqual({
    connectMs: 10_000,
    firstByteMs: 600_000,
    idleMs: 60_000,
    totalMs: 20_000,
  });
});

it('the settings refuse a timeout of nothing, and more retries than make sense', () => {
  const file = 'timeouts: { idle: 0s }\nretries: { max: 9 }';
  expect(failures('start', { STRIPE_SECRET_KEY: 'rk_test_1', OPENAI_API_KEY: 'k' }, file)).toEqual([
    'timeouts.idle',
    'retries.max',
  ]);
});
