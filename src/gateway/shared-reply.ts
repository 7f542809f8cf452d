/**
 * One reply for everyone who asked under the same idempotency key: written once, kept from its beginning, and given to each
 * at his own pace. Past its bound it is not kept any more: those who listen hear it to its end, nobody else can.
 */
import type { CallerReply } from './ports.ts';

export interface SharedReplyOptions {
  /** Told before a piece is kept; false: there is no room for it. */
  readonly room: (reply: SharedReply, bytes: number) => boolean;
  /** Told once, when the reply is over. */
  readonly over: (reply: SharedReply) => void;
  /** Whether the upstream is left when every listener has. */
  readonly cancels: boolean;
}

interface Listener {
  readonly reply: CallerReply;
  /** The piece he has next, of those that are kept. */
  next: number;
  headGiven: boolean;
  waits: boolean;
  /** He gets the first call's reply, and is told so. */
  readonly replayed: boolean;
}

export class SharedReply implements CallerReply {
  readonly #options: SharedReplyOptions;
  readonly #listeners = new Set<Listener>();
  #head: { readonly status: number; readonly headers: Readonly<Record<string, string>> } | undefined;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #whole = true;
  /** Somebody has listened. */
  #heard = false;
  #state: 'open' | 'ended' | 'broken' = 'open';
  #resume: (() => void) | undefined;
  #left: (() => void) | undefined;

  constructor(options: SharedReplyOptions) {
    this.#options = options;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether somebody who comes now can have all of it. */
  get whole(): boolean {
    return this.#whole;
  }

  get isOver(): boolean {
    return this.#state !== 'open';
  }

  /** Gives the reply to one more, from its beginning. */
  listen(reply: CallerReply, replayed: boolean): void {
    const listener: Listener = { reply, next: 0, headGiven: false, waits: false, replayed };
    this.#listeners.add(listener);
    this.#heard = true;
    reply.onDrain(() => {
      listener.waits = false;
      this.#give(listener);
      if (!this.#mustWait()) this.#resume?.();
    });
    reply.onGone(() => this.#gone(listener));
    this.#give(listener);
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#head = { status, headers };
    this.#giveAll();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#whole && !this.#options.room(this, bytes.length)) this.#whole = false;
    // A copy: whoever wrote it may use its buffer again.
    this.#pieces.push(bytes.slice());
    this.#bytes += bytes.length;
    this.#giveAll();
    return !this.#mustWait();
  }

  end(): void {
    this.#finish('ended');
  }

  break(): void {
    this.#finish('broken');
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  onGone(left: () => void): void {
    this.#left = left;
    // Whoever asked may have left while his call was admitted: then nobody is there to leave later.
    if (this.#heard && this.#listeners.size === 0 && this.#options.cancels) left();
  }

  #finish(state: 'ended' | 'broken'): void {
    this.#state = state;
    this.#giveAll();
    this.#options.over(this);
  }

  /** What is kept in any case need not be waited for. */
  #mustWait(): boolean {
    if (this.#whole) return false;
    for (const { waits } of this.#listeners) if (waits) return true;
    return false;
  }

  #giveAll(): void {
    for (const listener of this.#listeners) this.#give(listener);
    this.#forgetGiven();
  }

  #give(listener: Listener): void {
    if (this.#head === undefined || !this.#listeners.has(listener)) return;
    if (!listener.headGiven) {
      listener.headGiven = true;
      const { status, headers } = this.#head;
      listener.reply.head(
        status,
        listener.replayed ? { ...headers, 'idempotent-replayed': 'true' } : headers,
      );
    }
    for (let piece = this.#pieces[listener.next]; piece !== undefined; piece = this.#pieces[listener.next]) {
      if (listener.waits) return;
      listener.next += 1;
      listener.waits = !listener.reply.write(piece);
    }
    if (this.#state === 'open') return;
    this.#listeners.delete(listener);
    if (this.#state === 'ended') listener.reply.end();
    else listener.reply.break();
  }

  /** Past the bound only what somebody still has to hear is kept. */
  #forgetGiven(): void {
    if (this.#whole) return;
    let given = this.#pieces.length;
    for (const { next } of this.#listeners) given = Math.min(given, next);
    if (given === 0) return;
    for (const piece of this.#pieces.splice(0, given)) this.#bytes -= piece.length;
    for (const listener of this.#listeners) listener.next -= given;
  }

  #gone(listener: Listener): void {
    if (!this.#listeners.delete(listener) || this.#state !== 'open') return;
    this.#forgetGiven();
    if (this.#listeners.size === 0 && this.#options.cancels) this.#left?.();
    else this.#resume?.();
  }
}
