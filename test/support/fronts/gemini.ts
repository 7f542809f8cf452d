/** Google's official client. */
import { type Content, type GenerateContentResponse, GoogleGenAI, type Part } from '@google/genai';
import { SERVICE_KEY } from '../gateway.ts';
import { type At, FARE, type Front, type How, PIXEL, QUESTION, SCHEMA, type Told } from './front.ts';

interface Answer {
  readonly parts: Part[];
  readonly usage: GenerateContentResponse['usageMetadata'];
}

export function geminiFront(at: At): Front {
  const client = new GoogleGenAI({
    apiKey: SERVICE_KEY,
    httpOptions: { baseUrl: at.url, headers: { 'x-stripe-customer-id': at.customer } },
  });
  const generate = async (
    model: string,
    contents: Content[],
    { stream, tool = false, json = false }: How,
  ): Promise<Answer> => {
    const asked = {
      model,
      contents,
      config: {
        systemInstruction: 'Be brief.',
        ...(tool ? { tools: [{ functionDeclarations: [{ ...FARE, parametersJsonSchema: SCHEMA }] }] } : {}),
        ...(json ? { responseMimeType: 'application/json', responseJsonSchema: SCHEMA } : {}),
      },
    };
    const parts: Part[] = [];
    let usage: GenerateContentResponse['usageMetadata'];
    const take = (reply: GenerateContentResponse): void => {
      parts.push(...(reply.candidates?.[0]?.content?.parts ?? []));
      usage = reply.usageMetadata ?? usage;
    };
    if (stream) for await (const reply of await client.models.generateContentStream(asked)) take(reply);
    else take(await client.models.generateContent(asked));
    return { parts, usage };
  };
  return {
    ask: async (model, how) => told(await generate(model, [question(how.picture)], how)),
    async leave(model) {
      const leaving = new AbortController();
      const asked = { model, contents: [question()], config: { abortSignal: leaving.signal } };
      try {
        for await (const _reply of await client.models.generateContentStream(asked)) leaving.abort();
      } catch (error) {
        if (!leaving.signal.aborted) throw error;
      }
    },
    async useTool(model, stream) {
      const how = { stream, tool: true };
      const { parts } = await generate(model, [question()], how);
      const answers = parts.flatMap(({ functionCall: call }): Part[] =>
        call === undefined
          ? []
          : [{ functionResponse: { id: call.id ?? '', name: call.name ?? '', response: { output: '240' } } }],
      );
      const contents = [question(), { role: 'model', parts }, { role: 'user', parts: answers }];
      return told(await generate(model, contents, how));
    },
  };
}

const told = ({ parts, usage }: Answer): Told => ({
  text: parts.map(({ text = '', thought }) => (thought === true ? '' : text)).join(''),
  calls: parts.flatMap(({ functionCall: call }) =>
    call === undefined ? [] : [{ name: call.name ?? '', input: call.args }],
  ),
  input: usage?.promptTokenCount,
  output: usage?.candidatesTokenCount,
});

const question = (picture = false): Content => ({
  role: 'user',
  parts: [{ text: QUESTION }, ...(picture ? [{ inlineData: { mimeType: 'image/png', data: PIXEL } }] : [])],
});
