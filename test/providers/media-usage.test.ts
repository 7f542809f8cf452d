import { expect, it } from 'vitest';
import { mediaTokens } from '../../providers/openai-media/usage.ts';

it("a transcript's audio is read by the total where Mistral tells it in seconds alone", () => {
  const usage = { prompt_audio_seconds: 203, prompt_tokens: 4, completion_tokens: 635, total_tokens: 3264 };
  expect(mediaTokens(usage, 'text')).toMatchObject({
    kind: 'counts',
    counts: { uncachedInput: 4, audioInput: 2625, textOutput: 635 },
  });
});
