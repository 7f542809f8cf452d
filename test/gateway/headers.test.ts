/** Which of a caller's headers a provider may see. */
import { expect, it } from 'vitest';
import { readRequestHeaders } from '../../src/gateway/headers.ts';

it.each(['x-goog-fieldmask', 'x-http-method-override', 'x-goog-user-project', 'openai-organization'])(
  'keeps %s, which would change what is counted or whom it is counted for',
  (name) => {
    const { forwarded } = readRequestHeaders(['x-goog-api-client', 'genai-js/1', name, 'candidates']);
    expect(forwarded).toEqual({ 'x-goog-api-client': 'genai-js/1' });
  },
);
