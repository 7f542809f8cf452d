/**
 * Step 4: the provider is asked, and its reply goes past: bytes to the caller as they come, the count to the settlement.
 *
 * Content is never delayed. What says "complete" (a stream's terminal marker, a whole JSON body) waits until the call is
 * settled. A caller who leaves does not stop the count: the upstream is read to its end, unless the policy says cancel.
 */
import type { Exchange, ResponseReader } from '../../providers/provider.ts';
import { errorBody, Refusal, refusalReply } from '../errors.ts';
import { LedgerUnavailable, type Outcome } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { isBackground } from './background.ts';
import type { Call } from './call.ts';
import { replyHeaders, undecoded } from './headers.ts';
import type { CallerReply, Flow, Relay, ReplySink, UpstreamFailure } from './ports.ts';
import { billHeaders, callHeaders } from './reply-headers.ts';
import type { Bill, Ending, Settler } from './settle.ts';

export interface ForwardOptions {
  readonly relay: Relay;
  readonly settler: Settler;
  readonly runtime: Runtime;
  /** What happens to the upstream when the caller leaves: read to its end, or closed at once. */
  readonly onDisconnect: 'drain' | 'cancel';
  /** Told when an upstream refused the option that asks for usage: it is not asked again. */
  readonly usageOptionRefused: (call: Call) => void;
  /** Told once, when the call's books are closed or could not be. */
  readonly done: () => void;
}

/** Evidence for a crash is written this often, in milliseconds, while a reply streams. */
const CHECKPOINT_EVERY_MS = 250;

/** After its end marker an upstream gets this long to end its reply, in milliseconds; then it is ended without the upstream. */
const END_GRACE_MS = 1_000;

/** Asks the call's upstream and answers the caller. Everything after this happens by events. */
export function forward(prepared: PreparedCall, reply: CallerReply, options: ForwardOptions): void {
  new Forwarding(prepared.call, reply, options).ask(prepared.exchange);
}

/** A call and what its upstream will be asked. Made before the call is opened: nothing can fail between record and question. */
export interface PreparedCall {
  readonly call: Call;
  readonly exchange: Exchange;
}

export function prepare(call: Call): PreparedCall {
  const { upstream, provider } = call.target.route;
  return { call, exchange: provider.prepare(call.request, upstream) };
}

const withoutUsageOption = ({ request, target: { route } }: Call): Exchange =>
  route.provider.prepare(request, { ...route.upstream, asksUsage: false });

class Forwarding implements ReplySink {
  readonly #call: Call;
  readonly #reply: CallerReply;
  readonly #options: ForwardOptions;
  #exchange: Exchange | undefined;
  #flow: Flow | undefined;
  #reader: ResponseReader | undefined;
  /** What waits for the settlement. */
  #held: Uint8Array[] = [];
  #attempt = 0;
  #status: number | null = null;
  #upstreamHeaders: Readonly<Record<string, string>> = {};
  #firstByteAtMs: number | undefined;
  #checkpointedAtMs: number;
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

  constructor(call: Call, reply: CallerReply, options: ForwardOptions) {
    this.#call = call;
    this.#reply = reply;
    this.#options = options;
    this.#checkpointedAtMs = call.startedAtMs;
    reply.onDrain(() => this.#flow?.resume());
    reply.onGone(() => this.#left());
  }

  ask(exchange: Exchange): void {
    // The caller left while he was admitted and the policy is to cancel: the books are closed, so nobody is asked.
    if (this.#settling) return;
    this.#attempt += 1;
    this.#exchange = exchange;
    this.#flow = this.#options.relay.send(exchange.request, this);
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#status = status;
    this.#upstreamHeaders = headers;
    if (status >= 300 && status < 400) {
      this.#flow?.abort();
      this.#refuse('upstream_broke', upstreamError(this.#call, `answered with a redirect (${status})`));
      return;
    }
    if (status === 204 || status === 205) {
      this.#flow?.abort();
      this.#refuse('upstream_broke', upstreamError(this.#call, `answered ${status}, which has no reply`));
      return;
    }
    this.#reader = this.#exchange?.read({ status, headers });
    const encoding = undecoded(headers);
    if (encoding !== undefined) {
      this.#flow?.abort();
      const what = `sent a reply encoded as "${encoding}", which cannot be read`;
      this.#refuse('upstream_broke', upstreamError(this.#call, what));
    } else if (this.#reader?.streams === true && !this.#callerLeft) {
      this.#headSent = true;
      const head = this.#reader.head?.() ?? { status, headers };
      this.#reply.head(head.status, { ...replyHeaders(head.headers), ...callHeaders(this.#call) });
    }
  }

  chunk(bytes: Uint8Array): boolean {
    const reader = this.#reader;
    if (reader === undefined) return true;
    this.#firstByteAtMs ??= this.#options.runtime.now();
    let flowing = true;
    try {
      for (const piece of reader.write(bytes)) flowing = this.#toCaller(piece);
    } catch (error) {
      this.#flow?.abort();
      this.#refuse(
        'upstream_broke',
        upstreamError(this.#call, `sent a reply that cannot be read: ${String(error)}`),
      );
      return true;
    }
    if (reader.terminal) {
      this.#hold();
      if (this.#settled) this.#release();
      else if (!this.#settling) this.#settle();
    } else if (reader.streams) {
      this.#checkpoint(reader);
    }
    return flowing;
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
    const code = error.kind === 'timeout' ? 'upstream_timeout' : 'upstream_error';
    this.#refuse('upstream_broke', upstreamError(this.#call, error.message, code));
  }

  #endedUnsettled(): void {
    if (this.#status === 400 && this.#exchange?.addedUsageOption === true && this.#refusesUsageOption()) {
      this.#options.usageOptionRefused(this.#call);
      this.#reader = undefined;
      this.#held = [];
      this.#firstByteAtMs = undefined;
      this.#status = null;
      this.#upstreamEnded = false;
      this.ask(withoutUsageOption(this.#call));
      return;
    }
    const broken = this.#endedShort();
    if (broken === undefined) this.#settle();
    else this.#refuse('upstream_broke', upstreamError(this.#call, broken));
  }

  /** What a success that ended lacks, although its connection ended well. */
  #endedShort(): string | undefined {
    if (this.#status === null || this.#status >= 300) return undefined;
    this.#cameEmpty = this.#firstByteAtMs === undefined;
    if (this.#cameEmpty) return 'sent a reply without a byte of body';
    const whole = this.#reader?.streams !== true || this.#reader.complete;
    return whole ? undefined : 'ended its stream without its end marker';
  }

  /** Whether the upstream's 400 speaks of the option we added: then it is asked again without. */
  #refusesUsageOption(): boolean {
    const body = this.#held.map((piece) => new TextDecoder().decode(piece)).join('');
    return /stream_options|include_usage/.test(body);
  }

  /** Closes the books on a reply that ran to its end, then lets the caller have the rest of it. */
  #settle(): void {
    this.#settling = true;
    const failed = this.#status !== null && this.#status >= 400;
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
    if ((this.#status ?? 0) >= 400)
      this.#held = withoutSecret(this.#held, this.#call.target.route.upstream.apiKey);
    if (this.#callerLeft) {
      this.#flow?.abort();
    } else if (this.#reader?.streams === true) {
      this.#release();
      if (this.#upstreamEnded) this.#finish();
      else this.#finishSoon();
    } else {
      const length = this.#held.reduce((sum, piece) => sum + piece.length, 0);
      const own = { status: this.#status ?? 502, headers: this.#upstreamHeaders };
      const head = this.#reader?.head?.() ?? own;
      this.#reply.head(head.status, {
        ...replyHeaders(head.headers),
        ...callHeaders(this.#call),
        ...billHeaders(bill),
        'content-length': String(length),
      });
      this.#finish();
    }
  }

  /** The reader is told that nothing more belongs to the reply, and gives what it kept back. */
  #hold(): void {
    if (this.#reader !== undefined) this.#held.push(...this.#reader.end());
  }

  #release(): void {
    for (const piece of this.#held) this.#toCaller(piece);
    this.#held = [];
  }

  /** The reply is whole but for what an upstream may send behind its end marker; some keep the connection open for minutes. */
  #finishSoon(): void {
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
    if (this.#callerLeft) return;
    const { dialect, id } = this.#call;
    if (this.#headSent) {
      // The provider's own error has gone out, or goes now: another word after it would only confuse.
      if (this.#upstreamEnded && this.#reader?.metered().failed === true) this.#release();
      else {
        const error = JSON.stringify(streamError(refusal, this.#call));
        this.#reply.write(encoder.encode(this.#reader?.errorFrame?.(error) ?? errorEvent(error, this.#call)));
      }
      this.#reply.break();
      return;
    }
    const { status, headers, body } = refusalReply(refusal, dialect, id);
    this.#reply.head(status, headers);
    this.#reply.write(encoder.encode(body));
    this.#reply.end();
  }

  #left(): void {
    this.#callerLeft = true;
    this.#options.runtime.log('info', 'caller_left', { request_id: this.#call.id });
    this.#cancelGrace?.();
    if (this.#settled || this.#options.onDisconnect === 'drain') {
      if (this.#settled) this.#flow?.abort();
      else this.#flow?.resume();
      return;
    }
    if (this.#settling) return;
    this.#cancelled = this.#flow?.sent() === true;
    this.#flow?.abort();
    this.#refuse('caller_left', upstreamError(this.#call, 'was cancelled'));
  }

  #toCaller(piece: Uint8Array): boolean {
    return this.#callerLeft ? true : this.#reply.write(piece);
  }

  #checkpoint(reader: ResponseReader): void {
    const now = this.#options.runtime.now();
    // A response in the background goes on whatever becomes of this stream: its id is on record from the first word.
    const isFirst = this.#checkpointedAtMs === this.#call.startedAtMs && isBackground(this.#call.request);
    if (now - this.#checkpointedAtMs < CHECKPOINT_EVERY_MS && !isFirst) return;
    this.#checkpointedAtMs = now;
    this.#options.runtime.defer(this.#options.settler.checkpoint(this.#call, reader, this.#attempt));
  }

  #ending(outcome: Outcome): Ending {
    return {
      outcome,
      status: this.#status,
      // Of a reply that ended without a byte nothing shows that the provider did anything for it.
      reader: this.#cameEmpty ? undefined : this.#reader,
      firstByteAtMs: this.#firstByteAtMs,
      attempt: this.#attempt,
      cancelled: this.#cancelled,
    };
  }
}

const encoder = new TextEncoder();

/** A vendor's error may repeat the credential it was given; it is the operator's, and stays here. */
function withoutSecret(held: Uint8Array[], secret: string | null): Uint8Array[] {
  if (secret === null || secret === '') return held;
  const text = held.map((piece) => new TextDecoder().decode(piece)).join('');
  return text.includes(secret) ? [encoder.encode(text.replaceAll(secret, '[redacted]'))] : held;
}

/** The error in the dialect; the Responses API's is an event of its own type, with the same beside it. */
function streamError(refusal: Refusal, { dialect, id, endpoint }: Call): unknown {
  const body = errorBody(refusal, dialect, id);
  if (endpoint !== 'responses') return body;
  const { code, message, param } = refusal;
  return { type: 'error', sequence_number: 0, code, message, param, ...Object(body) };
}

/** A break inside an event is closed first, so that the error stands as an event of its own. */
function errorEvent(error: string, { dialect, endpoint }: Call): string {
  const name = dialect === 'anthropic' || endpoint === 'responses' ? 'event: error\n' : '';
  return `\n\n${name}data: ${error}\n\n`;
}

function upstreamError(
  call: Call,
  what: string,
  code: 'upstream_error' | 'upstream_timeout' = 'upstream_error',
): Refusal {
  const { name } = call.target.route.upstream;
  return new Refusal(code, `The provider "${name}" ${what}. The request id is ${call.id}.`);
}

const unwritten = (error: unknown): Refusal =>
  error instanceof LedgerUnavailable
    ? new Refusal(
        'ledger_unavailable',
        'The usage of this call could not be recorded, so the reply is withheld. Try again shortly.',
      )
    : new Refusal('internal_error', 'The gateway failed while it settled this call.');
