/**
 * What the request path needs of a runtime: a caller to answer and a relay to ask upstreams with. Both push bytes, with
 * backpressure, so that on Node nothing of a reply ever passes through a web stream.
 */
import type { UpstreamRequest } from '../../providers/provider.ts';

/** Where an upstream's reply goes, in order: head, chunks, then end or fail. */
export interface ReplySink {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False asks the sender to wait until `Flow.resume`. */
  chunk(bytes: Uint8Array): boolean;
  end(): void;
  /** There is no reply, or it broke off: nothing more comes. */
  fail(error: UpstreamFailure): void;
}

/** Held by a sink's owner: makes a waiting sender go on, or stop for good. */
export interface Flow {
  resume(): void;
  /** Closes the upstream connection; the sink hears nothing more. */
  abort(): void;
  /** Whether the request has begun to go out, as far as the sender can tell: what may have been read may cost. */
  sent(): boolean;
}

/** Why an upstream gave no whole reply. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  /**
   * `unreachable`: nothing was sent. `timeout`: silent for too long. `broken`: the reply broke off. `stopped`: the gateway
   * itself is on its way out.
   */
  readonly kind: 'unreachable' | 'timeout' | 'broken' | 'stopped';
  constructor(kind: UpstreamFailure['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** How long an upstream is waited for, milliseconds. A runtime that cannot tell a connection from its head has no `connectMs`. */
export interface Timeouts {
  readonly connectMs: number;
  /** Until the reply's head. */
  readonly firstByteMs: number;
  /** Between two pieces of the reply. */
  readonly idleMs: number;
  /** Until its end. */
  readonly totalMs: number;
}

/** Sends one request to an upstream and pushes the reply into `sink`. Redirects are answers, never followed. */
export interface Relay {
  send(request: UpstreamRequest, sink: ReplySink, timeouts: Timeouts): Flow;
}

/** The one who asks: an HTTP request and the way to answer it. */
export interface Caller {
  readonly method: string;
  /** The path as it was sent, without query. */
  readonly path: string;
  /** The query as it was sent, without its question mark; empty when there is none. */
  readonly query: string;
  /** Every header line in order: name in lower case, value, name, value, ... Repeats stand apart. */
  readonly headers: readonly string[];
  /** The whole body; `too_large` as soon as it is known to pass `bytesMax`; `gone` when the caller left before its end. */
  body(bytesMax: number): Promise<Uint8Array | 'too_large' | 'gone'>;
  readonly reply: CallerReply;
}

export interface CallerReply {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False when the caller reads slower than bytes come: wait for what `onDrain` was given. */
  write(bytes: Uint8Array): boolean;
  end(): void;
  /** Breaks the connection once what was written has gone out: never a clean end. */
  break(): void;
  /** Called whenever the caller can take bytes again. */
  onDrain(resume: () => void): void;
  /** Called once if the caller leaves before the end; at once if he has already left. */
  onGone(left: () => void): void;
}
