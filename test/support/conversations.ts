/** Requests for tests of translation: a body read as the gateway reads it, and conversations made at random. */
import fc from 'fast-check';
import type { Endpoint, ProviderCall } from '../../providers/provider.ts';
import type {
  Conversation,
  Part,
  Source,
  Tool,
  ToolCallPart,
  Turn,
} from '../../providers/translation/conversation.ts';
import { scanJsonObject } from '../../src/usage/json-scanner.ts';

/** The call of a body, as a provider is given it. */
export function callOf(endpoint: Endpoint, body: unknown, model = 'asked'): ProviderCall {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const scan = scanJsonObject(bytes);
  if (scan.kind !== 'object') throw new Error(scan.message);
  const stream = (body as { stream?: unknown }).stream === true;
  return { endpoint, model, stream, body: bytes, scan, path: '', query: '', headers: {}, id: 'req_1' };
}

/** A conversation without the places where its parts stood, as two dialects can agree on it. */
export const bare = ({ names: _names, ...conversation }: Conversation): unknown =>
  JSON.parse(JSON.stringify(conversation, (key, value: unknown) => (key === 'at' ? undefined : value)));

export const NOTHING_ASKED: Conversation = {
  instructions: [],
  turns: [],
  tools: [],
  toolChoice: undefined,
  parallelTools: undefined,
  format: undefined,
  reasoning: { effort: undefined, budgetTokens: undefined, visible: undefined },
  sampling: {
    maxTokens: undefined,
    temperature: undefined,
    topP: undefined,
    topK: undefined,
    stop: undefined,
    seed: undefined,
    presencePenalty: undefined,
    frequencyPenalty: undefined,
    choices: undefined,
    logprobs: undefined,
  },
  stream: false,
  endUser: undefined,
  metadata: undefined,
  serviceTier: undefined,
  store: undefined,
  cacheKey: undefined,
  verbosity: undefined,
  names: {},
};

const name = fc.stringMatching(/^[a-z]{1,12}$/);
const words = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' });
const picture: fc.Arbitrary<Source> = fc.oneof(
  fc.constant<Source>({ kind: 'data', mediaType: 'image/png', base64: 'iVBORw0KGgo=' }),
  fc.constant<Source>({ kind: 'url', url: 'https://fares.test/a.png', mediaType: undefined }),
);
const text = words.map((said): Part => ({ kind: 'text', text: said }));
const image = picture.map((source): Part => ({ kind: 'image', source }));

/** What a user says, never two texts in a row: some dialects tell them apart and some do not. */
const userParts = fc.oneof(
  fc.tuple(text),
  fc.tuple(text, image).map((parts): readonly Part[] => parts),
);

/** A model that calls and the answers it gets, every call answered. */
const round = fc
  .tuple(fc.uniqueArray(fc.stringMatching(/^call_[a-z0-9]{6}$/), { minLength: 1, maxLength: 3 }), words)
  .chain(([ids, said]) =>
    fc.record({
      calls: fc.tuple(
        ...ids.map((id) =>
          fc
            .tuple(name, fc.dictionary(name, fc.oneof(fc.integer(), words, fc.boolean())))
            .map(([tool, input]): ToolCallPart => {
              return { kind: 'tool_call', id, name: tool, argumentsJson: JSON.stringify(input) };
            }),
        ),
      ),
      before: fc.option(fc.constant<Part>({ kind: 'text', text: said }), { nil: undefined }),
      answers: fc.tuple(...ids.map(() => words)),
    }),
  )
  .map(({ calls, before, answers }): readonly Turn[] => [
    { role: 'assistant', parts: [...(before === undefined ? [] : [before]), ...calls] },
    {
      role: 'user',
      parts: calls.map((call, index): Part => {
        const content = [{ kind: 'text' as const, text: answers[index] ?? 'none' }];
        return { kind: 'tool_result', id: call.id, name: call.name, content, isError: false };
      }),
    },
  ]);

const tool: fc.Arbitrary<Tool> = fc.record({
  name,
  description: words,
  parameters: fc.constant({ type: 'object', properties: { zone: { type: 'integer' } } }),
  strict: fc.constant(true),
});

/** What chat, Responses and Messages can all say, in the one way that they all say it. */
export const conversations: fc.Arbitrary<Conversation> = fc
  .record({
    instruction: fc.option(words, { nil: undefined }),
    first: userParts,
    rounds: fc.array(round, { maxLength: 2 }),
    answer: words,
    tools: fc.uniqueArray(tool, { maxLength: 3, selector: (one) => one.name }),
    choice: fc.constantFrom(undefined, { kind: 'auto' }, { kind: 'required' }, { kind: 'none' } as const),
    maxTokens: fc.integer({ min: 16, max: 4000 }),
    temperature: fc.constantFrom(undefined, 0, 0.5, 1),
    stream: fc.boolean(),
    format: fc.boolean(),
  })
  .map((made): Conversation => {
    const schema = { type: 'object', properties: {}, additionalProperties: false };
    return Object.assign({}, NOTHING_ASKED, {
      instructions: made.instruction === undefined ? [] : [{ kind: 'text', text: made.instruction }],
      turns: [
        { role: 'user', parts: made.first },
        ...made.rounds.flat(),
        { role: 'assistant', parts: [{ kind: 'text', text: made.answer }] },
        { role: 'user', parts: [{ kind: 'text', text: 'And then?' }] },
      ],
      tools: made.tools,
      toolChoice: made.tools.length === 0 ? undefined : (made.choice as Conversation['toolChoice']),
      format: made.format
        ? { kind: 'json_schema', name: 'output', description: undefined, schema, strict: true }
        : undefined,
      sampling: Object.assign({}, NOTHING_ASKED.sampling, {
        maxTokens: made.maxTokens,
        temperature: made.temperature,
      }),
      stream: made.stream,
    });
  });
