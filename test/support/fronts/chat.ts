/** The official OpenAI client on chat completions. */
import OpenAI from 'openai';
import {
  type At,
  FARE,
  type Front,
  type How,
  optionsOf,
  PIXEL,
  QUESTION,
  RESULT,
  SCHEMA,
  type Told,
} from './front.ts';

type ChatMessage = OpenAI.ChatCompletionMessageParam;

export function chatFront(at: At): Front {
  const client = new OpenAI({ baseURL: `${at.url}/v1`, ...optionsOf(at) });
  const complete = async (
    model: string,
    messages: ChatMessage[],
    { stream, tool = false, json = false }: How,
  ): Promise<OpenAI.ChatCompletion> => {
    const body: OpenAI.ChatCompletionCreateParamsNonStreaming = {
      model,
      messages: [{ role: 'system', content: 'Be brief.' }, ...messages],
      ...(tool ? { tools: [{ type: 'function', function: { ...FARE, parameters: SCHEMA } }] } : {}),
      ...(json
        ? {
            response_format: {
              type: 'json_schema',
              json_schema: { name: 'zone', schema: SCHEMA, strict: true },
            },
          }
        : {}),
    };
    if (!stream) return client.chat.completions.create(body);
    const asked = { ...body, stream: true as const, stream_options: { include_usage: true } };
    return client.chat.completions.stream(asked).finalChatCompletion();
  };
  return {
    ask: async (model, how) => told(await complete(model, [question(how.picture)], how)),
    async useTool(model, stream) {
      const how = { stream, tool: true };
      const first = await complete(model, [question()], how);
      const message = first.choices[0]?.message;
      if (message === undefined) throw new Error('no choice');
      const results = (message.tool_calls ?? []).map((call): ChatMessage => {
        return { role: 'tool', tool_call_id: call.id, content: RESULT };
      });
      return told(await complete(model, [question(), message, ...results], how));
    },
    async leave(model) {
      const stream = await client.chat.completions.create({ model, messages: [question()], stream: true });
      for await (const chunk of stream) {
        void chunk;
        stream.controller.abort();
      }
    },
  };
}

const told = ({ choices: [choice], usage }: OpenAI.ChatCompletion): Told => ({
  text: choice?.message.content ?? '',
  calls: (choice?.message.tool_calls ?? []).map((call) => {
    if (call.type !== 'function') throw new Error(call.type);
    return { name: call.function.name, input: JSON.parse(call.function.arguments) as unknown };
  }),
  input: usage?.prompt_tokens,
  output: usage?.completion_tokens,
});
const question = (picture = false): ChatMessage => ({
  role: 'user',
  content: picture
    ? [
        { type: 'text', text: QUESTION },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } },
      ]
    : QUESTION,
});
