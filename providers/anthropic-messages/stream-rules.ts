/**
 * The streams of the Messages API: `message_start` tells what was read, the last `message_delta` everything, and
 * `message_stop` says "complete". A stream's error is an event of its own, after which the connection ends.
 */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { carriesError } from '../passage/counts.ts';
import { eventType } from '../passage/event-type.ts';
import { Evidence } from '../passage/evidence.ts';
import { MessagesReport } from './report.ts';
import { eventQuarters } from './text.ts';

export class MessagesStreamRules implements StreamRules {
  readonly #report = new MessagesReport();
  readonly #evidence = new Evidence((event, tally) => tally.add(eventQuarters(event)));
  /** The message told why it stopped, or that it did. */
  #stopped = false;
  /** A sum came behind the first count, which was made before anything was generated: with the end of the message it is the last. */
  #summed = false;

  get failed(): boolean {
    return this.#report.failed;
  }

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    switch (type) {
      case 'message_start':
      case 'message_delta':
      case 'error':
        this.#read(type, parseJson(sseData(bytes, unit)));
        return 'forward';
      case 'message_stop':
        this.#stopped = true;
        return 'terminal';
      default:
        return 'forward';
    }
  }

  seen(bytes: Uint8Array): void {
    this.#evidence.keep(bytes);
  }

  metered(closed: boolean): Metered {
    // A stream that merely ended, with an error or without a reason to stop, has not told all that it generated.
    return this.#report.metered(
      this.#stopped && this.#summed,
      closed ? 'the stream told no usage' : 'the stream broke off before its usage',
    );
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#evidence.estimate();
  }

  #read(type: string, event: unknown): void {
    if (!isRecord(event)) return;
    if (type === 'message_start' && isRecord(event['message'])) {
      this.#stopped = false;
      this.#summed = false;
      this.#report.takeMessage(event['message']);
    } else if (type === 'message_delta') {
      this.#report.takeUsage(event['usage']);
      this.#summed ||= isRecord(event['usage']);
      this.#stopped ||= isRecord(event['delta']) && typeof event['delta']['stop_reason'] === 'string';
    } else if (type === 'error' || carriesError(event)) {
      this.#report.fail(event['error']);
    }
  }
}
