/** The one table of providers, by the `type` of the configuration. */
import { anthropic } from './anthropic.ts';
import { google } from './google.ts';
import { openai } from './openai.ts';
import { openaiCompatible } from './openai-compatible.ts';
import type { Provider } from './provider.ts';

export const PROVIDERS: ReadonlyMap<string, Provider> = new Map(
  [openai, openaiCompatible, anthropic, google].map((provider) => [provider.type, provider]),
);
