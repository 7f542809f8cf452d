/** What a reply of the Gemini API has told of itself so far: whole, as events, or as elements of an array. */
import { isRecord, listOf, textOf } from '../../src/usage/json-value.ts';
import { outputTokens, type Metered } from '../../src/usage/usage.ts';
import { carriesError, errorReason } from '../passage/counts.ts';
import { Tally } from '../passage/tally.ts';
import { candidateQuarters } from './text.ts';
import { readGeminiUsage, type GeminiUsage } from './usage.ts';

/** A later one may have a traffic type alone: what was told before it stands. */
const hasCounts = (usage: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(usage).some((name) => name.endsWith('TokenCount'));

export class GeminiReport {
  readonly #tally = new Tally();
  /** The last usage that can be believed, else the last one. */
  #usage: GeminiUsage | undefined;
  /** Whether it told what was generated, and the deltas that had come with it or before it. */
  #toldOutput = false;
  #deltasTold = 0;
  /** Why the usage after it cannot be believed. */
  #refused: string | undefined;
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
    if (carriesError(part)) this.#failure ??= errorReason(part['error']);
    const feedback = part['promptFeedback'];
    const reason = isRecord(feedback) ? feedback['blockReason'] : undefined;
    if (reason !== undefined && reason !== null) this.#block(String(reason));
    for (const candidate of listOf(part['candidates'])) {
      if (!isRecord(candidate)) continue;
      this.#tally.add(candidateQuarters(candidate));
      if ((candidate['finishReason'] ?? null) !== null) this.#finished = true;
    }
    if (isRecord(usage) && (this.#usage === undefined || hasCounts(usage))) this.#takeUsage(usage);
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
    const read = this.#usage;
    if (read === undefined) return none(said ?? 'the reply told no usage');
    if (read.kind === 'refused') return none(said ?? read.reason);
    const reasons = [complete ? undefined : 'the reply broke off', said, this.#refused ?? read.reason];
    const told = reasons.filter((reason) => reason !== undefined).join('; ');
    const early = this.#refused !== undefined || this.#wasEarly(outputTokens(read.counts));
    return {
      kind: complete && !early ? 'final' : 'cut',
      lines: [{ ...read.counts, servedModel: this.#servedModel ?? null }],
      responseId,
      reason: told === '' ? undefined : told,
      outputOpen: early || (!complete && !this.#toldOutput),
      failed,
    };
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#tally.estimate();
  }

  #takeUsage(usage: Readonly<Record<string, unknown>>): void {
    const read = readGeminiUsage(usage);
    this.#refused = read.kind === 'refused' ? read.reason : undefined;
    if (read.kind === 'refused' && this.#usage?.kind === 'counts') return;
    this.#usage = read;
    this.#toldOutput = (usage['candidatesTokenCount'] ?? null) !== null;
    this.#deltasTold = this.#tally.estimate().deltas;
  }

  /** Whether more was generated after the usage. A delta is a token at the least: fewer tokens than deltas show a running sum. */
  #wasEarly(tokens: number): boolean {
    const { deltas } = this.#tally.estimate();
    return deltas > this.#deltasTold && tokens < deltas;
  }

  #block(reason: string): void {
    this.#finished = true;
    this.#blocked = `the prompt was blocked: ${reason.slice(0, 100)}`;
  }
}
