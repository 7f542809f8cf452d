/** Which of a caller's headers a provider may see. */
import { expect, it } from 'vitest';
import { readRequestHeaders } from '../../src/gateway/headers.ts';

it.each([
  'x-goog-fieldmask',
  'x-http-method-override',
  'x-goog-user-project',
  'openai-organization',
  'anthropic-workspace-id',
  'anthropic-organization-id',
])('keeps %s, which would change what is counted or whom it is counted for', (name) => {
  const { forwarded } = readRequestHeaders(['x-goog-api-client', 'genai-js/1', name, 'candidates']);
  expect(forwarded).toEqual({ 'x-goog-api-client': 'genai-js/1' });
});

it('sends on no header that a Connection line names, however many there are', () => {
  const lines = ['connection', 'x-hop', 'x-hop', 'secret', 'x-kept', '1', 'connection', 'keep-alive'];
  expect(readRequestHeaders(lines).forwarded).toEqual({ 'x-kept': '1' });
});

it('takes a header named as a member of every object for what it is', () => {
  expect(readRequestHeaders(['constructor', 'a', 'tostring', 'b']).forwarded).toEqual({
    constructor: 'a',
    tostring: 'b',
  });
});

it('joins repeated encodings, so that none is overlooked', () => {
  const { contentEncoding } = readRequestHeaders([
    'content-encoding',
    'gzip',
    'content-encoding',
    'identity',
  ]);
  expect(contentEncoding).toBe('gzip, identity');
});
