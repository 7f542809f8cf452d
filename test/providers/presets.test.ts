/** Vendors that are data: one line each says where a call goes, with which key, and what is asked in a stream. */
import { describe, expect, it } from 'vitest';
import { settingsFor } from '../../src/config.ts';
import { ENDPOINTS } from '../../src/gateway/endpoints.ts';
import { PROVIDERS } from '../../providers/index.ts';
import { PRESET_NAMES, presetOf } from '../../providers/presets.ts';
import type { Endpoint } from '../../providers/provider.ts';
import { chatCall } from '../support/chat.ts';

type Line = readonly [type: string, endpoint: Endpoint, url: string, header: string, asks: boolean];
const BEARER = 'authorization';

const LINES: readonly Line[] = [
  ['azure', 'chat.completions', 'https://acme.example/v1/chat/completions', 'api-key', true],
  [
    'vertex',
    'generateContent',
    'https://aiplatform.googleapis.com/v1/publishers/google/models/m:generateContent',
    'x-goog-api-key',
    false,
  ],
  ['bedrock', 'chat.completions', 'https://acme.example/v1/chat/completions', BEARER, true],
  ['groq', 'chat.completions', 'https://api.groq.com/openai/v1/chat/completions', BEARER, true],
  ['mistral', 'chat.completions', 'https://api.mistral.ai/v1/chat/completions', BEARER, false],
  ['deepseek', 'chat.completions', 'https://api.deepseek.com/v1/chat/completions', BEARER, true],
  ['xai', 'responses', 'https://api.x.ai/v1/responses', BEARER, false],
  ['openrouter', 'chat.completions', 'https://openrouter.ai/api/v1/chat/completions', BEARER, true],
  ['together', 'images.generations', 'https://api.together.xyz/v1/images/generations', BEARER, false],
  ['fireworks', 'embeddings', 'https://api.fireworks.ai/inference/v1/embeddings', BEARER, false],
  ['cohere', 'chat.completions', 'https://api.cohere.ai/compatibility/v1/chat/completions', BEARER, true],
  ['perplexity', 'chat.completions', 'https://api.perplexity.ai/chat/completions', BEARER, false],
  ['cerebras', 'chat.completions', 'https://api.cerebras.ai/v1/chat/completions', BEARER, true],
  ['ollama', 'chat.completions', 'http://127.0.0.1:11434/v1/chat/completions', BEARER, true],
  ['vllm', 'chat.completions', 'https://acme.example/v1/chat/completions', BEARER, true],
];

const OWN_URL = 'https://acme.example/v1';

/** The upstream that a configuration of nothing but the type makes, its key from the vendor's own variable. */
function upstreamOf(type: string, entry: object = {}, env: Readonly<Record<string, string>> = {}) {
  const preset = presetOf(type);
  const given = { type, ...(preset?.baseUrl === null ? { base_url: OWN_URL } : {}), ...entry };
  const result = settingsFor('read', {
    env: { ...(preset?.keyVariable == null ? {} : { [preset.keyVariable]: 'sk-vendor' }), ...env },
    readFile: () => JSON.stringify({ providers: { acme: given } }),
  });
  if (result.kind !== 'ok') throw new Error(JSON.stringify(result.problems));
  return {
    upstream: result.settings.upstreams.find(({ name }) => name === 'acme'),
    warnings: result.warnings,
  };
}

describe('presets', () => {
  it('have a line each', () => {
    expect(LINES.map(([type]) => type)).toEqual(PRESET_NAMES);
  });

  it.each(LINES)('%s serves %s', (...[type, endpoint, url, header, asks]) => {
    const { upstream } = upstreamOf(
      type,
      presetOf(type)?.keyVariable === null ? { api_key: 'sk-vendor' } : {},
    );
    const provider = PROVIDERS.get(type);
    if (upstream === undefined || provider === undefined) throw new Error(`${type} is off`);
    const call = { ...chatCall({ model: 'm', stream: true }, 'm'), endpoint };
    const { request, addedUsageOption } = provider.prepare(call, upstream);
    expect(request.url).toBe(url);
    expect(request.headers[header]).toBe(header === BEARER ? 'Bearer sk-vendor' : 'sk-vendor');
    expect(addedUsageOption).toBe(asks);
    expect(provider.endpoints).toContain(endpoint);
    for (const served of provider.endpoints) expect(Object.keys(ENDPOINTS)).toContain(served);
  });

  it('are understood from the name of a provider', () => {
    const result = settingsFor('read', {
      env: { GROQ_API_KEY: 'gsk' },
      readFile: () => 'providers: { groq: {}, ollama: {} }',
    });
    expect(result.kind === 'ok' && result.settings.upstreams).toMatchObject([
      { name: 'groq', type: 'groq', baseUrl: 'https://api.groq.com/openai/v1', apiKey: 'gsk' },
      { name: 'ollama', type: 'ollama', baseUrl: 'http://127.0.0.1:11434/v1', apiKey: null },
    ]);
  });

  it("take the file's key and address before the vendor's own", () => {
    const { upstream } = upstreamOf('groq', { api_key: 'mine', base_url: 'https://proxy.example/v1' });
    expect(upstream).toMatchObject({ apiKey: 'mine', baseUrl: 'https://proxy.example/v1' });
  });

  it('are off without a key, and say which variable is missing', () => {
    const { upstream, warnings } = upstreamOf('groq', {}, { GROQ_API_KEY: '' });
    expect(upstream).toBeUndefined();
    expect(warnings.map(({ message }) => message)).toContain(
      'is off: it has no api_key, and GROQ_API_KEY is not set',
    );
  });

  it('ask for an address where only the operator knows it', () => {
    const result = settingsFor('read', { env: {}, readFile: () => 'providers: { azure: { api_key: x } }' });
    expect(result.kind === 'invalid' && result.problems[0]?.message).toBe(
      'needs a base_url, such as https://NAME.openai.azure.com/openai/v1',
    );
  });
});
