/** The official Anthropic client. */
import Anthropic from '@anthropic-ai/sdk';
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

export function messagesFront(at: At): Front {
  const client = new Anthropic({ baseURL: at.url, ...optionsOf(at) });
  const create = async (
    model: string,
    messages: Anthropic.MessageParam[],
    { stream, tool = false, json = false }: How,
  ): Promise<Anthropic.Message> => {
    const body: Anthropic.MessageCreateParamsNonStreaming = {
      model,
      max_tokens: 100,
      system: 'Be brief.',
      messages,
      ...(tool ? { tools: [{ ...FARE, input_schema: { ...SCHEMA, required: [...SCHEMA.required] } }] } : {}),
      ...(json ? { output_config: { format: { type: 'json_schema', schema: { ...SCHEMA } } } } : {}),
    };
    return stream ? client.messages.stream(body).finalMessage() : client.messages.create(body);
  };
  return {
    ask: async (model, how) => told(await create(model, [question(how.picture)], how)),
    async useTool(model, stream) {
      const how = { stream, tool: true };
      const first = await create(model, [question()], how);
      const content = first.content.flatMap((block): Anthropic.ContentBlockParam[] =>
        block.type === 'tool_use' ? [{ type: 'tool_result', tool_use_id: block.id, content: RESULT }] : [],
      );
      const messages: Anthropic.MessageParam[] = [
        question(),
        { role: 'assistant', content: first.content },
        { role: 'user', content },
      ];
      return told(await create(model, messages, how));
    },
    async leave(model) {
      const asked = { model, max_tokens: 100, messages: [question()], stream: true as const };
      const stream = await client.messages.create(asked);
      for await (const event of stream) {
        void event;
        stream.controller.abort();
      }
    },
  };
}

const told = ({ content, usage }: Anthropic.Message): Told => ({
  text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
  calls: content.flatMap((block) =>
    block.type === 'tool_use' ? [{ name: block.name, input: block.input }] : [],
  ),
  input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
  output: usage.output_tokens,
});
const question = (picture = false): Anthropic.MessageParam => ({
  role: 'user',
  content: [
    { type: 'text', text: QUESTION },
    ...(picture
      ? [
          {
            type: 'image' as const,
            source: { type: 'base64' as const, media_type: 'image/png' as const, data: PIXEL },
          },
        ]
      : []),
  ],
});
