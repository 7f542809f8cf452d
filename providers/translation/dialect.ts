/**
 * What a dialect brings to translation. Each of its folders has these parts: `read-request.ts` and `write-request.ts`
 * for what is asked, `reply-parser.ts` and `reply-writer.ts` for what is answered.
 */
import type { ProviderCall } from '../provider.ts';
import type { Conversation } from './conversation.ts';
import type { ReplyParser, ReplyParserOptions, ReplyWriter, ReplyWriterOptions } from './reply.ts';

/** The caller's request; `model` and `stream` are in the call. Throws `Untranslatable`. */
export type RequestReader = (call: ProviderCall) => Conversation;

/** The request's body as JSON, for the model that is asked. Throws `Untranslatable`. */
export type RequestWriter = (conversation: Conversation, model: string) => Readonly<Record<string, unknown>>;

export type CreateReplyParser = (options: ReplyParserOptions) => ReplyParser;

/** An error that is the whole reply (a status of 400 or more) is written by a writer that does not stream. */
export type CreateReplyWriter = (options: ReplyWriterOptions) => ReplyWriter;
