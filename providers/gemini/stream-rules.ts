/**
 * Gemini's streams have no terminal marker. From the part on that tells why it stopped, each part may be the last: it
 * waits for the next one, or for the settlement.
 */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { GeminiReport } from './report.ts';

export class GeminiStreamRules implements StreamRules {
  readonly #report = new GeminiReport();

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    return unit.dataLines === 0 ? 'forward' : this.judgePart(sseData(bytes, unit));
  }

  /** The same for a part by its JSON text. */
  judgePart(json: string): Fate {
    const part = parseJson(json);
    if (isRecord(part)) this.#report.take(part);
    return this.#report.finished ? 'last' : 'forward';
  }

  get failed(): boolean {
    return this.#report.failed;
  }

  /** There is no terminal marker: a reason to stop is the sign. */
  complete(): boolean {
    return this.#report.finished && !this.#report.failed;
  }

  metered(closed: boolean): Metered {
    return this.#report.metered(this.#report.finished || (closed && this.#report.failed));
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#report.estimate();
  }
}
