import { expect, it } from 'vitest';
import { parseEnvironment } from '../../src/config.ts';

const files = (contents: Record<string, string>) => (path: string) => contents[path];

const path = (url: string) => parseEnvironment({ DATABASE_URL: url }, files({}));

it('the environment has the documented defaults', () => {
  expect(parseEnvironment({}, files({}))).toMatchObject({
    kind: 'ok',
    environment: {
      host: '127.0.0.1',
      port: 8402,
      database: { kind: 'sqlite', path: './.faregate/faregate.db' },
    },
  });
});

it('the environment reads each variable from the file its _FILE variant names', () => {
  const parsed = parseEnvironment(
    { STRIPE_SECRET_KEY_FILE: '/run/stripe', PORT_FILE: '/run/port' },
    files({ '/run/stripe': 'rk_test_1\n', '/run/port': '9000\n' }),
  );
  expect(parsed).toMatchObject({
    kind: 'ok',
    environment: { port: 9000, stripe: { secretKey: 'rk_test_1' } },
  });
});

it('the environment says every problem at once and no value of a secret', () => {
  const parsed = parseEnvironment(
    {
      PORT: '70000',
      FAREGATE_SERVICE_KEY: 'hush',
      DATABASE_URL: 'mysql://u:hush@h/d',
      OPENAI_BASE_URL: 'https://u:hush@h',
      ANTHROPIC_BASE_URL: 'https://h/?key=hush',
      GEMINI_BASE_URL: 'ftp://hush',
      STRIPE_SECRET_KEY: 'pk_test_hush',
      STRIPE_WEBHOOK_SECRET: 'whsec_hush',
      STRIPE_WEBHOOK_SECRET_FILE: '/none',
    },
    files({}),
  );
  const found = parsed.kind === 'invalid' ? parsed.problems : [];
  expect(found.map((problem) => problem.path).sort()).toEqual([
    'ANTHROPIC_BASE_URL',
    'DATABASE_URL',
    'FAREGATE_SERVICE_KEY',
    'GEMINI_BASE_URL',
    'OPENAI_BASE_URL',
    'PORT',
    'STRIPE_SECRET_KEY',
    'STRIPE_WEBHOOK_SECRET',
    'STRIPE_WEBHOOK_SECRET_FILE',
  ]);
  expect(JSON.stringify(found)).not.toContain('hush');
});

it('the environment refuses a service key that no caller could be let in with', () => {
  const parsed = parseEnvironment({ FAREGATE_SERVICE_KEY: `${'k'.repeat(32)},${'k'.repeat(32)}` }, files({}));
  expect(parsed).toMatchObject({
    kind: 'invalid',
    problems: [{ path: 'FAREGATE_SERVICE_KEY', message: 'must hold no comma' }],
  });
});

const said = (env: Record<string, string>): string => {
  const parsed = parseEnvironment(env, files({}));
  return JSON.stringify(parsed.kind === 'invalid' ? parsed.problems : []);
};

it('the environment says a number that is no port, and no text that may be a secret in the wrong place', () => {
  expect(said({ PORT: '99999' })).toContain(String.raw`not \"99999\"`);
  for (const env of [
    { PORT: 'sk_live_hush' },
    { HOST: 'sk_live_hush/' },
    { STRIPE_SECRET_KEY_FILE: 'sk_live_hush' },
    { DATABASE_URL: 'sk_live_hush' },
    { STRIPE_API_BASE: 'sk_live_hush' },
  ]) {
    expect(said(env), Object.keys(env)[0]).toContain('must');
    expect(said(env), Object.keys(env)[0]).not.toContain('hush');
  }
});

it('the environment drops the slash at the end of a base URL', () => {
  const parsed = parseEnvironment({ OPENAI_BASE_URL: 'http://127.0.0.1:9/v1/' }, files({}));
  expect(parsed).toMatchObject({
    environment: { vendors: { openai: { baseUrl: 'http://127.0.0.1:9/v1' } } },
  });
});

it('the environment takes database paths relative and absolute', () => {
  for (const [url, file] of [
    ['sqlite:./a.db', './a.db'],
    ['sqlite:/a.db', '/a.db'],
    ['sqlite:///a.db', '/a.db'],
  ] as const) {
    expect(path(url)).toMatchObject({ environment: { database: { kind: 'sqlite', path: file } } });
  }
  expect(path('sqlite::memory:').kind).toBe('invalid');
  expect(path('postgres://h/d')).toMatchObject({ environment: { database: { kind: 'postgres' } } });
});

it('the environment warns of a misspelt variable', () => {
  const parsed = parseEnvironment({ FAREGATE_SERVICE_KY: 'x' }, files({}));
  expect(parsed).toMatchObject({
    warnings: [{ message: expect.stringContaining('did you mean "FAREGATE_SERVICE_KEY"') }],
  });
});
