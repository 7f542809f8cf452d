/** What a reply of the Gemini API has told of itself so far: whole, as events, or as elements of an array. */
import { isRecord, listOf, textOf } from '../../src/usage/json-value.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { carriesError, errorReason } from '../passage/counts.ts';
import { Tally } from '../passage/tally.ts';
import { candidateQuarters } from './text.ts';
import { readGeminiUsage } from './usage.ts';

/** A later one may have a traffic type alone: what was told before it stands. */
const hasCounts = (usage: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(usage).some((name) => name.endsWith('TokenCount'));

export class GeminiReport {
  readonly #tally = new Tally();
  #usage: Readonly<Record<string, unknown>> | undefined;
  #responseId: string | undefined;
  #servedModel: string | undefined;
  #failure: string | undefined;
  #blocked: string | undefined;
  #finished = false;

  /** A candidate told why it stopped, or the prompt was blocked: what comes may be the last. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Takes in a reply or a part of it. The last usage stands, as a whole. */
  take(part: Readonly<Record<string, unknown>>): void {
    this.#responseId = textOf(part['responseId']) ?? this.#responseId;
    this.#servedModel = textOf(part['modelVersion']) ?? this.#servedModel;
    const usage = part['usageMetadata'];
    if (isRecord(usage) && (this.#usage === undefined || hasCounts(usage))) this.#usage = usage;
    if (carriesError(part)) this.#failure ??= errorReason(part['error']);
    const feedback = part['promptFeedback'];
    const reason = isRecord(feedback) ? feedback['blockReason'] : undefined;
    if (reason !== undefined && reason !== null) this.#block(String(reason));
    for (const candidate of listOf(part['candidates'])) {
      if (!isRecord(candidate)) continue;
      this.#tally.add(candidateQuarters(candidate));
      if ((candidate['finishReason'] ?? null) !== null) this.#finished = true;
    }
  }

  /** The reply carries an error: what came is not all that was asked for. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** `complete`: whether no later usage can come. */
  metered(complete: boolean): Metered {
    const failed = this.#failure !== undefined || this.#blocked !== undefined;
    const responseId = this.#responseId;
    const none = (reason: string): Metered => ({ kind: 'none', lines: [], responseId, reason, failed });
    const said = this.#failure ?? this.#blocked;
    if (this.#usage === undefined) return none(said ?? 'the reply told no usage');
    const read = readGeminiUsage(this.#usage);
    if (read.kind === 'refused') return none(said ?? read.reason);
    const reasons = [complete ? undefined : 'the reply broke off', said, read.reason];
    const told = reasons.filter((reason) => reason !== undefined).join('; ');
    return {
      kind: complete ? 'final' : 'cut',
      lines: [{ ...read.counts, servedModel: this.#servedModel ?? null }],
      responseId,
      reason: told === '' ? undefined : told,
      outputOpen: !complete && this.#usage['candidatesTokenCount'] === undefined,
      failed,
    };
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#tally.estimate();
  }

  #block(reason: string): void {
    this.#finished = true;
    this.#blocked = `the prompt was blocked: ${reason.slice(0, 100)}`;
  }
}
