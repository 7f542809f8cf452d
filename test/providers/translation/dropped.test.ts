/** Values that asked for something and were once left out without a word. */
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../providers/provider.ts';
import { Untranslatable } from '../../../providers/translation/conversation.ts';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import { callOf } from '../../support/conversations.ts';

type Body = Readonly<Record<string, unknown>>;

const CONTENTS = [{ role: 'user', parts: [{ text: 'Where?' }] }];
const LEAST: Readonly<Record<string, Body>> = {
  'chat.completions': { messages: [{ role: 'user', content: 'Where?' }] },
  responses: { input: 'Where?' },
  messages: { max_tokens: 2000, messages: [{ role: 'user', content: 'Where?' }] },
  generateContent: { contents: CONTENTS },
};

function translate(from: Endpoint, to: Endpoint, more: Body): Body {
  const conversation = ASKING.get(from)!.read(callOf(from, { ...LEAST[from], ...more }));
  return JSON.parse(JSON.stringify(ASKED.get(to)!.write(conversation, 'a-model'))) as Body;
}

function refusedParam(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof Untranslatable) return error.param;
    throw error;
  }
  return undefined;
}

const chat = 'chat.completions';
const gemini = 'generateContent';
const allowing = (mode: string) => ({
  tools: [{ functionDeclarations: [{ name: 'look' }, { name: 'pay' }] }],
  toolConfig: { functionCallingConfig: { mode, allowedFunctionNames: ['look'] } },
});

describe('a value that cannot be carried over is refused by name', () => {
  it.each<readonly [Endpoint, Endpoint, Body, string]>([
    [chat, 'messages', { tool_choice: 'required' }, 'tool_choice'],
    [chat, gemini, { tool_choice: { type: 'function', function: { name: 'look' } } }, 'tool_choice'],
    ['messages', 'responses', { tool_choice: { type: 'any' } }, 'tool_choice'],
    [gemini, chat, { toolConfig: { functionCallingConfig: { mode: 'ANY' } } }, 'toolConfig'],
    [gemini, 'messages', { contents: [], systemInstruction: { parts: [{ text: 'Be brief.' }] } }, 'contents'],
    ['responses', gemini, { input: [], instructions: 'Be brief.' }, 'input'],
    [chat, gemini, { top_logprobs: 3 }, 'top_logprobs'],
    [gemini, chat, { generationConfig: { logprobs: 3 } }, 'generationConfig.logprobs'],
    [
      gemini,
      'messages',
      { generationConfig: { thinkingConfig: { thinkingLevel: 'EXTREME' } } },
      'generationConfig.thinkingConfig.thinkingLevel',
    ],
    [
      gemini,
      'messages',
      { generationConfig: { responseSchema: { type: 'OBJECT' } } },
      'generationConfig.responseSchema',
    ],
    [gemini, chat, allowing('AUTO'), 'toolConfig.functionCallingConfig.allowedFunctionNames'],
    [gemini, chat, allowing('VALIDATED'), 'toolConfig.functionCallingConfig.allowedFunctionNames'],
  ])('%s to %s: %j', (from, to, more, param) => {
    expect(refusedParam(() => translate(from, to, more))).toBe(param);
  });

  it.each<readonly [Endpoint, Endpoint, Body]>([
    [chat, 'messages', { tool_choice: 'none', parallel_tool_calls: false, top_logprobs: 0 }],
    [
      gemini,
      'messages',
      { generationConfig: { thinkingConfig: { thinkingLevel: 'thinking_level_unspecified' } } },
    ],
  ])('but for what asks for nothing: %s to %s: %j', (from, to, more) => {
    expect(translate(from, to, more)).toEqual(translate(from, to, {}));
  });
});

describe('what is carried over', () => {
  it('is that a value may be null, also of a choice and of several types', () => {
    const schema = {
      type: 'OBJECT',
      properties: {
        side: { type: 'STRING', enum: ['left', 'right'], nullable: true },
        zone: { anyOf: [{ type: 'STRING' }, { type: 'INTEGER' }], nullable: true },
      },
    };
    const generationConfig = { responseMimeType: 'application/json', responseSchema: schema };
    expect(translate(gemini, chat, { generationConfig })['response_format']).toMatchObject({
      json_schema: {
        schema: {
          properties: {
            side: { type: ['string', 'null'], enum: ['left', 'right', null] },
            zone: { anyOf: [{ type: 'string' }, { type: 'integer' }, { type: 'null' }] },
          },
        },
      },
    });
  });

  it('is the title of a document that stands in blocks', () => {
    const document = {
      type: 'document',
      title: 'Fares',
      source: { type: 'content', content: 'Zone 2: 240.' },
    };
    const written = translate('messages', chat, { messages: [{ role: 'user', content: [document] }] });
    expect(written['messages']).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Fares' },
          { type: 'text', text: 'Zone 2: 240.' },
        ],
      },
    ]);
  });

  it('are arguments that the model did not write to their end, or not as an object', () => {
    for (const text of ['{"a":', '[1]']) {
      const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: text } };
      const messages = [
        { role: 'user', content: 'Where?' },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'call_1', content: 'These arguments are no JSON.' },
      ];
      const input = { INVALID_JSON: text };
      expect(translate(chat, 'messages', { messages })['messages']).toMatchObject([
        {},
        { content: [{ type: 'tool_use', name: 'look', input }] },
        {},
      ]);
      expect(translate(chat, gemini, { messages })['contents']).toMatchObject([
        {},
        { parts: [{ functionCall: { name: 'look', args: input } }] },
        {},
      ]);
    }
  });

  it('is sound that a caller marks as to be cached', () => {
    const input_audio = { data: 'AAAA', format: 'wav' };
    const sound = { type: 'input_audio', input_audio, prompt_cache_breakpoint: { mode: 'explicit' } };
    expect(translate(chat, gemini, { messages: [{ role: 'user', content: [sound] }] })['contents']).toEqual([
      { role: 'user', parts: [{ inlineData: { mimeType: 'audio/wav', data: 'AAAA' } }] },
    ]);
  });

  it('is a picture by the one name that every vendor knows its type by', () => {
    const url = 'data:image/jpg;base64,AAAA';
    const asked = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
    const shown = [{ role: 'user', parts: [{ inlineData: { mimeType: 'image/jpg', data: 'AAAA' } }] }];
    for (const written of [
      translate(chat, 'messages', { messages: asked }),
      translate(gemini, 'messages', { contents: shown }),
    ])
      expect(written['messages']).toMatchObject([{ content: [{ source: { media_type: 'image/jpeg' } }] }]);
  });

  it('is a tool whose parameters are any object, with the words that other vendors want for it', () => {
    const none = { type: 'object', properties: {} };
    const asked = [{ type: 'function', function: { name: 'look', parameters: {} } }];
    const written = translate(chat, 'messages', { tools: asked });
    expect(written['tools']).toEqual([{ name: 'look', input_schema: none }]);
    const tools = [{ name: 'look', input_schema: { type: 'object' } }];
    for (const to of [chat, 'responses'] as const)
      expect(JSON.stringify(translate('messages', to, { tools })['tools'])).toContain(
        `"parameters":${JSON.stringify(none)}`,
      );
  });

  it('is one object where a list of it is meant, and a call whose id is empty as one without', () => {
    const called = { role: 'model', parts: { functionCall: { id: '', name: 'look' } } };
    const answered = { role: 'user', parts: { functionResponse: { id: '', name: 'look', response: {} } } };
    const system = { systemInstruction: { parts: { text: 'Be brief.' } } };
    const written = translate(gemini, 'messages', { ...system, contents: [...CONTENTS, called, answered] });
    expect(written['system']).toEqual([{ type: 'text', text: 'Be brief.' }]);
    expect(written['messages']).toMatchObject([
      { content: [{ text: 'Where?' }] },
      { content: [{ type: 'tool_use', id: 'call_1', name: 'look' }] },
      { content: [{ type: 'tool_result', tool_use_id: 'call_1' }] },
    ]);
  });
});
