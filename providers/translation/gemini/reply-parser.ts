/** Gemini's replies into what they say: a stream's parts are whole replies that go on where the last one ended. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { GeminiReport } from '../../gemini/report.ts';
import { Narration, type UsageNews } from '../narration.ts';
import { readError } from '../reply-error.ts';
import { createReplyParser, type Fields, type ReplyRules } from '../reply-reader.ts';
import type { ReplyError, ReplyParser, ReplyParserOptions } from '../reply.ts';
import { CandidateReader } from './candidate-reader.ts';
import { geminiStopReason } from './stop.ts';

export function createGeminiParser(options: ReplyParserOptions): ReplyParser {
  const narration = new Narration();
  return createReplyParser(options, narration, new GeminiRules(narration, options.callId));
}

class GeminiRules implements ReplyRules {
  readonly #narration: Narration;
  readonly #callId: string;
  readonly #report = new GeminiReport();
  readonly #candidates = new Map<number, CandidateReader>();
  #tier: string | undefined;
  #failure: ReplyError | undefined;

  constructor(narration: Narration, callId: string) {
    this.#narration = narration;
    this.#callId = callId;
  }

  body(body: Fields): void {
    this.#take(body);
    if (!this.#narration.stopped) this.#narration.stop(0, 'end');
    this.#finish(true);
  }

  event(event: Fields): void {
    if (isRecord(event['error'])) this.#narration.fail(readError(event, undefined), this.#usage());
    else this.#take(event);
  }

  done(): void {
    this.close();
  }

  /** The dialect has no terminal marker: the reply is whole when every candidate told why it stopped. */
  close(): void {
    this.#finish(this.#narration.stopped);
  }

  #take(part: Fields): void {
    this.#report.take(part);
    const usage = part['usageMetadata'];
    if (isRecord(usage)) this.#tier = textOf(usage['serviceTier']) ?? this.#tier;
    this.#narration.start({
      id: textOf(part['responseId']) ?? '',
      model: textOf(part['modelVersion']) ?? '',
      createdS: undefined,
      usage: this.#usage().lines,
    });
    const feedback = part['promptFeedback'];
    if (isRecord(feedback) && (feedback['blockReason'] ?? null) !== null)
      this.#narration.stop(0, 'content_filter');
    for (const [place, candidate] of listOf(part['candidates']).entries())
      if (isRecord(candidate)) this.#takeCandidate(candidate, place);
  }

  #takeCandidate(candidate: Fields, place: number): void {
    const told = candidate['index'];
    const index = typeof told === 'number' && Number.isSafeInteger(told) && told >= 0 ? told : place;
    const reader = this.#candidates.get(index) ?? new CandidateReader(this.#narration, index, this.#callId);
    this.#candidates.set(index, reader);
    reader.take(candidate);
    const word = candidate['finishReason'] ?? null;
    if (word === null) return;
    const reason = geminiStopReason(String(word));
    if (reason !== 'failed') this.#narration.stop(index, reason);
    else {
      this.#narration.stop(index, 'end');
      const message =
        textOf(candidate['finishMessage']) ?? `The model's answer could not be read: ${String(word)}.`;
      this.#failure = { ...readError({ message }, undefined), code: String(word) };
    }
  }

  #finish(complete: boolean): void {
    if (complete && this.#failure !== undefined) this.#narration.fail(this.#failure, this.#usage());
    if (complete) for (const candidate of this.#candidates.values()) candidate.close();
    this.#narration.finish({ complete, usage: this.#usage() });
  }

  #usage(): UsageNews {
    return { lines: this.#report.metered(true).lines, serviceTier: this.#tier };
  }
}
