/** The official OpenAI client on responses. */
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

export function responsesFront(at: At): Front {
  const client = new OpenAI({ baseURL: `${at.url}/v1`, ...optionsOf(at) });
  const respond = async (
    model: string,
    input: OpenAI.Responses.ResponseInput,
    { stream, tool = false, json = false }: How,
  ): Promise<OpenAI.Responses.Response> => {
    const body: OpenAI.Responses.ResponseCreateParamsNonStreaming = {
      model,
      instructions: 'Be brief.',
      input,
      ...(tool ? { tools: [{ type: 'function', ...FARE, parameters: { ...SCHEMA }, strict: true }] } : {}),
      ...(json ? { text: { format: { type: 'json_schema', name: 'zone', schema: { ...SCHEMA } } } } : {}),
    };
    return stream
      ? client.responses.stream({ ...body, stream: true }).finalResponse()
      : client.responses.create(body);
  };
  return {
    ask: async (model, how) => told(await respond(model, [question(how.picture)], how)),
    async useTool(model, stream) {
      const how = { stream, tool: true };
      const first = await respond(model, [question()], how);
      const results = first.output.flatMap((item): OpenAI.Responses.ResponseInputItem[] =>
        item.type === 'function_call'
          ? [{ type: 'function_call_output', call_id: item.call_id, output: RESULT }]
          : [],
      );
      const echoed = first.output as OpenAI.Responses.ResponseInput;
      return told(await respond(model, [question(), ...echoed, ...results], how));
    },
    async leave(model) {
      const stream = await client.responses.create({ model, input: QUESTION, stream: true });
      for await (const event of stream) {
        void event;
        stream.controller.abort();
      }
    },
  };
}

const told = (response: OpenAI.Responses.Response): Told => ({
  text: response.output_text,
  calls: response.output.flatMap((item) =>
    item.type === 'function_call' ? [{ name: item.name, input: JSON.parse(item.arguments) as unknown }] : [],
  ),
  input: response.usage?.input_tokens,
  output: response.usage?.output_tokens,
});
const question = (picture = false): OpenAI.Responses.ResponseInputItem => ({
  role: 'user',
  content: [
    { type: 'input_text', text: QUESTION },
    ...(picture
      ? [
          {
            type: 'input_image' as const,
            detail: 'auto' as const,
            image_url: `data:image/png;base64,${PIXEL}`,
          },
        ]
      : []),
  ],
});
