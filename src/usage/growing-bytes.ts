/** Bytes that pile up from the end. Appending costs a constant per byte however small the pieces are. */
export class GrowingBytes {
  #bytes: Uint8Array = NOTHING;
  #length = 0;
  readonly #leastRoom: number;

  /** `leastRoom`: the bytes made room for at the first appending. */
  constructor(leastRoom: number) {
    this.#leastRoom = leastRoom;
  }

  get length(): number {
    return this.#length;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const length = this.#length + (end - start);
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.#bytes.length * 2, this.#leastRoom));
      grown.set(this.view());
      this.#bytes = grown;
    }
    if (end - start === 1) this.#bytes[this.#length] = bytes[start] ?? 0;
    else
      this.#bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.#length);
    this.#length = length;
  }

  /** What is there now. Later appending may or may not show in it. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Hands the bytes over and begins anew. */
  take(): Uint8Array {
    const taken = this.view();
    this.#bytes = NOTHING;
    this.#length = 0;
    return taken;
  }

  /** Forgets the bytes and keeps their room. */
  clear(): void {
    this.#length = 0;
  }
}

const NOTHING = new Uint8Array(0);
