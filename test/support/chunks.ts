/** Ways to cut bytes into chunks, for everything that must not care where the network cuts. */

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

export const concat = (pieces: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces));

export const textOf = (pieces: readonly Uint8Array[]): string => Buffer.concat(pieces).toString('utf8');

export const oneByOne = (bytes: Uint8Array): Uint8Array[] =>
  Array.from({ length: bytes.length }, (_, index) => bytes.subarray(index, index + 1));

/** Cuts before each of the given offsets; offsets past the end wrap around. */
export function cutAt(bytes: Uint8Array, offsets: readonly number[]): Uint8Array[] {
  const cuts = [...new Set(offsets.map((offset) => offset % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...cuts, bytes.length].map((end, index) => bytes.subarray(cuts[index - 1] ?? 0, end));
}

/** A repeatable source of numbers from 0 to below 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Chunks of 1 to `lengthMax` bytes. */
export function randomChunks(bytes: Uint8Array, random: () => number, lengthMax: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + Math.floor(random() * lengthMax);
    chunks.push(bytes.subarray(at, next));
    at = next;
  }
  return chunks;
}
