import { expect, it } from 'vitest';
import { type Config, type Problem, parseConfig } from '../../src/config.ts';

const valid = (text: string, env: Record<string, string> = {}): Config => {
  const parsed = parseConfig(text, { env });
  if (parsed.kind === 'invalid') throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
};

const problems = (text: string, env: Record<string, string> = {}): readonly Problem[] => {
  const parsed = parseConfig(text, { env });
  return parsed.kind === 'invalid' ? parsed.problems : [];
};

it('variables in the configuration file are put in with default, message and escape', () => {
  const file = 'budget: { alerts: { notify_only: ["${A}", "${B:-b}", "x-${A:?need}-y", "$${A}"] } }';
  expect(valid(file, { A: '1' }).budget.alerts.notifyOnly).toEqual(['1', 'b', 'x-1-y', '${A}']);
});

it('variables in the configuration file mean a number where a number was written without quotes', () => {
  expect(valid('limits:\n  rpm: ${RPM}', { RPM: '60' }).limits.rpm).toBe(60);
});

it('variables in the configuration file turn a provider off when its key is unset', () => {
  const [provider] = valid('providers: { openai: { api_key: "${NOPE}" } }').providers;
  expect(provider?.apiKey).toEqual({ kind: 'unset', variable: 'NOPE' });
});

it('variables in the configuration file are a problem when unset anywhere else, or when their message asks for them', () => {
  expect(problems('billing:\n  event_name: ${NOPE}')).toMatchObject([
    { line: 2, message: expect.stringContaining('NOPE is not set') },
  ]);
  expect(problems('providers: { openai: { api_key: "${K:?see the vault}" } }')[0]?.message).toBe(
    'K is not set: see the vault',
  );
  expect(problems('billing: { event_name: "${9}" }')[0]?.message).toContain('${NAME:-default}');
});

it('variables in the configuration file never show what was put in', () => {
  const found = problems('budget: { mode: "${M}" }\nproviders: { x: { type: openai, base_url: "${U}" } }', {
    M: 'hush-1',
    U: 'http://u:hush-2@h',
  });
  expect(found).toHaveLength(2);
  expect(JSON.stringify(found)).not.toContain('hush');
});
