/** Usage in Gemini's words: cached content inside the prompt, thoughts beside the candidates. */
import { inputTokens, outputTokens, type TokenCounts } from '../../../src/usage/usage.ts';

type Json = Readonly<Record<string, unknown>>;

export function geminiUsage(counts: TokenCounts): Json {
  const input = inputTokens(counts);
  const shown = outputTokens(counts) - counts.reasoning;
  return {
    promptTokenCount: input,
    candidatesTokenCount: shown,
    totalTokenCount: input + shown + counts.reasoning,
    ...(counts.cacheRead === 0 ? {} : { cachedContentTokenCount: counts.cacheRead }),
    ...(counts.reasoning === 0 ? {} : { thoughtsTokenCount: counts.reasoning }),
    ...details('promptTokensDetails', input, counts.audioInput, counts.imageInput),
    ...details('candidatesTokensDetails', shown, counts.audioOutput, counts.imageOutput),
  };
}

/** Told only where there is more than text. */
function details(name: string, total: number, audio: number, image: number): Json {
  if (audio + image === 0) return {};
  const modalities = [
    { modality: 'TEXT', tokenCount: total - audio - image },
    { modality: 'AUDIO', tokenCount: audio },
    { modality: 'IMAGE', tokenCount: image },
  ];
  return { [name]: modalities.filter(({ tokenCount }) => tokenCount > 0) };
}
