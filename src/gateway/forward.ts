/**
 * Step 4: the provider is asked, and its reply goes past: bytes to the caller as they come, the count to the settlement.
 *
 * What says "complete" (a stream's terminal marker, with what came in the same read; a whole JSON body) waits until the call
 * is settled; no other content waits. A caller who leaves does not stop the count: the upstream is read to its end, unless
 * the policy says cancel.
 */
import type { ResponseReader } from '../../providers/provider.ts';
import type { Refusal } from '../errors.ts';
import type { Outcome } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import type { Failure } from './attempts.ts';
import { type Call, NO_HEAD, type PreparedCall, timeoutsOf } from './call.ts';
import { type Checkpoints, createCheckpoints } from './checkpoints.ts';
import { replyHeaders, undecoded } from './headers.ts';
import type { Attempts } from './next-attempt.ts';
import type { CallerReply, Flow, Relay, ReplySink, UpstreamFailure } from './ports.ts';
import {
  cleared,
  endedShort,
  errorInStream,
  isErrorAlone,
  opensWithError,
  refusesUsageOption,
  sendRefusal,
  textOf,
  unwritten,
  upstreamError,
  withoutSecret,
} from './reply-errors.ts';
import { billHeaders, callHeaders } from './reply-headers.ts';
import type { Bill, Ending, Settler } from './settle.ts';

export interface ForwardOptions {
  readonly relay: Relay;
  readonly settler: Settler;
  readonly runtime: Runtime;
  /** What happens to the upstream when the caller leaves: read to its end, or closed at once. */
  readonly onDisconnect: 'drain' | 'cancel';
  /** What is done about an attempt that failed. */
  readonly attempts: Attempts;
  /** Told once, when the call's books are closed or could not be. */
  readonly done: () => void;
}

/** After its end marker an upstream gets this long to end its reply, in milliseconds; then it is ended without the upstream. */
const END_GRACE_MS = 1_000;

/** Asks the call's upstream and answers the caller. Everything after this happens by events. */
export function forward(prepared: PreparedCall, reply: CallerReply, options: ForwardOptions): void {
  new Forwarding(prepared, reply, options).ask(prepared);
}

class Forwarding implements ReplySink {
  #prepared: PreparedCall;
  readonly #reply: CallerReply;
  readonly #options: ForwardOptions;
  #flow: Flow | undefined;
  #reader: ResponseReader | undefined;
  /** What waits for the settlement. */
  #held: readonly Uint8Array[] = [];
  /** Content that came in one read with the terminal marker: it goes out before what is held, in one write with it. */
  #last: Uint8Array[] = [];
  #attempt = 0;
  #upstreamHead = NO_HEAD;
  #firstByteAtMs: number | undefined;
  /** The first piece has come that belongs to the caller: from then on no other attempt can take this one's place. */
  #begun = false;
  readonly #checkpoint: Checkpoints;
  /** The caller has the head of a stream: what goes wrong from now on is told in it. */
  #headSent = false;
  /** The reply ended well, but nothing was in it. */
  #cameEmpty = false;
  /** The caller left and the policy was to cancel, when the provider had been asked. */
  #cancelled = false;
  #callerLeft = false;
  #settling = false;
  #settled = false;
  #upstreamEnded = false;
  #cancelGrace: (() => void) | undefined;

  constructor(prepared: PreparedCall, reply: CallerReply, options: ForwardOptions) {
    this.#prepared = prepared;
    this.#reply = reply;
    this.#options = options;
    this.#checkpoint = createCheckpoints(prepared.call, options);
    reply.onDrain(() => this.#flow?.resume());
    reply.onGone(() => this.#left());
  }

  get #call(): Call {
    return this.#prepared.call;
  }

  get #status(): number {
    return this.#upstreamHead.status;
  }

  ask(prepared: PreparedCall): void {
    // The caller left while he was admitted and the policy is to cancel: the books are closed, so nobody is asked.
    if (this.#settling) return;
    this.#attempt += 1;
    this.#prepared = prepared;
    const timeouts = timeoutsOf(prepared.call, this.#attempt, this.#options.runtime.now);
    this.#flow = this.#options.relay.send(prepared.exchange.request, this, timeouts);
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#upstreamHead = { status, headers };
    if (status >= 300 && status < 400) {
      this.#flow?.abort();
      this.#failed(this.#answered(), upstreamError(this.#call, `answered with a redirect (${status})`));
      return;
    }
    this.#reader = this.#prepared.exchange.read(this.#upstreamHead);
    const encoding = undecoded(headers);
    if (encoding !== undefined)
      this.#cannotBeRead(`sent a reply encoded as "${encoding}", which cannot be read`);
  }

  chunk(bytes: Uint8Array): boolean {
    const reader = this.#firstByteAtMs === undefined ? this.#readFrom(bytes) : this.#reader;
    if (reader === undefined) return true;
    let flowing = true;
    try {
      const pieces = cleared(reader, reader.write(bytes), this.#call);
      if (!this.#begun && opensWithError(reader, pieces) && this.#another({ kind: 'failed_stream' }))
        return true;
      if (reader.terminal && reader.complete && !this.#settled) this.#last.push(...pieces);
      else for (const piece of pieces) flowing = this.#toCaller(piece);
    } catch (error) {
      this.#cannotBeRead(`sent a reply that cannot be read: ${String(error)}`);
      return true;
    }
    if (reader.terminal) {
      this.#hold();
      if (this.#settled) this.#release();
      else if (!this.#settling) this.#terminated(reader);
      // Behind the end marker: it waits where it comes from until the books are closed.
      else return false;
    } else if (reader.streams) {
      this.#checkpoint(this.#call, reader, this.#attempt);
    }
    return flowing;
  }

  /** Of a reply's first bytes: they may show that it is not what its head says. */
  #readFrom(begins: Uint8Array): ResponseReader | undefined {
    if (this.#reader === undefined) return undefined;
    this.#firstByteAtMs = this.#options.runtime.now();
    return (this.#reader = this.#prepared.exchange.read({ ...this.#upstreamHead, begins }));
  }

  /** The end marker is there. It ends nothing well where translation had to tell the caller an error before it. */
  #terminated(reader: ResponseReader): void {
    if (reader.complete || !reader.streams) return this.#settle();
    this.#flow?.abort();
    this.#upstreamEnded = true;
    this.#failed({ kind: 'failed_stream' }, upstreamError(this.#call, 'sent a stream that failed'));
  }

  end(): void {
    this.#upstreamEnded = true;
    this.#hold();
    if (this.#settled) this.#finish();
    else if (!this.#settling) this.#endedUnsettled();
  }

  fail(error: UpstreamFailure): void {
    this.#upstreamEnded = true;
    // After the terminal marker the reply is whole, however the connection ended.
    if (this.#settled) return this.#finish();
    if (this.#settling) return;
    if (this.#reader?.endsItself === true) return this.end();
    const code = error.kind === 'timeout' ? 'upstream_timeout' : 'upstream_error';
    const failure = this.#status >= 400 ? this.#answered() : { kind: error.kind };
    this.#failed(failure, upstreamError(this.#call, error.message, code));
  }

  #endedUnsettled(): void {
    if (this.#status >= 400) {
      if (!this.#another(this.#answered())) this.#settle();
      return;
    }
    this.#cameEmpty = this.#firstByteAtMs === undefined;
    if (this.#isError()) {
      if (!this.#another({ kind: 'failed_stream' })) this.#settle();
      return;
    }
    const broken = this.#cameEmpty ? 'sent a reply without a byte of body' : endedShort(this.#reader);
    if (broken === undefined) this.#settle();
    else this.#failed({ kind: 'broken' }, upstreamError(this.#call, broken));
  }

  /** The upstream's answer as a failure. Its word against being asked for usage can be helped, whoever asked. */
  #answered(): Failure {
    const text = textOf(this.#held);
    if (this.#prepared.exchange.sendsUsageOption === true && refusesUsageOption(this.#status, text))
      return { kind: 'usage_option' };
    return { kind: 'answered', ...this.#upstreamHead, text };
  }

  /** The reply is an error, by its status or by all that it says. */
  #isError(): boolean {
    return this.#status >= 400 || isErrorAlone(this.#reader, this.#held);
  }

  #cannotBeRead(what: string): void {
    this.#flow?.abort();
    if (this.#settling) return;
    this.#failed({ kind: 'unreadable' }, upstreamError(this.#call, what));
  }

  #failed(failure: Failure, refusal: Refusal): void {
    if (!this.#another(failure)) this.#refuse('upstream_broke', refusal);
  }

  /** Puts another attempt in the place of this one; false where none may follow, so that it is the call's own end. */
  #another(failure: Failure): boolean {
    const last = this.#begun || this.#callerLeft || this.#settling;
    const ending = this.#ending('upstream_broke');
    const next = this.#options.attempts.after({ prepared: this.#prepared, failure, ending, last });
    if (next === undefined) return false;
    this.#flow?.abort();
    this.#flow = undefined;
    this.#reader = undefined;
    this.#held = [];
    this.#upstreamHead = NO_HEAD;
    this.#firstByteAtMs = undefined;
    this.#upstreamEnded = false;
    this.#cameEmpty = false;
    const asked = next.recorded.then(
      () => void this.#options.runtime.after(next.waitMs, () => this.#askAgain(next.prepared)),
      (error: unknown) => this.#refuse('gateway_refused', unwritten(error)),
    );
    this.#options.runtime.defer(asked);
    return true;
  }

  #askAgain(prepared: PreparedCall): void {
    // Nobody waits for it any more, so nobody is to pay for it.
    if (this.#callerLeft && !this.#settling)
      this.#refuse('caller_left', upstreamError(this.#call, 'was left'));
    else this.ask(prepared);
  }

  /** Closes the books on a reply that ran to its end, then lets the caller have the rest of it. */
  #settle(): void {
    this.#settling = true;
    const failed = this.#isError() || (this.#reader?.head?.().status ?? 0) >= 400;
    if (!failed) this.#options.attempts.worked(this.#call.target);
    const outcome: Outcome = failed ? 'upstream_broke' : this.#callerLeft ? 'caller_left' : 'finished';
    const ending = this.#ending(outcome);
    const measured = this.#options.settler.measure(this.#call, ending);
    if (measured.refused) {
      this.#refuse(
        'gateway_refused',
        upstreamError(this.#call, 'reported no usage, and nothing is served uncounted here'),
      );
      return;
    }
    const settled = this.#options.settler.settle(this.#call, ending, measured).then(
      (bill) => {
        this.#settled = true;
        this.#options.done();
        this.#complete(bill);
      },
      (error: unknown) => this.#answer(unwritten(error)),
    );
    this.#options.runtime.defer(settled);
  }

  /** The caller may have the rest: the books are closed. */
  #complete(bill: Bill): void {
    if (this.#isError()) this.#held = withoutSecret(this.#held, this.#call.target.route.upstream.apiKey);
    if (this.#callerLeft) {
      this.#flow?.abort();
    } else if (this.#reader?.streams === true) {
      this.#begin();
      this.#release();
      if (this.#upstreamEnded) this.#finish();
      else this.#finishSoon();
    } else {
      const length = this.#held.reduce((sum, piece) => sum + piece.length, 0);
      this.#sendHead({ ...billHeaders(bill), 'content-length': String(length) });
      this.#finish();
    }
  }

  /** The reader is told that nothing more belongs to the reply, and gives what it kept back. */
  #hold(): void {
    const reader = this.#reader;
    if (reader !== undefined) this.#held = [...this.#held, ...cleared(reader, reader.end(), this.#call)];
  }

  #release(): void {
    for (const piece of [...this.#last, ...this.#held]) this.#toCaller(piece);
    this.#last = [];
    this.#held = [];
  }

  /** The reply is whole but for what an upstream may send behind its end marker; some keep the connection open for minutes. */
  #finishSoon(): void {
    this.#flow?.resume();
    this.#cancelGrace = this.#options.runtime.after(END_GRACE_MS, () => {
      this.#flow?.abort();
      this.#finish();
    });
  }

  #finish(): void {
    this.#cancelGrace?.();
    if (this.#callerLeft) return;
    this.#release();
    this.#reply.end();
  }

  /** The reply cannot be given whole: what was seen is billed, and the caller is told in his dialect. */
  #refuse(outcome: Outcome, refusal: Refusal): void {
    this.#settling = true;
    const ending = this.#ending(this.#callerLeft && outcome === 'upstream_broke' ? 'caller_left' : outcome);
    const { settler } = this.#options;
    const settled = settler.settle(this.#call, ending, settler.measure(this.#call, ending)).then(
      () => this.#answer(refusal),
      (error: unknown) => this.#answer(unwritten(error)),
    );
    this.#options.runtime.defer(settled);
  }

  #answer(refusal: Refusal): void {
    this.#options.done();
    this.#flow?.abort();
    if (this.#callerLeft) return;
    // It is charged, now or when it can be written, so the caller has it.
    if (this.#last.length > 0) this.#begin();
    if (this.#headSent && this.#reader !== undefined) {
      // The provider's own error has gone out, or goes now: another word after it would only confuse.
      const told = this.#upstreamEnded && this.#reader.metered().failed === true;
      if (!told) this.#held = [errorInStream(refusal, this.#call, this.#reader)];
      this.#release();
      this.#reply.break();
      return;
    }
    sendRefusal(this.#reply, refusal, this.#call);
  }

  #left(): void {
    this.#callerLeft = true;
    this.#options.runtime.log('info', 'caller_left', { request_id: this.#call.id });
    this.#cancelGrace?.();
    if (this.#settled) return this.#flow?.abort();
    if (this.#options.onDisconnect === 'drain') return this.#flow?.resume();
    if (this.#settling) return;
    this.#cancelled = this.#flow?.sent() === true;
    this.#flow?.abort();
    this.#refuse('caller_left', upstreamError(this.#call, 'was cancelled'));
  }

  #toCaller(piece: Uint8Array): boolean {
    if (!this.#begun) this.#begin();
    return this.#callerLeft ? true : this.#reply.write(piece);
  }

  /** The reply's first piece is there. A stream's head waits for it, so that until then another attempt can be made. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    if (this.#status < 400) this.#options.attempts.worked(this.#call.target);
    if (this.#callerLeft || this.#reader?.streams !== true) return;
    this.#headSent = true;
    this.#sendHead({});
  }

  #sendHead(more: Readonly<Record<string, string>>): void {
    const { status, headers } = this.#reader?.head?.() ?? this.#upstreamHead;
    const own = status < 400 || this.#status >= 400 ? {} : { 'x-faregate-error': 'upstream_error' };
    this.#reply.head(status, { ...replyHeaders(headers), ...callHeaders(this.#call), ...own, ...more });
  }

  #ending(outcome: Outcome): Ending {
    return {
      outcome,
      status: this.#upstreamHead === NO_HEAD ? null : this.#status,
      // Of a reply that ended without a byte nothing shows that the provider did anything for it.
      reader: this.#cameEmpty ? undefined : this.#reader,
      firstByteAtMs: this.#firstByteAtMs,
      attempt: this.#attempt,
      cancelled: this.#cancelled,
    };
  }
}
