/**
 * What a stream said, kept in case its provider never tells the usage. Parsing each event would cost more than relaying
 * it, so events are copied and parsed only when someone asks, or when the copies have grown.
 */
import { GrowingBytes } from '../../src/usage/growing-bytes.ts';
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, SseScanner, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { Tally } from './tally.ts';

/** Past this the copies are counted and forgotten: about a thousand events, one or two milliseconds of parsing. */
const KEPT_BYTES_MAX = 256 * 1024;

/** Room made at first: the events of a short reply. */
const KEPT_BYTES_FIRST = 16 * 1024;

/** Reads one event into the tally. */
export type EventWeigher = (event: Readonly<Record<string, unknown>>, tally: Tally) => void;

export class Evidence {
  readonly #weigh: EventWeigher;
  readonly #kept = new GrowingBytes(KEPT_BYTES_FIRST);
  readonly #tally = new Tally();

  constructor(weigh: EventWeigher) {
    this.#weigh = weigh;
  }

  /** Keeps a copy of whole events. A copy, because a stream may take over the buffer it is given. */
  keep(bytes: Uint8Array): void {
    if (this.#kept.length + bytes.length > KEPT_BYTES_MAX) this.count();
    if (bytes.length > KEPT_BYTES_MAX) this.#countEvents(bytes);
    else this.#kept.append(bytes, 0, bytes.length);
  }

  /** Counts what was kept, and forgets it. */
  count(): void {
    if (this.#kept.length === 0) return;
    this.#countEvents(this.#kept.view());
    this.#kept.clear();
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    this.count();
    return this.#tally.estimate();
  }

  #countEvents(events: Uint8Array): void {
    const scanner = new SseScanner((bytes, unit) => this.#countUnit(bytes, unit));
    scanner.write(events);
    scanner.end();
  }

  #countUnit(bytes: Uint8Array, unit: SseUnit): void {
    if (unit.dataLines === 0) return;
    const event = parseJson(sseData(bytes, unit));
    if (isRecord(event)) this.#weigh(event, this.#tally);
  }
}
