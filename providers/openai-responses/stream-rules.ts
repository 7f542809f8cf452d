/**
 * The streams of the Responses API. `response.completed`, `.incomplete` and `.failed` end a stream, repeat the whole
 * response and carry its usage: whichever comes waits for the settlement. An `error` event comes before `.failed` or alone.
 */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { weighChatEvent } from '../openai-chat/text.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { eventType } from '../passage/event-type.ts';
import { Evidence } from '../passage/evidence.ts';
import { ResponsesReport } from './report.ts';
import { eventQuarters } from './text.ts';

const TERMINAL = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.cancelled',
]);

export class ResponsesStreamRules implements StreamRules {
  /** An event came that could be read, and one of this dialect. */
  #told = false;
  #spoke = false;
  readonly #report = new ResponsesReport();
  readonly #evidence = new Evidence((event, tally) => {
    this.#told = true;
    if (!this.#report.hasIdentity && isRecord(event['response'])) this.#report.identify(event['response']);
    tally.add(eventQuarters(event));
    // Some servers answer this route with chat events: they told no usage as this dialect has it, but are not free.
    if (event['type'] === undefined) weighChatEvent(event, tally);
  });

  get failed(): boolean {
    return this.#report.failed;
  }

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    this.#spoke ||= type === 'error' || type.startsWith('response.');
    if (TERMINAL.has(type)) {
      const event = parseJson(sseData(bytes, unit));
      // Without the JSON that it should have it is a broken event, not the end.
      if (!isRecord(event)) return 'forward';
      if (isRecord(event['response'])) this.#report.take(event['response']);
      return 'terminal';
    }
    if (type === 'error') {
      const event = parseJson(sseData(bytes, unit));
      this.#report.takeError(isRecord(event) ? event : {});
    }
    return 'forward';
  }

  seen(bytes: Uint8Array): void {
    this.#evidence.keep(bytes);
  }

  /** A server that answers in another dialect has its own end; in this one there is always a terminal event. */
  complete(): boolean {
    this.#evidence.count();
    return this.#told && !this.#spoke;
  }

  metered(closed: boolean): Metered {
    if (!this.#report.hasIdentity) this.#evidence.count();
    return this.#report.metered(closed, 'the stream told no usage');
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#evidence.estimate();
  }
}
