/**
 * What a provider is: a pure translation between a call and one upstream exchange. No fetch, no environment, no clock.
 *
 * Words: a *provider* is a vendor adapter (this interface); an *upstream* is an endpoint with a credential, from the
 * operator's configuration only; an *exchange* is one request to an upstream and the reader of its reply.
 */
import type { FormScan } from '../src/usage/form-scanner.ts';
import type { JsonObjectScan } from '../src/usage/json-scanner.ts';
import type { Metered } from '../src/usage/usage.ts';

/** What a caller may ask of a provider. What the gateway must know of each is in src/gateway/endpoints.ts. */
export type Endpoint =
  | 'chat.completions'
  | 'completions'
  | 'responses'
  | 'responses.compact'
  | 'responses.input_tokens'
  | 'embeddings'
  | 'moderations'
  | 'images.generations'
  | 'images.edits'
  | 'audio.speech'
  | 'audio.transcriptions'
  | 'audio.translations'
  | 'messages'
  | 'messages.count_tokens'
  | 'generateContent'
  | 'streamGenerateContent'
  | 'embedContent'
  | 'batchEmbedContents'
  | 'countTokens'
  | 'interactions';

export interface Upstream {
  /** The configured provider's name: the part before the slash in a billed model. */
  readonly name: string;
  /** The adapter's kind: `openai`, `openai-compatible`, ... */
  readonly type: string;
  /** No trailing slash. */
  readonly baseUrl: string;
  readonly apiKey: string | null;
  /** Whether `stream_options.include_usage` may be asked for; false where the upstream is known to refuse it. */
  readonly asksUsage: boolean;
}

/** The caller's request as far as the gateway has read it. The body is spliced, never rebuilt. */
export interface ProviderCall {
  readonly endpoint: Endpoint;
  /** The model's name as the upstream knows it. */
  readonly model: string;
  readonly stream: boolean;
  readonly body: Uint8Array;
  /** The top level of `body`: where each member's value lies. Empty where the body is a form. */
  readonly scan: JsonObjectScan;
  /** Where the body is a multipart form: its parts, and the caller's Content-Type, which names the boundary. */
  readonly form?: (FormScan & { readonly contentType: string }) | undefined;
  /** The caller's path, and its query without the question mark: some dialects carry a version or an option there. */
  readonly path: string;
  readonly query: string;
  /** The caller's headers that may travel on, lower case; credentials and hop-by-hop headers are already gone. */
  readonly headers: Readonly<Record<string, string>>;
  /** The call's id and its first moment: a translated reply is given them where the provider's has none. */
  readonly id?: string | undefined;
  readonly startedAtMs?: number | undefined;
}

export interface UpstreamRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Pieces to be sent one after the other: a spliced body is not copied. */
  readonly body: readonly Uint8Array[] | null;
}

export interface UpstreamHead {
  readonly status: number;
  /** Lower-case names; a repeated header is joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body's first bytes, once they are there: what they show comes before what the headers say. */
  readonly begins?: Uint8Array | undefined;
}

/** One request to an upstream and how to read what comes back. */
export interface Exchange {
  readonly request: UpstreamRequest;
  /** True when the gateway asked for usage that the caller had not asked for. */
  readonly addedUsageOption: boolean;
  /** True when the request asks for usage, by whomever's wish: an upstream that refuses that can be asked again without. */
  readonly sendsUsageOption?: boolean | undefined;
  read(head: UpstreamHead): ResponseReader;
}

/**
 * Reads a reply as it goes past. `write` answers the bytes the caller may have now; what must wait for the settlement
 * (a stream's terminal marker, a whole JSON body) stays inside until `end`.
 *
 * Concatenating everything `write` and `end` returned gives the upstream's bytes unchanged, less a withheld usage chunk.
 */
export interface ResponseReader {
  /** True for a reply that is forwarded as it comes; false for one held whole until it is settled. */
  readonly streams: boolean;
  /** True once the terminal marker was seen: the call can be settled although the connection is still open. */
  readonly terminal: boolean;
  /**
   * Asked after the last byte: whether the reply is whole by its dialect's own signs (a terminal marker, or where vendors
   * leave that out a reason to stop). False for a stream that merely ended, or whose last word is an error, and for a
   * reply that was to be JSON and is not.
   */
  readonly complete: boolean;
  /** Of a stream, once something came: whether that was an error, and no event or comment before it. Undefined where a reader does not look. */
  readonly opensWithError?: boolean | undefined;
  /** An error has come. Undefined where a reader does not look. */
  readonly failed?: boolean | undefined;
  /** Asked where the connection broke: the bytes so far show by themselves that none is missing. Without it, they do not. */
  readonly endsItself?: boolean;
  /** Throws `ReplyTooLarge` past the reader's own bounds. */
  write(chunk: Uint8Array): readonly Uint8Array[];
  /** After the last chunk, or at the terminal marker: everything still held. May be called again after more writes. */
  end(): readonly Uint8Array[];
  /** The usage known so far. */
  metered(): Metered;
  /** The head of the caller's reply where it is not the upstream's own; of a reply held whole, asked after its end. */
  head?(): UpstreamHead;
  /** An error as it can be written into this reply where it broke off; undefined: as an event of the dialect. */
  errorFrame?(error: string): string | undefined;
  /** The tokens generated so far by our own count, for a reply whose provider says nothing. */
  estimate(): { readonly outputTokens: number; readonly deltas: number };
}

/** What can be asked of a response that a provider keeps. */
export interface StoredAsk {
  readonly kind: 'retrieve' | 'delete' | 'cancel' | 'input_items';
  /** The provider's id of the response: letters, digits, dashes and underscores. */
  readonly id: string;
  /** The caller's query without its question mark. */
  readonly query: string;
  /** The caller's headers that may travel on. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Provider {
  /** The kind, as in the configuration's `type`. */
  readonly type: string;
  readonly endpoints: readonly Endpoint[];
  /** Where a conversation of another dialect is taken to, translated, best first; empty for nowhere. */
  readonly conversational: readonly Endpoint[];
  prepare(call: ProviderCall, upstream: Upstream): Exchange;
  /** Asks about a response that was made here before; undefined where the provider keeps none. */
  readonly askStored?: ((ask: StoredAsk, upstream: Upstream) => Exchange) | undefined;
  /** The request for the upstream's list of models. */
  listModels(upstream: Upstream): UpstreamRequest;
  /** The ids in that list's body; undefined when it is no such list. */
  modelIds(body: string): readonly string[] | undefined;
  /** Input tokens of the request by our own count, for a reply whose provider says nothing. Asked only then. */
  estimateInput(call: ProviderCall): number;
  /** Input tokens that the request surely has: for a call that a crash cut, where no more than the evidence is billed. */
  leastInput(call: ProviderCall): number;
}
