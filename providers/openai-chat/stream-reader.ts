/**
 * Reads a chat completions stream as it goes past. Whole events are forwarded at once; `[DONE]` and what follows it wait
 * for the settlement; the usage chunk that only the gateway asked for stays here.
 */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { sseData, SseScanner, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { ResponseReader } from '../provider.ts';
import { ChatEvidence } from './evidence.ts';
import { hasMarker } from './markers.ts';
import { ChatReport } from './report.ts';

/** What may come from the terminal marker on. Nothing should: the bound is for a provider gone wrong. */
const HELD_BYTES_MAX = 1024 * 1024;

type Fate = 'forward' | 'hold' | 'withhold';

export class ChatStreamReader implements ResponseReader {
  readonly streams = true;
  readonly #withholdsUsage: boolean;
  readonly #report = new ChatReport();
  readonly #evidence = new ChatEvidence(this.#report);
  readonly #scanner = new SseScanner((bytes, unit) => this.#take(bytes, unit));
  #terminal = false;
  #ended = false;
  /** The last event was one of usage alone, which by the dialect is the last before the terminal marker. */
  #usageWasLast = false;
  #lastFate: Fate = 'forward';
  #metered: Metered | undefined;

  #held: Uint8Array[] = [];
  #heldLength = 0;
  // What this write forwards: finished slices, and a run of neighbouring units that goes out as one slice.
  #forwarded: Uint8Array[] = [];
  #run: Uint8Array | undefined;
  #runStart = 0;
  #runEnd = 0;

  /** `withholdsUsage`: whether the usage chunk was asked for by the gateway alone. */
  constructor(withholdsUsage: boolean) {
    this.#withholdsUsage = withholdsUsage;
  }

  get terminal(): boolean {
    return this.#terminal;
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    if (this.#ended) {
      this.#ended = false;
      this.#metered = undefined;
    }
    this.#scanner.write(chunk);
    return this.#releaseForwarded();
  }

  end(): readonly Uint8Array[] {
    this.#scanner.end();
    this.#ended = true;
    this.#metered = undefined;
    const released = this.#releaseForwarded();
    if (this.#held.length === 0) return released;
    const all = [...released, ...this.#held];
    this.#held = [];
    this.#heldLength = 0;
    return all;
  }

  metered(): Metered {
    if (this.#metered !== undefined) return this.#metered;
    if (!this.#report.hasIdentity) this.#evidence.count();
    const complete = this.#ended || this.#terminal || this.#usageWasLast;
    this.#metered = this.#report.metered(complete, 'the stream told no usage');
    return this.#metered;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#evidence.estimate();
  }

  #take(bytes: Uint8Array, unit: SseUnit): void {
    const fate = unit.tail ? this.#lastFate : this.#judge(bytes, unit);
    this.#lastFate = fate;
    if (fate === 'forward') this.#forward(bytes, unit);
    else if (fate === 'hold') this.#hold(bytes.subarray(unit.start, unit.end));
  }

  #judge(bytes: Uint8Array, unit: SseUnit): Fate {
    const held: Fate = this.#terminal ? 'hold' : 'forward';
    if (unit.dataLines === 0) {
      if (startsWith(bytes, unit.start, ERROR_FIELD)) this.#fail('the stream broke off with an error field');
      return held;
    }
    this.#metered = undefined;
    if (unit.dataLines === 1 && startsWith(bytes, unit.dataStart, DONE)) {
      this.#terminal = true;
      return 'hold';
    }
    this.#usageWasLast = false;
    if (hasMarker(bytes, unit.start, unit.end) && this.#read(bytes, unit) === 'withhold') return 'withhold';
    return held;
  }

  /** An event that says something of usage or of an error. */
  #read(bytes: Uint8Array, unit: SseUnit): Fate {
    const event = parseJson(sseData(bytes, unit));
    if (!isRecord(event)) return 'forward';
    this.#report.take(event);
    this.#usageWasLast = isUsageOnly(event);
    return this.#usageWasLast && this.#withholdsUsage ? 'withhold' : 'forward';
  }

  #fail(reason: string): void {
    this.#report.fail(reason);
    this.#metered = undefined;
  }

  #forward(bytes: Uint8Array, unit: SseUnit): void {
    if (this.#run === bytes && this.#runEnd === unit.start) {
      this.#runEnd = unit.end;
      return;
    }
    this.#closeRun();
    this.#run = bytes;
    this.#runStart = unit.start;
    this.#runEnd = unit.end;
  }

  #closeRun(): void {
    const run = this.#run;
    if (run === undefined) return;
    const whole = this.#runStart === 0 && this.#runEnd === run.length;
    const slice = whole ? run : run.subarray(this.#runStart, this.#runEnd);
    this.#evidence.keep(slice);
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

  #hold(bytes: Uint8Array): void {
    this.#heldLength += bytes.length;
    if (this.#heldLength > HELD_BYTES_MAX) {
      throw new ReplyTooLarge("What follows the stream's end marker", HELD_BYTES_MAX);
    }
    this.#held.push(bytes);
  }
}

const NOTHING: readonly Uint8Array[] = [];
const DONE = new TextEncoder().encode('[DONE]');
/** GPUStack reports a failure in a field of this name, which SSE clients pass over. */
const ERROR_FIELD = new TextEncoder().encode('error:');

function startsWith(bytes: Uint8Array, start: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[start + index] !== text[index]) return false;
  }
  return true;
}

/** An event that came for its usage alone. Lists carry content (citations, search results): an event with one stays. */
function isUsageOnly(event: Readonly<Record<string, unknown>>): boolean {
  const choices = event['choices'];
  if (!Array.isArray(choices) || choices.length > 0) return false;
  if (!isRecord(event['usage']) || (event['error'] ?? null) !== null) return false;
  return Object.values(event).every((value) => !Array.isArray(value) || value.length === 0);
}
