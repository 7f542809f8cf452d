/**
 * What a dialect brings to translation. Each of its folders has these parts: `read-request.ts` and `write-request.ts`
 * for what is asked, `reply-parser.ts` and `reply-writer.ts` for what is answered.
 */
import type { ProviderCall, UpstreamHead } from '../provider.ts';
import type { Conversation } from './conversation.ts';
import type { ReplyParser, ReplyWriter } from './reply.ts';

/** The caller's request; `model` and `stream` are in the call. Throws `Untranslatable`. */
export type RequestReader = (call: ProviderCall) => Conversation;

/** The request's body as JSON, for the model that is asked. Throws `Untranslatable`. */
export type RequestWriter = (conversation: Conversation, model: string) => Readonly<Record<string, unknown>>;

export interface ParserOptions {
  /** The reply is an event stream; otherwise one JSON body. */
  readonly stream: boolean;
  /** A status of 400 or more is an error's: one `error` event is all there is. A `date` header tells the time. */
  readonly head: UpstreamHead;
}
export type CreateReplyParser = (options: ParserOptions) => ReplyParser;

export interface WriterOptions {
  /** The caller asked for an event stream; an error that is the whole reply is one JSON body all the same. */
  readonly stream: boolean;
  /** A chat stream tells its usage in a chunk of its own only where the caller asked for one. */
  readonly includeUsage: boolean;
  /** The request, for dialects that repeat parts of it in their reply. */
  readonly conversation: Conversation;
}
export type CreateReplyWriter = (options: WriterOptions) => ReplyWriter;
