/**
 * The holder of a JSON reply. It is kept whole until the call is settled: a caller who has the last byte of a JSON reply
 * has all of it, so none goes out before it is paid for.
 */
import { parseJson } from './json-value.ts';
import { ReplyTooLarge } from './reply-too-large.ts';

/** The largest JSON reply: images in base64 run to tens of megabytes, text never comes near. */
export const JSON_REPLY_BYTES_MAX = 64 * 1024 * 1024;

/** Made once: a decoder costs as much as decoding a short reply with it. */
const wholeText = new TextDecoder();

export class JsonReply {
  readonly #bytesMax: number;
  #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(bytesMax: number = JSON_REPLY_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#length;
  }

  /** Keeps the chunk itself, not a copy. Throws `ReplyTooLarge` past the bound. */
  write(chunk: Uint8Array): void {
    this.#length += chunk.length;
    if (this.#length > this.#bytesMax) {
      this.#chunks = [];
      throw new ReplyTooLarge('The reply', this.#bytesMax);
    }
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /** The value; undefined when the bytes are no JSON. White space and a byte order mark before it are tolerated. */
  parse(): unknown {
    return parseJson(this.text());
  }

  /** Everything held, as text. */
  text(): string {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) return wholeText.decode(only);
    const decoder = new TextDecoder();
    let text = '';
    for (const chunk of this.#chunks) text += decoder.decode(chunk, { stream: true });
    return text + decoder.decode();
  }

  /** Hands over everything held. */
  release(): readonly Uint8Array[] {
    const released = this.#chunks;
    this.#chunks = [];
    return released;
  }
}
