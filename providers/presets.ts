/**
 * Vendors that differ from a dialect in data only: one entry each, and one line in test/providers/presets.test.ts. The
 * name is the configuration's `type`, and is understood from a provider's own name. docs/providers.md lists them.
 */
import type { Endpoint } from './provider.ts';

export interface Preset {
  readonly dialect: 'openai' | 'google';
  /** No trailing slash; null where the operator must say: an account, a region or a machine of his own. */
  readonly baseUrl: string | null;
  /** What such an address looks like. */
  readonly example: string;
  /** The variable a key is read from when the configuration has none; null where none is needed. */
  readonly keyVariable: string | null;
  readonly keyHeader?: 'api-key';
  /** False where a stream tells its usage unasked, and the vendor refuses fields that it does not know. */
  readonly asksUsage: boolean;
  readonly endpoints: readonly Endpoint[];
  /** The price catalogue's name of the vendor; null where nobody is paid by the token. */
  readonly catalogue: string | null;
}

const responses = ['responses', 'responses.compact', 'responses.input_tokens'] as const;
const images = ['images.generations', 'images.edits'] as const;
const transcripts = ['audio.transcriptions', 'audio.translations'] as const;
const openai = { dialect: 'openai', asksUsage: true } as const;
const at = (baseUrl: string): { readonly baseUrl: string; readonly example: string } => ({
  baseUrl,
  example: baseUrl,
});
const own = (example: string): { readonly baseUrl: null; readonly example: string } => ({
  baseUrl: null,
  example,
});

export const PRESETS = {
  azure: {
    ...openai,
    ...own('https://NAME.openai.azure.com/openai/v1'),
    keyVariable: 'AZURE_OPENAI_API_KEY',
    keyHeader: 'api-key',
    endpoints: [
      'chat.completions',
      'completions',
      'embeddings',
      ...responses,
      ...images,
      'audio.speech',
      ...transcripts,
    ],
    catalogue: 'azure',
  },
  /** The express mode: Gemini's models by an API key. */
  vertex: {
    dialect: 'google',
    ...at('https://aiplatform.googleapis.com'),
    keyVariable: 'VERTEX_API_KEY',
    asksUsage: true,
    endpoints: ['generateContent', 'streamGenerateContent', 'countTokens'],
    catalogue: 'google',
  },
  /** The endpoint that speaks OpenAI's dialect, by a Bedrock API key. */
  bedrock: {
    ...openai,
    ...own('https://bedrock-runtime.REGION.amazonaws.com/openai/v1'),
    keyVariable: 'AWS_BEARER_TOKEN_BEDROCK',
    endpoints: ['chat.completions', ...responses],
    catalogue: 'aws',
  },
  groq: {
    ...openai,
    ...at('https://api.groq.com/openai/v1'),
    keyVariable: 'GROQ_API_KEY',
    endpoints: ['chat.completions', 'responses', 'audio.speech', ...transcripts],
    catalogue: 'groq',
  },
  mistral: {
    ...openai,
    ...at('https://api.mistral.ai/v1'),
    keyVariable: 'MISTRAL_API_KEY',
    asksUsage: false,
    endpoints: ['chat.completions', 'embeddings', 'moderations', 'audio.transcriptions'],
    catalogue: 'mistral',
  },
  deepseek: {
    ...openai,
    ...at('https://api.deepseek.com/v1'),
    keyVariable: 'DEEPSEEK_API_KEY',
    endpoints: ['chat.completions'],
    catalogue: 'deepseek',
  },
  xai: {
    ...openai,
    ...at('https://api.x.ai/v1'),
    keyVariable: 'XAI_API_KEY',
    endpoints: ['chat.completions', 'completions', 'embeddings', 'responses', ...images],
    catalogue: 'x-ai',
  },
  openrouter: {
    ...openai,
    ...at('https://openrouter.ai/api/v1'),
    keyVariable: 'OPENROUTER_API_KEY',
    endpoints: ['chat.completions', 'completions', 'embeddings', 'responses', 'audio.transcriptions'],
    catalogue: 'openrouter',
  },
  together: {
    ...openai,
    ...at('https://api.together.xyz/v1'),
    keyVariable: 'TOGETHER_API_KEY',
    endpoints: [
      'chat.completions',
      'completions',
      'embeddings',
      'images.generations',
      'audio.speech',
      ...transcripts,
    ],
    catalogue: 'together',
  },
  fireworks: {
    ...openai,
    ...at('https://api.fireworks.ai/inference/v1'),
    keyVariable: 'FIREWORKS_API_KEY',
    endpoints: ['chat.completions', 'completions', 'embeddings', 'responses'],
    catalogue: 'fireworks',
  },
  cohere: {
    ...openai,
    ...at('https://api.cohere.ai/compatibility/v1'),
    keyVariable: 'COHERE_API_KEY',
    endpoints: ['chat.completions', 'embeddings'],
    catalogue: 'cohere',
  },
  perplexity: {
    ...openai,
    ...at('https://api.perplexity.ai'),
    keyVariable: 'PERPLEXITY_API_KEY',
    asksUsage: false,
    endpoints: ['chat.completions'],
    catalogue: 'perplexity',
  },
  cerebras: {
    ...openai,
    ...at('https://api.cerebras.ai/v1'),
    keyVariable: 'CEREBRAS_API_KEY',
    endpoints: ['chat.completions', 'completions'],
    catalogue: 'cerebras',
  },
  ollama: {
    ...openai,
    ...at('http://127.0.0.1:11434/v1'),
    keyVariable: null,
    endpoints: ['chat.completions', 'completions', 'embeddings', 'responses'],
    catalogue: null,
  },
  vllm: {
    ...openai,
    ...own('http://127.0.0.1:8000/v1'),
    keyVariable: null,
    endpoints: ['chat.completions', 'completions', 'embeddings', 'responses', ...transcripts],
    catalogue: null,
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as [PresetName, ...PresetName[]];

/** The preset of a type; undefined for a type that is none. */
export const presetOf = (type: string): Preset | undefined =>
  Object.hasOwn(PRESETS, type) ? PRESETS[type as PresetName] : undefined;
