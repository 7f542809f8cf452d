/** The one table of dialects that are translated: who may ask in them, and who may be asked. */
import type { Endpoint } from '../provider.ts';
import { createChatParser } from './chat/reply-parser.ts';
import { createChatWriter } from './chat/reply-writer.ts';
import { readChatRequest } from './chat/read-request.ts';
import { writeChatRequest } from './chat/write-request.ts';
import type { CreateReplyParser, CreateReplyWriter, RequestReader, RequestWriter } from './dialect.ts';
import { readGeminiRequest } from './gemini/read-request.ts';
import { createGeminiParser } from './gemini/reply-parser.ts';
import { createGeminiWriter } from './gemini/reply-writer.ts';
import { writeGeminiRequest } from './gemini/write-request.ts';
import { createMessagesParser } from './messages/reply-parser.ts';
import { createMessagesWriter } from './messages/reply-writer.ts';
import { readMessagesRequest } from './messages/read-request.ts';
import { writeMessagesRequest } from './messages/write-request.ts';
import { readResponsesRequest } from './responses/read-request.ts';
import { createResponsesParser } from './responses/reply-parser.ts';
import { createResponsesWriter } from './responses/reply-writer.ts';
import { writeResponsesRequest } from './responses/write-request.ts';

export interface AskingDialect {
  readonly read: RequestReader;
  readonly createWriter: CreateReplyWriter;
}
export interface AskedDialect {
  readonly write: RequestWriter;
  readonly createParser: CreateReplyParser;
  /** The path and query that a native caller would ask. */
  readonly path: string;
  readonly query: string;
}

export const ASKING: ReadonlyMap<Endpoint, AskingDialect> = new Map<Endpoint, AskingDialect>([
  ['chat.completions', { read: readChatRequest, createWriter: createChatWriter }],
  ['responses', { read: readResponsesRequest, createWriter: createResponsesWriter }],
  ['messages', { read: readMessagesRequest, createWriter: createMessagesWriter }],
  ['generateContent', { read: readGeminiRequest, createWriter: createGeminiWriter }],
  ['streamGenerateContent', { read: readGeminiRequest, createWriter: createGeminiWriter }],
]);

const chat: AskedDialect = {
  write: writeChatRequest,
  createParser: createChatParser,
  path: '/v1/chat/completions',
  query: '',
};
const responses: AskedDialect = {
  write: writeResponsesRequest,
  createParser: createResponsesParser,
  path: '/v1/responses',
  query: '',
};
const messages: AskedDialect = {
  write: writeMessagesRequest,
  createParser: createMessagesParser,
  path: '/v1/messages',
  query: '',
};
const gemini: AskedDialect = {
  write: writeGeminiRequest,
  createParser: createGeminiParser,
  path: '/v1beta/models',
  query: '',
};

export const ASKED: ReadonlyMap<Endpoint, AskedDialect> = new Map<Endpoint, AskedDialect>([
  ['chat.completions', chat],
  ['responses', responses],
  ['messages', messages],
  ['generateContent', gemini],
  ['streamGenerateContent', { ...gemini, query: 'alt=sse' }],
]);
