/**
 * What the request path needs of a runtime: a caller to answer and a relay to ask upstreams with. Both push bytes, with
 * backpressure, so that on Node nothing of a reply ever passes through a web stream.
 */
import type { UpstreamRequest } from '../../providers/provider.ts';

/** Where a reply goes, in order: head, chunks, then end or fail. */
export interface ReplySink {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False asks the sender to wait until `resume` was called on what it was given. */
  chunk(bytes: Uint8Array): boolean;
  end(): void;
  /** The reply broke off: nothing more comes. */
  fail(error: unknown): void;
}

/** Held by a sink's owner to make a waiting sender go on. */
export interface Flow {
  resume(): void;
}

/** Why an upstream gave no whole reply. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  readonly kind: 'unreachable' | 'timeout' | 'broken' | 'aborted';
  constructor(kind: UpstreamFailure['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Sends one request to an upstream. Redirects are answers, never followed. */
export interface Relay {
  /**
   * Pushes the reply into `sink`. A failure before the head or after it comes as `sink.fail(UpstreamFailure)`.
   * The returned flow resumes the reply after `chunk` answered false.
   */
  send(request: UpstreamRequest, sink: ReplySink, signal: AbortSignal): Flow;
}

/** The one who asks: an HTTP request and the way to answer it. */
export interface Caller {
  readonly method: string;
  /** The path as it was sent, without query. */
  readonly path: string;
  /** Every header line in order, names lower case, repeats apart. */
  readonly headers: readonly (readonly [string, string])[];
  /** The whole body; `too_large` as soon as it is known to be more than `bytesMax`; `gone` when the caller left. */
  body(bytesMax: number): Promise<Uint8Array | 'too_large' | 'gone'>;
  readonly reply: CallerReply;
}

export interface CallerReply {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False when the caller reads slower than bytes come: wait for `onDrain`. */
  write(bytes: Uint8Array): boolean;
  end(): void;
  /** Breaks the connection after what was written has gone out: never a clean end. */
  break(): void;
  /** Called whenever the caller can take bytes again. */
  onDrain(resume: () => void): void;
  /** Called once if the caller leaves before the end. */
  onGone(left: () => void): void;
}
