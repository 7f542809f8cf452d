/** The one table of providers, by the `type` of the configuration: the dialects' own, and what differs from them in data. */
import { anthropic } from './anthropic.ts';
import { createGoogleProvider, google } from './google.ts';
import { openai } from './openai.ts';
import { openaiCompatible } from './openai-compatible.ts';
import { createOpenaiProvider } from './openai-dialect.ts';
import { type Preset, PRESETS } from './presets.ts';
import type { Provider } from './provider.ts';

const fromPreset = ([type, preset]: readonly [string, Preset]): Provider =>
  preset.dialect === 'google'
    ? createGoogleProvider(type, { modelsPath: 'publishers/google/models', endpoints: preset.endpoints })
    : createOpenaiProvider(type, preset);

export const PROVIDERS: ReadonlyMap<string, Provider> = new Map(
  [openai, openaiCompatible, anthropic, google, ...Object.entries(PRESETS).map(fromPreset)].map(
    (provider) => [provider.type, provider],
  ),
);
