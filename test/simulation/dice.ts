/** Chance by seed, and a fingerprint of what came of it: the same seed is the same life. */
import { randomNumbers } from '../../src/simulator/faults.ts';

export interface Dice {
  /** From 0 up to, not including, 1. */
  random(): number;
  /** True with that probability. */
  chance(probability: number): boolean;
  /** A whole number from 0 up to, not including, `below`. */
  below(below: number): number;
  pick<T>(from: readonly T[]): T | undefined;
}

export function createDice(seed: number): Dice {
  const random = randomNumbers(Math.imul(seed, 0x9e3779b1));
  const below = (limit: number): number => Math.floor(random() * limit);
  return {
    random,
    below,
    chance: (probability) => random() < probability,
    pick: (from) => from[below(from.length)],
  };
}

export interface Trace {
  /** Something happened, in words. */
  note(what: string): void;
  /** Of everything noted so far: 8 hexadecimal digits. */
  hash(): string;
  /** What was noted last, where it was asked to be kept. */
  readonly lines: readonly string[];
}

/** FNV-1a over the words: a library's digest would cost more than the life it is of. */
export function createTrace(keeps: boolean): Trace {
  let hash = 0x811c9dc5;
  const lines: string[] = [];
  return {
    lines,
    note(what) {
      for (let at = 0; at < what.length; at += 1) hash = Math.imul(hash ^ what.charCodeAt(at), 0x01000193);
      hash = Math.imul(hash ^ 10, 0x01000193);
      if (keeps) lines.push(what);
    },
    hash: () => (hash >>> 0).toString(16).padStart(8, '0'),
  };
}
