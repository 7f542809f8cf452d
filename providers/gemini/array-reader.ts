/**
 * Reads Gemini's stream in its other form: one JSON array whose elements come one by one. An element with what stands
 * before it is forwarded as soon as it is whole; one that may be the last waits, and with it the closing bracket.
 */
import { GrowingBytes } from '../../src/usage/growing-bytes.ts';
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { SSE_EVENT_BYTES_MAX } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { ResponseReader } from '../provider.ts';
import { GeminiStreamRules } from './stream-rules.ts';

export class GeminiArrayReader implements ResponseReader {
  readonly streams = true;
  readonly terminal = false;
  readonly #rules = new GeminiStreamRules();
  /** The element that is coming, with what stands before it. */
  readonly #carry = new GrowingBytes(4096);
  #held: Uint8Array[] = [];
  #any = false;
  #ended = false;

  // Where the scan stands: inside how many brackets, and inside a string or not.
  #depth = 0;
  #elementDepth = 0;
  #elementStart = -1;
  #inString = false;
  #escaped = false;

  get complete(): boolean {
    return this.#depth === 0 && this.#rules.complete();
  }

  get endsItself(): boolean {
    return this.complete;
  }

  get failed(): boolean {
    return this.#rules.failed;
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#ended = false;
    const forwarded: Uint8Array[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      if (!this.#step(chunk[at] ?? 0, this.#carry.length + at - from)) continue;
      this.#carry.append(chunk, from, at + 1);
      from = at + 1;
      this.#takeElement(forwarded);
    }
    if (this.#carry.length + chunk.length - from > SSE_EVENT_BYTES_MAX) {
      throw new ReplyTooLarge('An element of the stream', SSE_EVENT_BYTES_MAX);
    }
    if (from < chunk.length) this.#carry.append(chunk, from, chunk.length);
    return forwarded;
  }

  end(): readonly Uint8Array[] {
    this.#ended = true;
    const rest = this.#carry.take();
    const all = rest.length === 0 ? this.#held : [...this.#held, rest];
    this.#held = [];
    return all;
  }

  metered(): Metered {
    return this.#rules.metered(this.#ended);
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#rules.estimate();
  }

  /** An error where the array broke off is its last element. */
  errorFrame(error: string): string {
    return `${this.#any ? ',\n' : '['}${error}\n]`;
  }

  /** Moves over one byte, which is to lie at `offset` of the carry; answers whether it ends an element. */
  #step(byte: number, offset: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#open(byte, offset);
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      this.#depth -= 1;
      return this.#elementStart >= 0 && this.#depth === this.#elementDepth;
    }
    return false;
  }

  #open(byte: number, offset: number): void {
    // An object that stands alone (an error, say) is its own element.
    if (this.#depth === 0) this.#elementDepth = byte === OPEN_BRACKET ? 1 : 0;
    if (this.#depth === this.#elementDepth) this.#elementStart = offset;
    this.#depth += 1;
  }

  #takeElement(forwarded: Uint8Array[]): void {
    const bytes = this.#carry.take();
    const fate = this.#rules.judgePart(decoder.decode(bytes.subarray(this.#elementStart)));
    this.#elementStart = -1;
    forwarded.push(...this.#held);
    this.#held = [];
    if (fate === 'forward') forwarded.push(bytes);
    else this.#held.push(bytes);
    this.#any ||= forwarded.length > 0;
  }
}

const decoder = new TextDecoder();
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
