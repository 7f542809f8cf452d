/**
 * The streams of chat completions and of the older completions: `[DONE]` says "complete", and the usage chunk that only
 * the gateway asked for is withheld.
 */
import { isRecord, listOf, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { carriesError, errorReason } from '../passage/counts.ts';
import { type Fate, hasData, startsWith, type StreamRules } from '../passage/event-reader.ts';
import { Evidence } from '../passage/evidence.ts';
import { firstTelling } from './markers.ts';
import { ChatReport, tellsUsage } from './report.ts';
import { weighChatEvent } from './text.ts';

export class ChatStreamRules implements StreamRules {
  readonly #withholdsUsage: boolean;
  readonly #report = new ChatReport();
  #done = false;
  /** An event came that could be read; one with a choice; and one that told why it stopped. */
  #told = false;
  #spoke = false;
  #stopped = false;
  readonly #evidence = new Evidence((event, tally) => {
    this.#told = true;
    for (const choice of listOf(event['choices'])) {
      this.#spoke = true;
      this.#stopped ||= isRecord(choice) && (choice['finish_reason'] ?? '') !== '';
    }
    if (carriesError(event)) this.#bareError ??= event;
    if (!this.#report.hasIdentity) this.#report.identify(event);
    weighChatEvent(event, tally);
    if (tellsUsage(event)) this.#deltasTold = tally.estimate().deltas;
  });
  /** An error under another name, which is not looked for among what streams past. Where there are choices it was none. */
  #bareError: Readonly<Record<string, unknown>> | undefined;
  /** The deltas that had come with the last usage or before it, of those counted. */
  #deltasTold = 0;
  /** The last event was one of usage alone, which by the dialect is the last before the terminal marker. */
  #usageWasLast = false;
  /** An event without a usage came behind one that told it. */
  #wentOn = false;

  /** `withholdsUsage`: whether the usage chunk was asked for by the gateway alone. */
  constructor(withholdsUsage: boolean) {
    this.#withholdsUsage = withholdsUsage;
  }

  get failed(): boolean {
    return this.#report.failed || this.#bareReason() !== undefined;
  }

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) {
      if (startsWith(bytes, unit.start, ERROR_FIELD))
        this.#report.fail('the stream broke off with an error field');
      return 'forward';
    }
    if (unit.dataLines === 1 && startsWith(bytes, unit.dataStart, DONE)) {
      this.#done = true;
      return 'terminal';
    }
    this.#usageWasLast = false;
    if (firstTelling(bytes, unit.start, unit.end) >= 0) return this.#read(bytes, unit);
    this.#wentOn = true;
    return 'forward';
  }

  firstTelling(bytes: Uint8Array): number {
    return firstTelling(bytes, 0, bytes.length);
  }

  passed(bytes: Uint8Array, end: number): void {
    if ((this.#wentOn && !this.#usageWasLast) || !hasData(bytes, end)) return;
    this.#usageWasLast = false;
    this.#wentOn = true;
  }

  seen(bytes: Uint8Array): void {
    this.#evidence.keep(bytes);
  }

  /** Some vendors leave `[DONE]` out: a reason to stop, or usage that came last, is as good. So are other events than the dialect's, as they tell nothing. */
  complete(): boolean {
    this.#evidence.count();
    const other = this.#told && !this.#spoke;
    return !this.failed && (this.#stopped || this.#usageWasLast || other);
  }

  metered(closed: boolean): Metered {
    if (!this.#report.hasIdentity) this.#evidence.count();
    const ended = this.#done || (closed && (this.failed || this.complete()));
    const bare = this.#bareReason();
    const open = this.#leavesOutputOpen();
    const last = this.#usageWasLast || (ended && !open);
    const metered = this.#report.metered(last, bare ?? 'the stream told no usage', open);
    return bare === undefined ? metered : { ...metered, failed: true };
  }

  /**
   * Whether the usage that stands was told too early. A delta is a token at the least: fewer tokens than deltas, and deltas
   * behind the usage, show that it was a running sum, or was told before anything was generated.
   */
  #leavesOutputOpen(): boolean {
    const told = this.#report.outputTokens;
    // Most streams end with their usage, and what they said need not be read for this.
    if (!this.#wentOn || told === undefined) return false;
    const { deltas } = this.#evidence.estimate();
    return told < deltas && this.#deltasTold < deltas;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#evidence.estimate();
  }

  #bareReason(): string | undefined {
    return this.#spoke || this.#bareError === undefined ? undefined : errorReason(this.#bareError);
  }

  /** An event that says something of usage or of an error. */
  #read(bytes: Uint8Array, unit: SseUnit): Fate {
    const event = parseJson(sseData(bytes, unit));
    if (!isRecord(event)) return 'forward';
    this.#wentOn = !this.#report.take(event);
    this.#usageWasLast = isUsageOnly(event);
    return this.#usageWasLast && this.#withholdsUsage ? 'withhold' : 'forward';
  }
}

const DONE = new TextEncoder().encode('[DONE]');
/** GPUStack reports a failure in a field of this name, which SSE clients pass over. */
const ERROR_FIELD = new TextEncoder().encode('error:');

/** An event that came for its usage alone. Lists carry content (citations, search results): an event with one stays. */
function isUsageOnly(event: Readonly<Record<string, unknown>>): boolean {
  const choices = event['choices'] ?? [];
  if (!Array.isArray(choices) || choices.length > 0) return false;
  if (!isRecord(event['usage']) || carriesError(event)) return false;
  return Object.values(event).every((value) => !Array.isArray(value) || value.length === 0);
}
