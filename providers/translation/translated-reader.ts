/**
 * Reads a reply of one dialect and gives it in another. The provider's own reader sees every byte first: what it meters
 * and when it calls the reply complete stands. Content is told as it comes; the end waits for the settlement.
 */
import type { Metered } from '../../src/usage/usage.ts';
import type { ProviderCall, ResponseReader, UpstreamHead } from '../provider.ts';
import type { CreateReplyParser, CreateReplyWriter } from './dialect.ts';
import type { ReplyContext, ReplyError, ReplyEvent, ReplyParser, ReplyWriter } from './reply.ts';

export interface TranslatedReply {
  readonly head: UpstreamHead;
  /** The provider's own reader of the reply. */
  readonly reader: ResponseReader;
  /** The caller's request. */
  readonly call: ProviderCall;
  readonly dialects: {
    readonly createParser: CreateReplyParser;
    readonly createWriter: CreateReplyWriter;
    readonly context: ReplyContext;
  };
}

export class TranslatedReader implements ResponseReader {
  readonly streams: boolean;
  readonly #head: UpstreamHead;
  readonly #native: ResponseReader;
  readonly #parser: ReplyParser;
  #writer: ReplyWriter;
  readonly #createWriter: (stream: boolean) => ReplyWriter;
  /** Written as a stream, though it may be held whole where the provider did not stream. */
  readonly #eventStream: boolean;
  /** The stream is one JSON array. */
  readonly #jsonArray: boolean;
  #anyForwarded = false;
  #held: Uint8Array[] = [];
  /** The reply told its end. */
  #ended = false;
  #error: ReplyError | undefined;
  /** Nothing more of the upstream's bytes is told. */
  #closed = false;

  constructor({ head, reader, call, dialects }: TranslatedReply) {
    const { status } = head;
    this.#head = head;
    this.#native = reader;
    this.#eventStream = call.stream && status < 400;
    this.streams = reader.streams && this.#eventStream;
    const { callId, jsonArray } = dialects.context;
    this.#jsonArray = jsonArray === true;
    this.#parser = dialects.createParser({ stream: reader.streams, status, callId });
    this.#createWriter = (stream) => dialects.createWriter({ stream, context: dialects.context });
    this.#writer = this.#createWriter(this.#eventStream);
  }

  get terminal(): boolean {
    return this.#native.terminal;
  }

  get endsItself(): boolean {
    return this.#native.endsItself === true;
  }

  get failed(): boolean {
    return this.#error !== undefined;
  }

  /**
   * Also asked at the upstream's end marker: one that follows an error that the caller was told ends nothing well. What is
   * wrong with a reply that is held whole, its head says.
   */
  get complete(): boolean {
    return this.#native.complete && (!this.streams || (this.#ended && this.#error === undefined));
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#native.write(chunk);
    return this.#closed ? [] : this.#tell(this.#parser.write(chunk));
  }

  end(): readonly Uint8Array[] {
    this.#native.end();
    const told = this.#closed ? [] : this.#close();
    const held = this.#held;
    this.#held = [];
    return [...told, ...held];
  }

  /** A reply that could not be told is an error, whatever the upstream's status. */
  head(): UpstreamHead {
    const { status, headers } = this.#head;
    const failed = this.#error?.status ?? BAD_GATEWAY;
    return {
      status: status < 400 && !this.streams && this.#error !== undefined ? failed : status,
      headers: {
        ...Object.fromEntries(Object.entries(headers).filter(([name]) => TRAVELLING.has(name))),
        'content-type':
          this.#eventStream && !this.#jsonArray && (this.streams || this.#error === undefined)
            ? 'text/event-stream; charset=utf-8'
            : 'application/json',
      },
    };
  }

  /** An error where the stream broke off, behind what was kept back of it; where that is an array, as its last element. */
  errorFrame(error: string): string | undefined {
    const decoder = new TextDecoder();
    const kept = (this.#writer.unsaid?.() ?? []).map((piece) => decoder.decode(piece)).join('');
    if (!this.#jsonArray) return kept === '' ? undefined : `${kept}data: ${error}\n\n`;
    return `${kept}${this.#anyForwarded || kept !== '' ? ',\n' : '['}${error}\n]`;
  }

  metered(): Metered {
    const metered = this.#native.metered();
    return this.#error === undefined ? metered : { ...metered, failed: true };
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#native.estimate();
  }

  #close(): readonly Uint8Array[] {
    this.#closed = true;
    const told: Uint8Array[] = [];
    let message = BROKEN.message;
    try {
      told.push(...this.#tell(this.#parser.end()));
    } catch (error) {
      message = String(error);
    }
    // A stream that lacks its end is for the gateway to break; a whole reply is an error then.
    const broken = !this.streams && !this.#ended && this.#error === undefined;
    if (broken) told.push(...this.#tell([{ kind: 'error', error: { ...BROKEN, message } }]));
    return told;
  }

  #tell(events: readonly ReplyEvent[]): readonly Uint8Array[] {
    const forwarded: Uint8Array[] = [];
    for (const event of events) {
      if (event.kind === 'error' && !this.streams) this.#startOver();
      const bytes = this.#writer.write(event);
      this.#ended ||= event.kind === 'end';
      if (event.kind === 'error') this.#error = event.error;
      else if (this.#writer.failed === true) this.#error ??= UNTELLABLE;
      if (this.streams && !this.#ended) forwarded.push(...bytes);
      else this.#held.push(...bytes);
    }
    this.#anyForwarded ||= forwarded.length > 0;
    return forwarded;
  }

  /** Nothing of a reply that is held whole has gone out: an error is all of it then, and no stream of one event. */
  #startOver(): void {
    this.#held = [];
    this.#writer = this.#createWriter(false);
  }
}

const BAD_GATEWAY = 502;

/** Headers that mean the same in every dialect. */
const TRAVELLING: ReadonlySet<string> = new Set([
  'retry-after',
  'retry-after-ms',
  'x-should-retry',
  'cache-control',
]);

const errorOf = (message: string): ReplyError => ({
  status: BAD_GATEWAY,
  message,
  type: undefined,
  code: undefined,
  param: undefined,
});
const BROKEN = errorOf("The provider's reply broke off.");
/** The writer has told the caller what it was. */
const UNTELLABLE = errorOf("The provider's reply cannot be told in the caller's dialect.");
