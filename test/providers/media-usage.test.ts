/** Usage of pictures and sound, oddly told: what shows in the reply is charged in the vendor's unit, never nothing. */
import { describe, expect, it } from 'vitest';
import { openaiCompatible } from '../../providers/openai-compatible.ts';
import { mediaTokens } from '../../providers/openai-media/usage.ts';
import type { Endpoint } from '../../providers/provider.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { chatCall, readAll, upstream } from '../support/chat.ts';
import { bytesOf } from '../support/chunks.ts';

function meteredOf(endpoint: Endpoint, reply: object): Metered {
  const call = { ...chatCall({ model: 'm', input: 'Mind the gap.' }), endpoint };
  const head = { status: 200, headers: { 'content-type': 'application/json' } };
  const reader = openaiCompatible.prepare(call, upstream).read(head);
  readAll(reader, [bytesOf(JSON.stringify(reply))]);
  return reader.metered();
}

const ZERO = { input_tokens: 0, output_tokens: 0, total_tokens: 0 };
const WRONG = { input_tokens: 5, output_tokens: '7', total_tokens: 12 };
const REPLIES = [
  ['images.generations', { data: [{ url: 'https://a.example/1' }] }, { images: 1 }],
  ['audio.speech', { audio: 'aGk=' }, { characters: 13 }],
  ['audio.transcriptions', { text: 'Mind the gap.', duration: 2.5 }, { seconds: 3 }],
] as const;

describe.each(REPLIES)('%s', (endpoint, reply, units) => {
  it('is charged in its unit where the tokens are zeros', () => {
    const metered = meteredOf(endpoint, { ...reply, usage: ZERO });
    expect(metered).toMatchObject({ kind: 'final', lines: [{ units }] });
  });

  it('is charged in its unit where the tokens cannot be believed', () => {
    const { lines } = meteredOf(endpoint, { ...reply, usage: WRONG });
    expect(lines).toMatchObject([{ textOutput: 0, units }]);
  });
});

describe('a transcript', () => {
  it('has its duration read where it is written as text', () => {
    const metered = meteredOf('audio.transcriptions', { text: 'Hi', duration: '8.4700003' });
    expect(metered).toMatchObject({ kind: 'final', lines: [{ units: { seconds: 9 } }] });
  });

  it('has its audio read by the total where Mistral tells it in seconds alone', () => {
    const usage = {
      prompt_audio_seconds: 203,
      prompt_tokens: 4,
      completion_tokens: 635,
      total_tokens: 3264,
    };
    expect(mediaTokens(usage, 'text')).toMatchObject({
      kind: 'counts',
      counts: { uncachedInput: 4, audioInput: 2625, textOutput: 635 },
    });
  });
});
