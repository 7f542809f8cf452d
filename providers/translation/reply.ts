/**
 * What a reply says, whichever dialect says it: a sequence of `ReplyEvent`s, in the order they are to be told. A reader
 * turns one dialect's reply, streamed or whole, into events; a writer turns events into another's, streamed or whole. So
 * a whole reply and a streamed one pass through the same middle.
 *
 * Order: `start` once; then, for each choice, parts one after the other (`part` opens one and closes the choice's open
 * part; deltas belong to the open part), then that choice's `stop`; then `usage`, possibly several times, the last
 * standing; then `end` once. `error` may come at any moment and ends the reply.
 */
import type { UsageLine } from '../../src/usage/usage.ts';

export type ReplyEvent =
  | {
      readonly kind: 'start';
      readonly id: string;
      readonly model: string;
      readonly createdS: number | undefined;
    }
  | { readonly kind: 'part'; readonly choice: number; readonly part: OpenedPart }
  /** More of the open part: text, thought, refusal, or a tool call's arguments as JSON text. */
  | { readonly kind: 'delta'; readonly choice: number; readonly text: string }
  /** Belongs to the open reasoning part or tool call. */
  | { readonly kind: 'signature'; readonly choice: number; readonly signature: string }
  | { readonly kind: 'logprobs'; readonly choice: number; readonly tokens: readonly TokenLogprob[] }
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
  | { readonly kind: 'reasoning'; readonly id?: string | undefined; readonly sealed?: string | undefined }
  | { readonly kind: 'refusal' }
  | { readonly kind: 'tool_call'; readonly id: string; readonly name: string }
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

/** Reads one reply of a dialect. Bytes that complete no event answer an empty list. */
export interface ReplyParser {
  write(chunk: Uint8Array): readonly ReplyEvent[];
  /** After the last byte. A reply that broke off answers what it can, without `end`. */
  end(): readonly ReplyEvent[];
}
/**
 * Writes one reply of a dialect. For a stream every event may give bytes; for a whole reply only the last does.
 * What must wait until the call is settled (the dialect's terminal marker, a whole body) is given for `end` alone.
 */
export interface ReplyWriter {
  write(event: ReplyEvent): readonly Uint8Array[];
}
