/** Google's older client, which is still in use. */
import {
  type Content,
  type EnhancedGenerateContentResponse,
  type FunctionDeclarationSchema,
  GoogleGenerativeAI,
  type Part,
  type ResponseSchema,
  SchemaType,
} from '@google/generative-ai';
import { SERVICE_KEY } from '../gateway.ts';
import { type At, FARE, type Front, type How, PIXEL, QUESTION, type Told } from './front.ts';

interface Answer {
  readonly parts: Part[];
  readonly usage: EnhancedGenerateContentResponse['usageMetadata'];
}

const SCHEMA: FunctionDeclarationSchema & ResponseSchema = {
  type: SchemaType.OBJECT,
  properties: { zone: { type: SchemaType.INTEGER } },
  required: ['zone'],
};

export function generativeAiFront(at: At): Front {
  const client = new GoogleGenerativeAI(SERVICE_KEY);
  const modelOf = (model: string, { tool = false, json = false }: Partial<How> = {}) =>
    client.getGenerativeModel(
      {
        model: `models/${model}`,
        systemInstruction: 'Be brief.',
        ...(tool ? { tools: [{ functionDeclarations: [{ ...FARE, parameters: SCHEMA }] }] } : {}),
        ...(json
          ? { generationConfig: { responseMimeType: 'application/json', responseSchema: SCHEMA } }
          : {}),
      },
      { baseUrl: at.url, customHeaders: { 'x-stripe-customer-id': at.customer } },
    );
  const generate = async (model: string, contents: Content[], how: How): Promise<Answer> => {
    const parts: Part[] = [];
    let usage: EnhancedGenerateContentResponse['usageMetadata'];
    const take = (reply: EnhancedGenerateContentResponse): void => {
      parts.push(...(reply.candidates?.[0]?.content?.parts ?? []));
      usage = reply.usageMetadata ?? usage;
    };
    const asked = modelOf(model, how);
    if (how.stream)
      for await (const reply of (await asked.generateContentStream({ contents })).stream) take(reply);
    else take((await asked.generateContent({ contents })).response);
    return { parts, usage };
  };
  return {
    ask: async (model, how) => told(await generate(model, [question(how.picture)], how)),
    async leave(model) {
      const leaving = new AbortController();
      const asked = { contents: [question()] };
      try {
        const { stream, response } = await modelOf(model).generateContentStream(asked, {
          signal: leaving.signal,
        });
        // The client keeps a promise of the whole beside the stream.
        response.catch(() => undefined);
        for await (const _reply of stream) leaving.abort();
      } catch (error) {
        if (!leaving.signal.aborted) throw error;
      }
    },
    async useTool(model, stream) {
      const how = { stream, tool: true };
      const { parts } = await generate(model, [question()], how);
      const answers = parts.flatMap(({ functionCall: call }): Part[] =>
        call === undefined ? [] : [{ functionResponse: { name: call.name, response: { output: '240' } } }],
      );
      const contents = [question(), { role: 'model', parts }, { role: 'function', parts: answers }];
      return told(await generate(model, contents, how));
    },
  };
}

const told = ({ parts, usage }: Answer): Told => ({
  text: parts.map(({ text = '' }) => text).join(''),
  calls: parts.flatMap(({ functionCall: call }) =>
    call === undefined ? [] : [{ name: call.name, input: call.args }],
  ),
  input: usage?.promptTokenCount,
  output: usage?.candidatesTokenCount,
});

const question = (picture = false): Content => ({
  role: 'user',
  parts: [{ text: QUESTION }, ...(picture ? [{ inlineData: { mimeType: 'image/png', data: PIXEL } }] : [])],
});
