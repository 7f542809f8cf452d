/**
 * Reads an event stream as it goes past, by the rules of a dialect. Whole events are forwarded at once; the terminal
 * marker and what follows it wait for the settlement.
 */
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { SseScanner, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { ResponseReader } from '../provider.ts';

/** What may come after the terminal marker. Nothing should: the bound is for a provider gone wrong. */
const HELD_BYTES_MAX = 1024 * 1024;
/**
 * Comments before the first event wait for it, up to this: vendors and proxies send them to keep a connection open, and a
 * stream that has said nothing else may still be tried elsewhere. Past it the caller's own connection wants keeping, too.
 */
const EARLY_BYTES_MAX = 512;

/**
 * What becomes of an event: `forward` now; `withhold` for good; `terminal`: it says "complete", and waits for the
 * settlement with all that follows; `last`: the stream may end here, so it waits for the next event or the settlement.
 */
export type Fate = 'forward' | 'withhold' | 'terminal' | 'last';

/** What a dialect knows of its streams. */
export interface StreamRules {
  /** Looks at one unit; units without data (comments, stray fields) come too. */
  judge(bytes: Uint8Array, unit: SseUnit): Fate;
  /**
   * Where the bytes first have anything that `judge` must see, or -1. Whole events before it need no look of their own:
   * they are forwarded, and `passed` is told which, those before `end`. A dialect without it has every event judged.
   */
  firstTelling?(bytes: Uint8Array): number;
  passed?(bytes: Uint8Array, end: number): void;
  /** An error has come. A dialect without it is not asked whether it came first. */
  readonly failed?: boolean;
  /**
   * Told of every run of events that is forwarded, and of those that are withheld among them, in their order. The bytes may
   * be taken over afterwards: copy what is kept.
   */
  seen?(bytes: Uint8Array): void;
  /** `closed`: whether the stream ended or its terminal marker was seen. */
  metered(closed: boolean): Metered;
  estimate(): { readonly outputTokens: number; readonly deltas: number };
  /** Whether a stream that ended without its terminal marker is whole all the same; without it, none is. */
  complete?(): boolean;
}

export class EventReader implements ResponseReader {
  readonly streams = true;
  readonly #rules: StreamRules;
  readonly #scanner = new SseScanner((bytes, unit) => this.#take(bytes, unit));
  #terminal = false;
  #ended = false;
  #opensWithError: boolean | undefined;
  /** An event has come, or so many comments that they do not wait for one. */
  #heard = false;
  #place: 'forward' | 'hold' | 'withhold' = 'forward';

  #held: Uint8Array[] = [];
  #surplus = 0;
  // What this write forwards: finished slices, and a run of neighbouring units that goes out as one slice.
  #forwarded: Uint8Array[] = [];
  #run: Uint8Array | undefined;
  #runStart = 0;
  #runEnd = 0;

  constructor(rules: StreamRules) {
    this.#rules = rules;
  }

  get terminal(): boolean {
    return this.#terminal;
  }

  get opensWithError(): boolean | undefined {
    return this.#opensWithError;
  }

  get failed(): boolean | undefined {
    return this.#rules.failed;
  }

  get complete(): boolean {
    return this.#terminal || this.#rules.complete?.() === true;
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#ended = false;
    this.#scanner.write(chunk, this.#passWholeEvents(chunk));
    return this.#releaseForwarded();
  }

  /**
   * Forwards the events at the chunk's beginning that have nothing to tell, all at once; answers where the rest begins.
   * Most of a stream goes this way: one search of a chunk costs a fifth of taking it apart.
   */
  #passWholeEvents(chunk: Uint8Array): number {
    if (this.#rules.firstTelling === undefined || this.#terminal || this.#held.length > 0) return 0;
    if (!this.#scanner.isBetweenUnits) return 0;
    const telling = this.#rules.firstTelling(chunk);
    const end = afterBlankLine(chunk, telling < 0 ? chunk.length : telling);
    if (end === 0 || !(this.#heard || hasData(chunk, end))) return 0;
    this.#rules.passed?.(chunk, end);
    this.#hear();
    this.#place = 'forward';
    this.#forward(chunk, { start: 0, end });
    return end;
  }

  end(): readonly Uint8Array[] {
    this.#scanner.end();
    this.#ended = true;
    const released = this.#releaseForwarded();
    if (this.#held.length === 0) return released;
    const all = [...released, ...this.#held];
    this.#held = [];
    this.#surplus = 0;
    return all;
  }

  metered(): Metered {
    return this.#rules.metered(this.#ended || this.#terminal);
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#rules.estimate();
  }

  #take(bytes: Uint8Array, unit: SseUnit): void {
    // A line feed that came apart goes where its event went.
    if (!unit.tail) this.#place = this.#placeOf(bytes, unit);
    if (this.#place === 'forward') this.#forward(bytes, unit);
    else if (this.#place === 'hold') this.#held.push(bytes.subarray(unit.start, unit.end));
    else this.#withhold(bytes, unit);
  }

  #placeOf(bytes: Uint8Array, unit: SseUnit): 'forward' | 'hold' | 'withhold' {
    const fate = this.#rules.judge(bytes, unit);
    if (unit.dataLines > 0 || this.#rules.failed === true) this.#hear();
    if (fate === 'withhold') return 'withhold';
    if (this.#terminal) {
      this.#checkSurplus(unit.end - unit.start);
      return 'hold';
    }
    if (!this.#heard) {
      this.#surplus += unit.end - unit.start;
      if (this.#surplus <= EARLY_BYTES_MAX) return 'hold';
      this.#hear();
    } else if (unit.dataLines === 0 && this.#held.length > 0) {
      // A comment is no sign that more is to come: it waits behind what waits.
      this.#checkSurplus(unit.end - unit.start);
      return 'hold';
    }
    if (this.#held.length > 0) this.#forwardHeld();
    this.#terminal = fate === 'terminal';
    return fate === 'forward' ? 'forward' : 'hold';
  }

  /** However the events are split into chunks, the first of them decides. */
  #hear(): void {
    if (!this.#heard) this.#surplus = 0;
    this.#heard = true;
    this.#opensWithError ??= this.#rules.failed;
  }

  /** What might have been the last was not. */
  #forwardHeld(): void {
    this.#closeRun();
    this.#forwarded.push(...this.#held);
    this.#held = [];
    this.#surplus = 0;
  }

  #forward(bytes: Uint8Array, unit: { readonly start: number; readonly end: number }): void {
    if (this.#run === bytes && this.#runEnd === unit.start) {
      this.#runEnd = unit.end;
      return;
    }
    this.#closeRun();
    this.#run = bytes;
    this.#runStart = unit.start;
    this.#runEnd = unit.end;
  }

  #withhold(bytes: Uint8Array, unit: SseUnit): void {
    this.#closeRun();
    this.#rules.seen?.(bytes.subarray(unit.start, unit.end));
  }

  #closeRun(): void {
    const run = this.#run;
    if (run === undefined) return;
    const whole = this.#runStart === 0 && this.#runEnd === run.length;
    const slice = whole ? run : run.subarray(this.#runStart, this.#runEnd);
    this.#rules.seen?.(slice);
    this.#forwarded.push(slice);
    this.#run = undefined;
  }

  #releaseForwarded(): readonly Uint8Array[] {
    this.#closeRun();
    if (this.#forwarded.length === 0) return NOTHING;
    const forwarded = this.#forwarded;
    this.#forwarded = [];
    return forwarded;
  }

  #checkSurplus(length: number): void {
    this.#surplus += length;
    if (this.#surplus > HELD_BYTES_MAX) {
      throw new ReplyTooLarge("What follows the stream's end marker", HELD_BYTES_MAX);
    }
  }
}

/** Whether a line before `end`, where a line ends, is one of data: comments are no events. */
export function hasData(bytes: Uint8Array, end: number): boolean {
  for (let at = 0; at < end; at = bytes.indexOf(LF, at) + 1) if (startsWith(bytes, at, DATA)) return true;
  return false;
}

export function startsWith(bytes: Uint8Array, start: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[start + index] !== text[index]) return false;
  }
  return true;
}

const LF = 0x0a;
const DATA = new TextEncoder().encode('data:');

/** Where the last event that ends before that offset ends; 0 when none does. Lines that end otherwise are not looked for. */
function afterBlankLine(bytes: Uint8Array, before: number): number {
  for (let at = before; at >= 2; at -= 1) if (bytes[at - 1] === LF && bytes[at - 2] === LF) return at;
  return 0;
}

const NOTHING: readonly Uint8Array[] = [];
