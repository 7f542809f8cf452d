/** Our own replies, one for each thing that a reply can say, as each dialect says it. */
import { namedSse, sse, type Json, type ParserName } from './replies.ts';
import { bytesOf } from './chunks.ts';

export interface ReplyFixture {
  readonly title: string;
  readonly dialect: ParserName;
  readonly stream: boolean;
  readonly body: Uint8Array;
}

const whole = (title: string, dialect: ParserName, body: Json): ReplyFixture => ({
  title,
  dialect,
  stream: false,
  body: bytesOf(JSON.stringify(body)),
});

const chatHead = {
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1_780_000_000,
  model: 'gpt-x',
};
const chatUsage = {
  prompt_tokens: 30,
  completion_tokens: 12,
  total_tokens: 42,
  prompt_tokens_details: { cached_tokens: 10 },
  completion_tokens_details: { reasoning_tokens: 4 },
};
const delta = (content: Json, index = 0, more: Json = {}): Json => ({
  ...chatHead,
  choices: [{ index, delta: content, finish_reason: null, ...more }],
});
const finish = (reason: string, index = 0): Json => ({
  ...chatHead,
  choices: [{ index, delta: {}, finish_reason: reason }],
});
const chatStream = (title: string, events: readonly Json[]): ReplyFixture => ({
  title: `chat stream: ${title}`,
  dialect: 'chat',
  stream: true,
  body: sse([...events, { ...chatHead, choices: [], usage: chatUsage }], 'data: [DONE]\n\n'),
});
const chatWhole = (title: string, message: Json, reason: string, more: Json = {}): ReplyFixture =>
  whole(`chat: ${title}`, 'chat', {
    ...chatHead,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: reason, ...more }],
    usage: chatUsage,
  });

const token = (text: string, logprob: number): Json => ({
  token: text,
  logprob,
  bytes: [...bytesOf(text)],
  top_logprobs: [{ token: text, logprob, bytes: [...bytesOf(text)] }],
});
const call = (index: number, id: string, name: string, argumentsText: string): Json => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: argumentsText },
});
const more = (index: number, argumentsText: string): Json => ({
  index,
  function: { arguments: argumentsText },
});
const citation: Json = {
  type: 'url_citation',
  url_citation: { url: 'https://example.com/a', title: 'A', start_index: 1, end_index: 4 },
};

const CHAT: readonly ReplyFixture[] = [
  chatStream('text', [
    delta({ role: 'assistant', content: '', refusal: null }),
    delta({ content: 'Grüße, ' }),
    delta({ content: '世界 🌍' }),
    finish('stop'),
  ]),
  chatStream('nothing at all', [delta({ role: 'assistant', content: '' }), finish('content_filter')]),
  chatStream('parallel tool calls by index', [
    delta({ role: 'assistant', content: null, tool_calls: [call(0, 'call_a', 'weather', '')] }),
    delta({ tool_calls: [more(0, '{"city":')] }),
    delta({ tool_calls: [more(0, '"Köln"}')] }),
    delta({ tool_calls: [call(1, 'call_b', 'time', '')] }),
    delta({ tool_calls: [more(1, '{"zone":"CET"}')] }),
    finish('tool_calls'),
  ]),
  chatStream('tool calls that take turns', [
    delta({ content: 'I look.' }),
    delta({ tool_calls: [call(0, 'call_a', 'weather', ''), call(1, 'call_b', 'time', '')] }),
    delta({ tool_calls: [more(1, '{"zone":'), more(0, '{"city":"}\\"{')] }),
    delta({ tool_calls: [more(0, '"}'), more(1, '"CET"}')] }),
    delta({ tool_calls: [call(2, 'call_c', 'noArguments', '')] }),
    finish('stop'),
  ]),
  chatStream('whole tool calls without an index, or all at 0', [
    delta({
      tool_calls: [{ id: 'call_a', type: 'function', function: { name: 'a', arguments: '{"x":1}' } }],
    }),
    delta({ tool_calls: [{ id: 'call_b', type: 'function', function: { name: 'b', arguments: '{}' } }] }),
    delta({ tool_calls: [call(0, 'call_c', 'c', '{"y":2}')] }),
    delta({ tool_calls: [call(0, 'call_d', 'd', '{"z":3}')] }),
    finish('tool_calls'),
  ]),
  chatStream('reasoning, then text, then reasoning again', [
    delta({ reasoning_content: 'Let me ' }),
    delta({ reasoning_content: 'think.' }),
    delta({ content: 'Yes' }),
    delta({ reasoning: 'Or not?' }),
    delta({ content: ', no.' }),
    finish('stop'),
  ]),
  chatStream('reasoning with proofs', [
    delta({
      reasoning: 'Hm.',
      reasoning_details: [{ type: 'reasoning.text', text: 'Hm.', signature: 'c2ln', index: 0 }],
    }),
    delta({ reasoning_details: [{ type: 'reasoning.encrypted', data: 'c2VhbA==', id: 'rs_1', index: 1 }] }),
    delta({ content: 'Done.' }),
    finish('stop'),
  ]),
  chatStream('a refusal', [delta({ refusal: 'I will' }), delta({ refusal: ' not.' }), finish('stop')]),
  chatStream('two choices side by side', [
    delta({ role: 'assistant', content: 'one' }, 0),
    delta({ role: 'assistant', content: 'two' }, 1),
    delta({ content: ' more' }, 0),
    finish('length', 1),
    finish('stop', 0),
  ]),
  chatStream('log probabilities', [
    delta({ content: 'Hi' }, 0, { logprobs: { content: [token('Hi', -0.1)], refusal: null } }),
    delta({ content: ' you' }, 0, { logprobs: { content: [token(' you', -2)], refusal: null } }),
    finish('length'),
  ]),
  chatStream('sources', [
    delta({ content: 'It is so.' }),
    delta({ annotations: [citation] }),
    finish('stop'),
  ]),
  chatWhole('text', { content: 'data: [DONE]\n\ndata: {"usage":{"prompt_tokens":1}}' }, 'stop'),
  chatWhole(
    'tool calls',
    { content: null, tool_calls: [call(0, 'c1', 'a', '{"x":[1]}'), call(1, 'c2', 'b', '')] },
    'tool_calls',
  ),
  chatWhole(
    'thinking as Mistral tells it',
    {
      content: [
        { type: 'thinking', thinking: [{ type: 'text', text: 'So.' }] },
        { type: 'text', text: 'Well.' },
      ],
    },
    'stop',
  ),
  chatWhole('log probabilities and sources', { content: 'Hi', annotations: [citation] }, 'stop', {
    logprobs: { content: [token('Hi', -0.5)], refusal: null },
  }),
];

const message: Json = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-x',
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage: { input_tokens: 20, cache_read_input_tokens: 5, cache_creation_input_tokens: 7, output_tokens: 1 },
};
const blocks = (list: readonly { readonly start: Json; readonly deltas: readonly Json[] }[]): Json[] =>
  list.flatMap(({ start, deltas }, index) => [
    { type: 'content_block_start', index, content_block: start },
    ...deltas.map((change) => ({ type: 'content_block_delta', index, delta: change })),
    { type: 'content_block_stop', index },
  ]);
const messagesStream = (title: string, list: Parameters<typeof blocks>[0], stop: Json): ReplyFixture => ({
  title: `messages stream: ${title}`,
  dialect: 'messages',
  stream: true,
  body: namedSse([
    { type: 'message_start', message },
    { type: 'ping' },
    ...blocks(list),
    { type: 'message_delta', delta: { stop_sequence: null, ...stop }, usage: { output_tokens: 33 } },
    { type: 'message_stop' },
  ]),
});
const messagesWhole = (title: string, content: readonly Json[], stop: Json): ReplyFixture =>
  whole(`messages: ${title}`, 'messages', {
    ...message,
    content,
    ...stop,
    usage: {
      ...(message['usage'] as Json),
      output_tokens: 33,
      output_tokens_details: { thinking_tokens: 8 },
    },
  });

const webSource: Json = {
  type: 'web_search_result_location',
  url: 'https://example.com/b',
  title: 'B',
  cited_text: 'so',
  encrypted_index: 'x',
};

const MESSAGES: readonly ReplyFixture[] = [
  messagesStream(
    'thinking, text and two tools',
    [
      {
        start: { type: 'thinking', thinking: '', signature: '' },
        deltas: [
          { type: 'thinking_delta', thinking: 'Let me see' },
          { type: 'thinking_delta', thinking: ' …' },
          { type: 'signature_delta', signature: 'c2lnbmF0dXJl' },
        ],
      },
      { start: { type: 'redacted_thinking', data: 'c2VjcmV0' }, deltas: [] },
      {
        start: { type: 'text', text: '' },
        deltas: [
          { type: 'text_delta', text: 'I ask ' },
          { type: 'text_delta', text: 'both.' },
        ],
      },
      {
        start: { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} },
        deltas: [
          { type: 'input_json_delta', partial_json: '' },
          { type: 'input_json_delta', partial_json: '{"city": "K' },
          { type: 'input_json_delta', partial_json: 'öln"}' },
        ],
      },
      { start: { type: 'tool_use', id: 'toolu_2', name: 'now', input: {} }, deltas: [] },
    ],
    { stop_reason: 'tool_use' },
  ),
  messagesStream(
    'thoughts that are not shown, and sources',
    [
      {
        start: { type: 'thinking', thinking: '', signature: '' },
        deltas: [{ type: 'signature_delta', signature: 'c2ln' }],
      },
      {
        start: { type: 'text', text: '' },
        deltas: [
          { type: 'text_delta', text: 'It is so.' },
          { type: 'citations_delta', citation: webSource },
        ],
      },
      { start: { type: 'text', text: '' }, deltas: [{ type: 'text_delta', text: ' Really.' }] },
    ],
    { stop_reason: 'stop_sequence', stop_sequence: '###' },
  ),
  messagesStream(
    'a refusal',
    [{ start: { type: 'text', text: '' }, deltas: [{ type: 'text_delta', text: 'No' }] }],
    {
      stop_reason: 'refusal',
    },
  ),
  messagesStream('nothing at all', [], { stop_reason: 'end_turn' }),
  messagesStream(
    'a pause',
    [{ start: { type: 'text', text: '' }, deltas: [{ type: 'text_delta', text: 'Wait' }] }],
    { stop_reason: 'pause_turn' },
  ),
  messagesWhole(
    'everything',
    [
      { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' },
      {
        type: 'text',
        text: 'So: event: message_stop\ndata: {"type":"message_stop"}\n\n',
        citations: [webSource],
      },
      { type: 'tool_use', id: 'toolu_1', name: 'a', input: { x: { y: [1, 2] } } },
      { type: 'tool_use', id: 'toolu_2', name: 'b', input: {} },
    ],
    { stop_reason: 'tool_use' },
  ),
  messagesWhole('a full context', [{ type: 'text', text: 'cut' }], {
    stop_reason: 'model_context_window_exceeded',
  }),
];

const responseHead: Json = {
  id: 'resp_1',
  object: 'response',
  created_at: 1_780_000_000,
  model: 'gpt-y',
  error: null,
  incomplete_details: null,
};
const responseUsage: Json = {
  input_tokens: 50,
  input_tokens_details: { cached_tokens: 8 },
  output_tokens: 20,
  output_tokens_details: { reasoning_tokens: 6 },
  total_tokens: 70,
};
const thoughtItem: Json = {
  id: 'rs_1',
  type: 'reasoning',
  summary: [
    { type: 'summary_text', text: 'First.' },
    { type: 'summary_text', text: 'Then.' },
  ],
  encrypted_content: 'c2VhbGVk',
};
const urlAnnotation: Json = {
  type: 'url_citation',
  url: 'https://example.com/c',
  title: 'C',
  start_index: 0,
  end_index: 2,
};
const messageItem: Json = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [
    {
      type: 'output_text',
      text: 'So it is.',
      annotations: [urlAnnotation],
      logprobs: [token('So it is.', -1)],
    },
  ],
};
const callItem = (id: string, argumentsText: string): Json => ({
  id: `fc_${id}`,
  type: 'function_call',
  call_id: id,
  name: 'weather',
  arguments: argumentsText,
  status: 'completed',
});
const responsesStream = (title: string, events: readonly Json[], end: Json): ReplyFixture => ({
  title: `responses stream: ${title}`,
  dialect: 'responses',
  stream: true,
  body: namedSse(
    [
      {
        type: 'response.created',
        response: { ...responseHead, status: 'in_progress', output: [], usage: null },
      },
      ...events,
      {
        type: `response.${String(end['status'])}`,
        response: { ...responseHead, usage: responseUsage, ...end },
      },
    ].map((event, index) => Object.assign({ sequence_number: index }, event)),
  ),
});
const responsesWhole = (title: string, output: readonly Json[], end: Json): ReplyFixture =>
  whole(`responses: ${title}`, 'responses', { ...responseHead, output, usage: responseUsage, ...end });

const RESPONSES: readonly ReplyFixture[] = [
  responsesStream(
    'a thought, a text and two calls, event by event',
    [
      {
        type: 'response.output_item.added',
        output_index: 0,
        item: { id: 'rs_1', type: 'reasoning', summary: [] },
      },
      { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 0, delta: 'Fir' },
      { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 0, delta: 'st.' },
      { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 1, delta: 'Then.' },
      { type: 'response.output_item.done', output_index: 0, item: thoughtItem },
      { type: 'response.output_item.added', output_index: 1, item: { ...messageItem, content: [] } },
      {
        type: 'response.content_part.added',
        output_index: 1,
        content_index: 0,
        part: { type: 'output_text', text: '', annotations: [] },
      },
      {
        type: 'response.output_text.delta',
        output_index: 1,
        content_index: 0,
        delta: 'So it ',
        logprobs: [{ token: 'So it ', logprob: -1, top_logprobs: [{ token: 'So', logprob: -2 }] }],
      },
      { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'is.', logprobs: [] },
      { type: 'response.output_item.done', output_index: 1, item: messageItem },
      { type: 'response.output_item.added', output_index: 2, item: callItem('call_1', '') },
      { type: 'response.function_call_arguments.delta', output_index: 2, delta: '{"city":' },
      { type: 'response.function_call_arguments.delta', output_index: 2, delta: '"Rom"}' },
      { type: 'response.output_item.done', output_index: 2, item: callItem('call_1', '{"city":"Rom"}') },
      { type: 'response.output_item.added', output_index: 3, item: callItem('call_2', '') },
      { type: 'response.output_item.done', output_index: 3, item: callItem('call_2', '') },
    ],
    { status: 'completed', output: [] },
  ),
  responsesStream('told at its end alone', [], {
    status: 'completed',
    output: [thoughtItem, messageItem, callItem('call_1', '{"a":1}')],
  }),
  responsesStream(
    'a refusal',
    [
      { type: 'response.output_item.added', output_index: 0, item: { ...messageItem, content: [] } },
      { type: 'response.refusal.delta', output_index: 0, content_index: 0, delta: 'I can' },
      { type: 'response.refusal.delta', output_index: 0, content_index: 0, delta: 'not.' },
    ],
    { status: 'completed', output: [] },
  ),
  responsesStream(
    'out of tokens',
    [{ type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: 'Half a' }],
    { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [] },
  ),
  responsesWhole('everything', [thoughtItem, messageItem, callItem('call_1', '{"a":[{}]}')], {
    status: 'completed',
  }),
  responsesWhole('filtered', [], { status: 'incomplete', incomplete_details: { reason: 'content_filter' } }),
];

const geminiHead: Json = { modelVersion: 'gemini-z', responseId: 'resp-z' };
const geminiUsage: Json = {
  promptTokenCount: 11,
  candidatesTokenCount: 7,
  thoughtsTokenCount: 3,
  totalTokenCount: 21,
};
const candidate = (parts: readonly Json[], rest: Json = {}): Json => ({
  content: { role: 'model', parts },
  index: 0,
  ...rest,
});
const geminiPart = (...candidates: readonly Json[]): Json => ({
  candidates,
  usageMetadata: { promptTokenCount: 11, totalTokenCount: 11 },
  ...geminiHead,
});
const grounding: Json = {
  groundingChunks: [{ web: { uri: 'https://example.com/d', title: 'D' } }],
  groundingSupports: [{ segment: { startIndex: 5, endIndex: 10, text: 'Köln' }, groundingChunkIndices: [0] }],
};
const geminiStream = (title: string, parts: readonly Json[]): ReplyFixture => ({
  title: `gemini stream: ${title}`,
  dialect: 'gemini',
  stream: true,
  body: bytesOf(
    parts
      .map((part, index) => {
        const told = index === parts.length - 1 ? { ...part, usageMetadata: geminiUsage } : part;
        return `data: ${JSON.stringify(told)}\r\n\r\n`;
      })
      .join(''),
  ),
});
const geminiCall = (name: string, args: Json, signature?: string): Json => ({
  functionCall: { name, args },
  ...(signature === undefined ? {} : { thoughtSignature: signature }),
});

const GEMINI: readonly ReplyFixture[] = [
  geminiStream('thoughts, text and calls with a proof', [
    geminiPart(candidate([{ text: 'Hm', thought: true }])),
    geminiPart(candidate([{ text: ' …', thought: true }])),
    geminiPart(candidate([{ text: 'I look' }])),
    geminiPart(
      candidate([geminiCall('weather', { city: 'Köln' }, 'c2ln'), geminiCall('now', {})], {
        finishReason: 'STOP',
      }),
    ),
  ]),
  geminiStream('sources', [
    geminiPart(candidate([{ text: 'Über Köln.' }])),
    geminiPart(candidate([{ text: ' Ja.' }], { finishReason: 'STOP', groundingMetadata: grounding })),
  ]),
  geminiStream('two candidates', [
    geminiPart(candidate([{ text: 'a' }]), candidate([{ text: 'b' }], { index: 1 })),
    geminiPart(
      candidate([{ text: 'c' }], { finishReason: 'STOP' }),
      candidate([], { index: 1, finishReason: 'MAX_TOKENS' }),
    ),
  ]),
  geminiStream('a prompt that is blocked', [{ promptFeedback: { blockReason: 'SAFETY' }, ...geminiHead }]),
  whole('gemini: log probabilities', 'gemini', {
    ...geminiPart(
      candidate([{ text: 'Hi' }], {
        finishReason: 'MAX_TOKENS',
        logprobsResult: {
          chosenCandidates: [{ token: 'Hi', logProbability: -0.25 }],
          topCandidates: [{ candidates: [{ token: 'Hi', logProbability: -0.25 }] }],
        },
      }),
    ),
    usageMetadata: geminiUsage,
  }),
  {
    title: 'gemini: a stream in its other form, an array',
    dialect: 'gemini',
    stream: false,
    body: bytesOf(
      JSON.stringify([
        geminiPart(candidate([{ text: 'one ' }])),
        geminiPart(candidate([{ text: 'two' }], { finishReason: 'STOP' })),
      ]),
    ),
  },
];

export const FIXTURES: readonly ReplyFixture[] = [...CHAT, ...MESSAGES, ...RESPONSES, ...GEMINI];
