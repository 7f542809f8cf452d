/** What becomes of a request in another dialect: what is written, and what is refused by the caller's own name for it. */
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../providers/provider.ts';
import { Untranslatable } from '../../../providers/translation/conversation.ts';
import { ASKED, ASKING } from '../../../providers/translation/dialects.ts';
import { signedId, wrapProof } from '../../../providers/translation/proofs.ts';
import { callOf } from '../../support/conversations.ts';

type Body = Readonly<Record<string, unknown>>;

const USER = { role: 'user', content: 'Where?' };
/** The least that a caller of each dialect says. */
const LEAST: Readonly<Record<string, Body>> = {
  'chat.completions': { messages: [USER] },
  responses: { input: 'Where?' },
  messages: { max_tokens: 2000, messages: [USER] },
};
const MODELS: Readonly<Record<string, string>> = {
  'chat.completions': 'a-model',
  responses: 'gpt-5.1',
  messages: 'claude-sonnet-5',
  generateContent: 'gemini-3-pro',
};

/** The body that is sent upstream, as JSON has it. */
function translate(from: Endpoint, to: Endpoint, more: Body, model = MODELS[to] ?? ''): Body {
  const conversation = ASKING.get(from)!.read(callOf(from, { ...LEAST[from], ...more }));
  return JSON.parse(JSON.stringify(ASKED.get(to)!.write(conversation, model))) as Body;
}

function refusalOf(work: () => unknown): { param: string; kind: string } | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof Untranslatable) return { param: error.param, kind: error.kind };
    throw error;
  }
  return undefined;
}

const chat = 'chat.completions';
const use = (id: string, json = '') => ({
  id,
  type: 'function',
  function: { name: 'look', arguments: json },
});
const file = (type: string) => ({
  type: 'file',
  file: { filename: 'a', file_data: `data:${type};base64,${btoa('fares')}` },
});
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };

const looked = (id: string) => [
  USER,
  { role: 'assistant', content: null, tool_calls: [use(id, '{"x":1}'), use('b', '{"x":1}')] },
  { role: 'tool', tool_call_id: id, content: '{"seen":true}' },
  { role: 'tool', tool_call_id: 'b', content: 'no' },
];

describe('a member that cannot be carried over is refused by the name the caller gave it', () => {
  it.each<readonly [Endpoint, Endpoint, Body, string]>([
    [chat, 'messages', { logit_bias: { 7: 1 } }, 'logit_bias'],
    [chat, 'messages', { seed: 7 }, 'seed'],
    [chat, 'messages', { n: 2 }, 'n'],
    [chat, 'messages', { logprobs: true }, 'logprobs'],
    [chat, 'messages', { temperature: 1.5 }, 'temperature'],
    [chat, 'messages', { presence_penalty: 1 }, 'presence_penalty'],
    [chat, 'messages', { response_format: { type: 'json_object' } }, 'response_format'],
    [chat, 'messages', { service_tier: 'flex' }, 'service_tier'],
    [chat, 'messages', { store: true }, 'store'],
    [chat, 'messages', { verbosity: 'low' }, 'verbosity'],
    [chat, 'messages', { made_up: 1 }, 'made_up'],
    [chat, 'messages', { messages: [{ ...USER, name: 'Ada' }] }, 'messages[0].name'],
    [chat, 'messages', { messages: [{ role: 'system', content: 'Be brief.' }] }, 'messages'],
    [chat, 'messages', { tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'tools[0].type'],
    [chat, 'generateContent', { parallel_tool_calls: false }, 'parallel_tool_calls'],
    [chat, 'generateContent', { reasoning_effort: 'none' }, 'reasoning_effort'],
    [chat, 'generateContent', { modalities: ['text', 'audio'] }, 'modalities'],
    [
      chat,
      'messages',
      { messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file_1' } }] }] },
      'messages[0].content[0].file.file_id',
    ],
    [
      chat,
      'messages',
      {
        messages: [
          { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }] },
        ],
      },
      'messages[0].content[0].input_audio',
    ],
    [
      chat,
      'generateContent',
      {
        messages: [
          { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x.test/a' } }] },
        ],
      },
      'messages[0].content[0].image_url.url',
    ],
    ['responses', 'messages', { previous_response_id: 'resp_1' }, 'previous_response_id'],
    ['responses', 'messages', { tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    ['responses', 'messages', { truncation: 'auto' }, 'truncation'],
    ['responses', chat, { input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type'],
    ['responses', 'messages', { text: { format: { type: 'json_object' } } }, 'text.format'],
    ['responses', 'messages', { include: ['web_search_call.results'] }, 'include[0]'],
    ['messages', 'responses', { stop_sequences: ['.'] }, 'stop_sequences'],
    ['messages', chat, { top_k: 5 }, 'top_k'],
    ['messages', chat, { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'tools[0].type'],
    ['messages', 'responses', { mcp_servers: [{ url: 'https://x.test' }] }, 'mcp_servers'],
    [
      'messages',
      'generateContent',
      {
        tool_choice: { type: 'auto', disable_parallel_tool_use: true },
        tools: [{ name: 'x', input_schema: {} }],
      },
      'tool_choice.disable_parallel_tool_use',
    ],
    ['messages', 'generateContent', { thinking: { type: 'disabled' } }, 'thinking'],
    [
      'messages',
      chat,
      {
        messages: [
          {
            role: 'user',
            content: [{ type: 'document', source: { type: 'url', url: 'https://x.test/a.pdf' } }],
          },
        ],
      },
      'messages[0].content[0].source',
    ],
  ])('%s to %s: %j', (from, to, more, param) => {
    expect(refusalOf(() => translate(from, to, more))).toEqual({ param, kind: 'unsupported' });
  });

  it.each<readonly [Endpoint, Body, string]>([
    [chat, { messages: 'Where?' }, 'messages'],
    [chat, { messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
    [chat, { temperature: 'hot' }, 'temperature'],
    ['messages', { messages: [{ content: 'x' }] }, 'messages[0].role'],
    ['responses', { input: [{ type: 'function_call', call_id: 'a', arguments: '{}' }] }, 'input[0].name'],
  ])('what is not what the dialect asks for is malformed: %s %j', (from, more, param) => {
    expect(refusalOf(() => translate(from, 'generateContent', more))).toEqual({ param, kind: 'malformed' });
  });

  it("refuses arguments that nest without end, by the call's place", () => {
    const text = `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    const call = { id: 'call_1', type: 'function', function: { name: 'f', arguments: text } };
    const messages = [USER, { role: 'assistant', content: null, tool_calls: [call] }];
    expect(refusalOf(() => translate(chat, 'messages', { messages }))).toEqual({
      param: 'messages[1].tool_calls[0]',
      kind: 'malformed',
    });
  });

  it('repeats no more of an unknown name than 64 characters', () => {
    const refused = refusalOf(() => translate(chat, 'messages', { ['x'.repeat(10_000)]: 1 }));
    expect(refused?.param).toBe(`${'x'.repeat(64)}…`);
  });
});

describe('what asks for nothing is as if it were not given', () => {
  it.each<readonly [Endpoint, Body]>([
    [
      chat,
      { n: 1, presence_penalty: 0, logprobs: false, logit_bias: {}, store: false, seed: null, stop: [] },
    ],
    [chat, { modalities: ['text'], parallel_tool_calls: true, function_call: 'auto', top_p: 1 }],
    ['responses', { truncation: 'disabled', store: false, metadata: {}, text: { format: { type: 'text' } } }],
    ['messages', { context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] } }],
  ])('%s %j', (from, more) => {
    expect(translate(from, 'messages', more)).toEqual(translate(from, 'messages', {}));
  });
});

describe('roles', () => {
  it('join their neighbours for Messages, the results of tools first and with their pictures', () => {
    const { messages, system } = translate(chat, 'messages', {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'developer', content: 'Be kind.' },
        { role: 'user', content: 'Look.' },
        { role: 'assistant', content: 'I look.', tool_calls: [use('call_1'), use('call:2')] },
        { role: 'tool', tool_call_id: 'call_1', content: 'red' },
        { role: 'tool', tool_call_id: 'call:2', content: '' },
        { role: 'user', content: [{ type: 'text', text: 'And?' }, image] },
        { role: 'system', content: 'Hurry.' },
      ],
    });
    expect(system).toEqual(['Be brief.', 'Be kind.', 'Hurry.'].map((text) => ({ type: 'text', text })));
    expect(messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Look.' }] },
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'call_1', name: 'look', input: {} },
          { type: 'tool_use', id: 'call_3a_2', name: 'look', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'call_1', content: [{ type: 'text', text: 'red' }] },
          { type: 'tool_result', tool_use_id: 'call_3a_2' },
          { type: 'text', text: 'And?' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
        ],
      },
    ]);
  });

  it('keep the results of tools apart for chat, pictures after all of them, errors in words', () => {
    const picture = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } };
    const { messages } = translate('messages', chat, {
      messages: [
        USER,
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: 'a', name: 'look', input: { x: 1 } },
            { type: 'tool_use', id: 'b', name: 'look', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'see' }, picture] },
            { type: 'tool_result', tool_use_id: 'b', content: 'broken', is_error: true },
            { type: 'text', text: 'Well?' },
          ],
        },
      ],
    });
    expect(messages).toEqual([
      USER,
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'look', arguments: '{"x":1}' } },
          { id: 'b', type: 'function', function: { name: 'look', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'see' },
      { role: 'tool', tool_call_id: 'b', content: 'Error: broken' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'The tool call a answered with this:' },
          image,
          { type: 'text', text: 'Well?' },
        ],
      },
    ]);
  });
});

describe('thinking', () => {
  it.each(['messages', 'generateContent', 'chat.completions', 'responses'] as const)(
    'that led to nothing said leaves no turn behind for %s',
    (to) => {
      const thought = { role: 'assistant', content: null, reasoning_content: 'Hm.' };
      const messages = [USER, thought, USER];
      const written = translate(chat, to, { messages });
      expect(written).toEqual(translate(chat, to, { messages: [USER, USER] }));
    },
  );

  it.each<readonly [string, string, Body]>([
    ['medium', 'claude-sonnet-5', { thinking: { type: 'adaptive' }, output_config: { effort: 'medium' } }],
    ['none', 'claude-sonnet-5', { thinking: { type: 'disabled' } }],
    ['high', 'claude-sonnet-4-5-20250929', { thinking: { type: 'enabled', budget_tokens: 16_384 } }],
    ['max', 'claude-opus-4-20250514', { thinking: { type: 'enabled', budget_tokens: 28_672 } }],
    ['none', 'claude-haiku-4-5', {}],
  ])('an effort of %s is for %s: %j', (effort, model, written) => {
    const { thinking, output_config: output } = translate(
      chat,
      'messages',
      { reasoning_effort: effort },
      model,
    );
    expect(JSON.parse(JSON.stringify({ thinking, output_config: output }))).toEqual(written);
  });

  it.each<readonly [Body, string, unknown]>([
    [
      { thinking: { type: 'enabled', budget_tokens: 8000 } },
      'gpt-5.1',
      { effort: 'medium', summary: 'auto' },
    ],
    [
      { thinking: { type: 'adaptive' }, output_config: { effort: 'max' } },
      'gpt-5.1',
      { effort: 'max', summary: 'auto' },
    ],
    [{ thinking: { type: 'disabled' } }, 'gpt-5-mini', { effort: 'minimal' }],
    [{ thinking: { type: 'disabled' } }, 'gpt-5.1', { effort: 'none' }],
    [{ thinking: { type: 'disabled' } }, 'gpt-4o', undefined],
  ])('what Anthropic calls %j is for %s: %j', (asked, model, reasoning) => {
    expect(translate('messages', 'responses', asked, model)['reasoning']).toEqual(reasoning);
  });

  it.each<readonly [string, string, unknown]>([
    ['low', 'gemini-2.5-flash', { thinkingBudget: 4096 }],
    ['max', 'gemini-2.5-pro', { thinkingBudget: 24_576 }],
    ['none', 'gemini-2.5-flash', { thinkingBudget: 0 }],
    ['minimal', 'gemini-3-flash', { thinkingLevel: 'MINIMAL' }],
    ['xhigh', 'gemini-3-pro', { thinkingLevel: 'HIGH' }],
  ])('an effort of %s is for %s: %j', (effort, model, config) => {
    const { generationConfig } = translate(chat, 'generateContent', { reasoning_effort: effort }, model);
    expect(generationConfig).toMatchObject({ thinkingConfig: config });
  });

  it('fits into what may be written, or is refused by name', () => {
    const model = 'claude-sonnet-4-5';
    const asked = { reasoning_effort: 'high', max_tokens: 3000 };
    expect(translate(chat, 'messages', asked, model)['thinking']).toMatchObject({ budget_tokens: 2999 });
    const refused = refusalOf(() => translate(chat, 'messages', { ...asked, max_tokens: 1000 }, model));
    expect(refused).toEqual({ param: 'reasoning_effort', kind: 'unsupported' });
  });

  it('is given back to the vendor that proves it, and to nobody else', () => {
    const proof = wrapProof({ vendor: 'anthropic', signature: 'sig' });
    const details = [{ type: 'reasoning.text', text: 'Hm.', signature: proof }];
    const messages = [USER, { role: 'assistant', content: 'There.', reasoning_details: details }, USER];
    const thinking = { type: 'thinking', thinking: 'Hm.', signature: 'sig' };
    const said = { type: 'text', text: 'There.' };
    expect(translate(chat, 'messages', { messages })['messages']).toMatchObject([
      {},
      { content: [thinking, said] },
      {},
    ]);
    expect(JSON.stringify(translate(chat, 'generateContent', { messages }))).not.toContain('Hm.');
    const sealed = {
      type: 'thinking',
      thinking: 'Hm.',
      signature: wrapProof({ vendor: 'openai', sealed: 's', id: 'rs_1' }),
    };
    const turns = [USER, { role: 'assistant', content: [sealed, said] }, USER];
    expect(translate('messages', 'responses', { messages: turns })['input']).toMatchObject([
      {},
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [{ type: 'summary_text', text: 'Hm.' }],
        encrypted_content: 's',
      },
      { role: 'assistant' },
      {},
    ]);
    expect(JSON.stringify(translate('messages', 'messages', { messages: turns }))).not.toContain('Hm.');
  });

  it('is left out where tools answer a turn whose thoughts were not returned, and the model would refuse', () => {
    const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } };
    const messages = [
      USER,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'a', content: 'x' },
    ];
    const asked = { messages, reasoning_effort: 'low' };
    expect(translate(chat, 'messages', asked, 'claude-sonnet-4-5')['thinking']).toBeUndefined();
    expect(translate(chat, 'messages', asked, 'claude-sonnet-5')['thinking']).toEqual({ type: 'adaptive' });
  });
});

describe('Gemini', () => {
  it('is given the signatures of its calls, and a stand-in where it did not make them', () => {
    const signed = translate(chat, 'generateContent', { messages: looked(signedId('a', 'c2ln+/=')) });
    const part = { functionCall: { id: 'a', name: 'look', args: { x: 1 } }, thoughtSignature: 'c2ln+/=' };
    const other = { functionCall: { id: 'b', name: 'look', args: { x: 1 } } };
    expect(signed['contents']).toEqual([
      { role: 'user', parts: [{ text: 'Where?' }] },
      { role: 'model', parts: [part, other] },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 'a', name: 'look', response: { output: '{"seen":true}' } } },
          { functionResponse: { id: 'b', name: 'look', response: { output: 'no' } } },
        ],
      },
    ]);
    const unsigned = translate(chat, 'generateContent', { messages: looked('a') });
    expect(JSON.stringify(unsigned).match(/skip_thought_signature_validator/g)).toHaveLength(1);
    const older = translate(chat, 'generateContent', { messages: looked('a') }, 'gemini-2.5-flash');
    expect(JSON.stringify(older)).not.toContain('thoughtSignature');
  });

  it('is told every setting that it has', () => {
    const written = translate(chat, 'generateContent', {
      max_completion_tokens: 50,
      temperature: 1.5,
      top_p: 0.5,
      stop: '.',
      seed: 7,
      n: 2,
      presence_penalty: 0.5,
      logprobs: true,
      top_logprobs: 3,
      service_tier: 'flex',
      tools: [
        { type: 'function', function: { name: 'none' } },
        { type: 'function', function: { name: 'one', parameters: { type: 'object' }, strict: true } },
      ],
      tool_choice: { type: 'function', function: { name: 'one' } },
    });
    expect(written).toMatchObject({
      generationConfig: {
        maxOutputTokens: 50,
        temperature: 1.5,
        topP: 0.5,
        stopSequences: ['.'],
        seed: 7,
        candidateCount: 2,
        presencePenalty: 0.5,
        responseLogprobs: true,
        logprobs: 3,
      },
      serviceTier: 'flex',
      tools: [
        {
          functionDeclarations: [{ name: 'none' }, { name: 'one', parametersJsonSchema: { type: 'object' } }],
        },
      ],
      toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['one'] } },
    });
  });
});

describe('Messages', () => {
  it('is told how long a reply may be where the caller did not say', () => {
    for (const [model, tokens] of [
      ['claude-3-opus-20240229', 4096],
      ['claude-3-5-haiku-latest', 8192],
      ['claude-opus-5', 32_000],
    ] as const)
      expect(translate(chat, 'messages', {}, model)['max_tokens']).toBe(tokens);
  });

  it('keeps marks of what is to be cached, and tells nobody else', () => {
    const mark = { type: 'ephemeral', ttl: '1h' };
    const system = [{ type: 'text', text: 'Long.', cache_control: mark }];
    expect(translate('messages', 'messages', { system })['system']).toEqual(system);
    expect(JSON.stringify(translate('messages', chat, { system }))).not.toContain('cache');
  });

  it('takes documents as PDF or as text', () => {
    const written = translate(chat, 'messages', {
      messages: [{ role: 'user', content: [file('application/pdf'), file('text/plain')] }],
    });
    expect(written['messages']).toMatchObject([
      {
        content: [
          { type: 'document', title: 'a', source: { type: 'base64', media_type: 'application/pdf' } },
          { type: 'document', title: 'a', source: { type: 'text', data: 'fares' } },
        ],
      },
    ]);
    const refused = refusalOf(() =>
      translate(chat, 'messages', { messages: [{ role: 'user', content: [file('application/zip')] }] }),
    );
    expect(refused?.param).toBe('messages[0].content[0].file.file_data');
  });
});

describe('Responses', () => {
  it('is told not to store, and that tools are not strict where they were not', () => {
    const tools = [
      { name: 'one', input_schema: { type: 'object' } },
      { name: 'two', strict: true, input_schema: {} },
    ];
    const written = translate(
      'messages',
      'responses',
      { tools, max_tokens: 1, metadata: { user_id: 'u' } },
      'gpt-4o',
    );
    expect(written).toMatchObject({
      store: false,
      max_output_tokens: 16,
      safety_identifier: 'u',
      tools: [
        { type: 'function', name: 'one', strict: false },
        { type: 'function', name: 'two', strict: true },
      ],
    });
    expect(written['include']).toBeUndefined();
    expect(translate('messages', 'responses', {})['include']).toEqual(['reasoning.encrypted_content']);
  });
});
