/**
 * What a stream said, kept in case its provider never tells the usage. Parsing each event would cost more than relaying
 * it, so events are copied and parsed only when someone asks, or when the copies have grown.
 */
import { GrowingBytes } from '../../src/usage/growing-bytes.ts';
import { isRecord, listOf, parseJson } from '../../src/usage/json-value.ts';
import { sseData, SseScanner, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { tokensOfQuarters } from '../../src/usage/text-estimate.ts';
import type { ChatReport } from './report.ts';
import { generatedQuarters } from './text.ts';

/** Past this the copies are counted and forgotten: about a thousand events, one or two milliseconds of parsing. */
const KEPT_BYTES_MAX = 256 * 1024;

/** Room made at first: the events of a short reply. */
const KEPT_BYTES_FIRST = 16 * 1024;

export class ChatEvidence {
  readonly #report: ChatReport;
  readonly #kept = new GrowingBytes(KEPT_BYTES_FIRST);
  #quarters = 0;
  #deltas = 0;

  constructor(report: ChatReport) {
    this.#report = report;
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
    return { outputTokens: tokensOfQuarters(this.#quarters), deltas: this.#deltas };
  }

  #countEvents(events: Uint8Array): void {
    const scanner = new SseScanner((bytes, unit) => this.#countUnit(bytes, unit));
    scanner.write(events);
    scanner.end();
  }

  #countUnit(bytes: Uint8Array, unit: SseUnit): void {
    if (unit.dataLines === 0) return;
    const event = parseJson(sseData(bytes, unit));
    if (!isRecord(event)) return;
    if (!this.#report.hasIdentity) this.#report.identify(event);
    for (const choice of listOf(event['choices'])) {
      if (!isRecord(choice)) continue;
      // Perplexity and Writer give the whole message so far beside each delta.
      const quarters = generatedQuarters(choice['delta'] ?? choice['message']);
      if (quarters === 0) continue;
      this.#quarters += quarters;
      this.#deltas += 1;
    }
  }
}
