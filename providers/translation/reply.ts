/**
 * What a reply says, whichever dialect says it: a sequence of `ReplyEvent`s, in the order they are to be told. A reader
 * turns one dialect's reply, streamed or whole, into events; a writer turns events into another's, streamed or whole. So
 * a whole reply and a streamed one pass through the same middle.
 *
 * Order: `start` once; then, for each choice, parts one after the other (`part` opens one and closes the choice's open
 * part; deltas belong to the open part), then that choice's `stop`; then `usage`, then `end` once. A reply that broke off
 * has no `end`. `error` may come at any moment and ends the reply; `usage` before it tells what is known to have been spent.
 *
 * How a vendor's proofs reach a caller of another dialect and come back is written in `proofs.ts`.
 */
import type { UsageLine } from '../../src/usage/usage.ts';
import type { Vendor } from './conversation.ts';

export type ReplyEvent =
  | {
      readonly kind: 'start';
      readonly id: string;
      readonly model: string;
      /** Unix time in seconds, where the vendor tells it. */
      readonly createdS: number | undefined;
      /** What the vendor tells of usage before it generates; the later `usage` stands. */
      readonly usage?: readonly UsageLine[] | undefined;
    }
  | { readonly kind: 'part'; readonly choice: number; readonly part: OpenedPart }
  /**
   * More of the open part: text, thought, refusal, or a tool call's arguments as JSON text, which are never empty in all:
   * `{}` where the model wrote none.
   */
  | {
      readonly kind: 'delta';
      readonly choice: number;
      readonly text: string;
      readonly logprobs?: readonly TokenLogprob[] | undefined;
    }
  /** The proof that goes with the open reasoning part; once, and whole. */
  | { readonly kind: 'signature'; readonly choice: number; readonly signature: string }
  /** The open reasoning part as only its vendor can read it; once, and whole. */
  | { readonly kind: 'sealed'; readonly choice: number; readonly sealed: string }
  | { readonly kind: 'citation'; readonly choice: number; readonly citation: Citation }
  | {
      readonly kind: 'stop';
      readonly choice: number;
      readonly reason: StopReason;
      /** The stop sequence that was met, where the vendor tells it. */
      readonly sequence?: string | undefined;
    }
  | {
      readonly kind: 'usage';
      readonly lines: readonly UsageLine[];
      readonly serviceTier?: string | undefined;
    }
  | { readonly kind: 'end' }
  | { readonly kind: 'error'; readonly error: ReplyError };

export type OpenedPart =
  | { readonly kind: 'text' }
  | {
      readonly kind: 'reasoning';
      /** Whose thought it is, and so who alone can use its proof. */
      readonly vendor: Vendor;
      readonly id?: string | undefined;
    }
  | { readonly kind: 'refusal' }
  | {
      readonly kind: 'tool_call';
      readonly id: string;
      readonly name: string;
      /** The vendor's proof that the model thought before it called (Gemini's `thoughtSignature`). */
      readonly signature?: string | undefined;
    }
  /** A picture or sound that the model made, whole. */
  | { readonly kind: 'media'; readonly mediaType: string; readonly base64: string };

export type StopReason =
  'end' | 'max_tokens' | 'tool_calls' | 'stop_sequence' | 'refusal' | 'content_filter' | 'pause';

export interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[] | null;
  readonly top: readonly {
    readonly token: string;
    readonly logprob: number;
    readonly bytes: readonly number[] | null;
  }[];
}
export interface Citation {
  readonly url: string;
  readonly title: string | undefined;
  /** Where in the open text part, in characters, when the vendor says it. */
  readonly start: number | undefined;
  readonly end: number | undefined;
}
/** A vendor's error, whether it was the whole reply (with its HTTP status) or came in mid-stream. */
export interface ReplyError {
  readonly status: number | undefined;
  /** The vendor's own words, as they stand. */
  readonly message: string;
  /** The vendor's own type and code, where it has them. */
  readonly type: string | undefined;
  readonly code: string | undefined;
  readonly param: string | undefined;
}

/** What is known of a reply before its first byte. */
export interface ReplyParserOptions {
  /** Whether the body is an event stream; else it is one JSON value. */
  readonly stream: boolean;
  /** The HTTP status: from 400 on, whatever the body, the reply is an `error`. */
  readonly status: number;
  /** Ids of tool calls are made from it where the dialect has none, so that they differ from call to call. */
  readonly callId: string;
}

/** Reads one reply of a dialect. Bytes that complete no event answer an empty list. */
export interface ReplyParser {
  /** Throws `ReplyTooLarge` past the parser's bounds. */
  write(chunk: Uint8Array): readonly ReplyEvent[];
  /** After the last byte. A reply that broke off answers what it can, without `end`. */
  end(): readonly ReplyEvent[];
}
/** What a writer must know beside the events. Plain data: a writer has no clock and draws nothing at random. */
export interface ReplyContext {
  /** The call's id: every id in the reply is made from it. */
  readonly callId: string;
  /** Said where the provider's reply names no model. */
  readonly model: string;
  /** Unix time in seconds; said where the provider's reply tells none. */
  readonly createdS: number;
  /** Whether the caller of a chat stream asked for the usage chunk (`stream_options.include_usage`). */
  readonly includeUsage: boolean;
  /** Gemini's stream is one JSON array where the caller did not ask for `alt=sse`. */
  readonly jsonArray?: boolean;
  /** The members of the request that a Responses object repeats (`tools`, `instructions`, `metadata`, …), as they came. */
  readonly echo: Readonly<Record<string, unknown>>;
}
export interface ReplyWriterOptions {
  readonly stream: boolean;
  readonly context: ReplyContext;
}

/**
 * Writes one reply of a dialect. For a stream every event may give bytes; for a whole reply only the last does.
 * What must wait until the call is settled (the dialect's terminal marker, a whole body) is given for `end` alone.
 */
export interface ReplyWriter {
  /** Whether what it wrote is an error; of its own making too, where the dialect has no word for what was said. */
  readonly failed?: boolean;
  /** Throws `ReplyTooLarge` when what it must remember is past its bound. */
  write(event: ReplyEvent): readonly Uint8Array[];
  /** What it kept back of a stream that breaks off. */
  unsaid?(): readonly Uint8Array[];
}
