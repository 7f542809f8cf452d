/**
 * What the product needs of the machine it runs on. Everything outside platform/, simulator/ and the entries asks here
 * instead of `Date`, `crypto` or `console`, so the same code runs on Node, in workerd and under a test's own clock.
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Runtime {
  /** Wall-clock time in milliseconds since the epoch. */
  now(): number;
  /** A new identifier: 26 characters of lower-case Crockford base32, sortable by the millisecond it was made in. */
  id(): string;
  /** Takes charge of work nobody waits for: keeps the runtime alive for it and logs its failure. */
  defer(work: Promise<unknown>): void;
  /** Does the work after so many milliseconds, unless the function it answers is called before: that cancels it. */
  after(ms: number, work: () => void): () => void;
  /** One structured line. Never prompts, never secrets. */
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

/** The few cryptographic operations the product uses, synchronous on every runtime. */
export interface Crypto {
  /** SHA-256 of the bytes, or of the text in UTF-8, as 64 lower-case hexadecimal digits. */
  sha256(content: string | Uint8Array): string;
  /** HMAC-SHA256 of the UTF-8 text under the secret, bytes or UTF-8, as 64 lower-case hexadecimal digits. */
  hmac(secret: string | Uint8Array, text: string): string;
  /** Whether two strings are equal, in a time that tells nothing of where they differ. */
  equal(a: string, b: string): boolean;
  /** That many random bytes. */
  random(bytes: number): Uint8Array;
}
