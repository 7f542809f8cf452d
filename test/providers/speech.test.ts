import { expect, it } from 'vitest';
import { speechBody } from '../../providers/openai-media/speech.ts';

it('bills sound in JSON by the characters that were to be read, and an error by nothing', () => {
  const body = speechBody(5);
  expect(body.meter({ audio: 'AAAA' })).toMatchObject({
    kind: 'final',
    lines: [{ units: { characters: 5 } }],
  });
  for (const error of [{ code: 'overloaded' }, 'Busy'])
    expect(body.meter({ error })).toMatchObject({ kind: 'none', lines: [], failed: true });
});
