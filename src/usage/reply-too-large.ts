/** A reply went past a bound of its reader: the call cannot be metered, so it is broken off. */
export class ReplyTooLarge extends Error {
  override readonly name = 'ReplyTooLarge';
  readonly bytesMax: number;
  constructor(what: string, bytesMax: number) {
    super(`${what} is larger than ${bytesMax} bytes.`);
    this.bytesMax = bytesMax;
  }
}
