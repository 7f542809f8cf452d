/** The one table of dialects that are translated: who may ask in them, and who may be asked. */
import type { Endpoint } from '../provider.ts';
import { createChatParser } from './chat/reply-parser.ts';
import { createChatWriter } from './chat/reply-writer.ts';
import { readChatRequest } from './chat/read-request.ts';
import { writeChatRequest } from './chat/write-request.ts';
import type { CreateReplyParser, CreateReplyWriter, RequestReader, RequestWriter } from './dialect.ts';
import { createMessagesParser } from './messages/reply-parser.ts';
import { createMessagesWriter } from './messages/reply-writer.ts';
import { readMessagesRequest } from './messages/read-request.ts';
import { writeMessagesRequest } from './messages/write-request.ts';

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
  ['messages', { read: readMessagesRequest, createWriter: createMessagesWriter }],
]);

export const ASKED: ReadonlyMap<Endpoint, AskedDialect> = new Map<Endpoint, AskedDialect>([
  [
    'chat.completions',
    {
      write: writeChatRequest,
      createParser: createChatParser,
      path: '/v1/chat/completions',
      query: '',
    },
  ],
  [
    'messages',
    { write: writeMessagesRequest, createParser: createMessagesParser, path: '/v1/messages', query: '' },
  ],
]);
