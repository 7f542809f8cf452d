/** Chat completions, as OpenAI and everyone who copies it sends them, into what they say. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { carriesError } from '../../passage/counts.ts';
import { ChatReport } from '../../openai-chat/report.ts';
import { Narration, type UsageNews } from '../narration.ts';
import { readError } from '../reply-error.ts';
import { createReplyParser, type Fields, type ReplyRules } from '../reply-reader.ts';
import type { ReplyParser, ReplyParserOptions } from '../reply.ts';
import { readLogprobs } from './logprobs.ts';
import { ChatMessageReader } from './message-reader.ts';
import { chatStopReason } from './stop.ts';

export function createChatParser(options: ReplyParserOptions): ReplyParser {
  const narration = new Narration();
  return createReplyParser(options, narration, new ChatRules(narration, options.callId));
}

class ChatRules implements ReplyRules {
  readonly #narration: Narration;
  readonly #callId: string;
  readonly #report = new ChatReport();
  readonly #readers = new Map<number, ChatMessageReader>();
  #tier: string | undefined;
  #citations: readonly unknown[] = [];
  /** An error under another name; where all that was said came to its end it was none. */
  #bareError: Fields | undefined;

  constructor(narration: Narration, callId: string) {
    this.#narration = narration;
    this.#callId = callId;
  }

  body(body: Fields): void {
    this.#take(body, 'message');
    this.#finish(true);
  }

  event(event: Fields, name: string): void {
    const error = event['error'] ?? null;
    if (name === 'error' || error !== null || event['object'] === 'error') {
      this.#report.take({ ...event, error: null });
      this.#narration.fail(readError(error === null ? event : { error }, undefined), this.#usage());
    } else if (carriesError(event)) this.#bareError ??= event;
    else this.#take(event, 'delta');
  }

  done(): void {
    this.#finish(true);
  }

  /** Several vendors end without a marker: then the reply is whole when every choice told why it stopped. */
  close(): void {
    this.#finish(this.#narration.stopped);
  }

  #take(event: Fields, content: 'delta' | 'message'): void {
    this.#report.take(event);
    this.#tier = textOf(event['service_tier']) ?? this.#tier;
    // Perplexity tells with each chunk all that it has searched so far.
    const found = listOf(event['search_results'] ?? event['citations']);
    if (found.length > 0) this.#citations = found;
    const choices = listOf(event['choices']);
    // Azure's first event has neither, and no id: it is about the prompt.
    if (choices.length > 0 || textOf(event['id']) !== undefined) this.#start(event);
    for (const [index, choice] of choices.entries())
      if (isRecord(choice)) this.#takeChoice(choice, index, content);
  }

  #start(event: Fields): void {
    const created = event['created'];
    this.#narration.start({
      id: textOf(event['id']) ?? '',
      model: textOf(event['model']) ?? '',
      createdS: typeof created === 'number' && created > 0 ? Math.floor(created) : undefined,
    });
  }

  #takeChoice(choice: Fields, place: number, content: 'delta' | 'message'): void {
    const told = choice['index'];
    const index = typeof told === 'number' && Number.isSafeInteger(told) && told >= 0 ? told : place;
    const message = choice[content] ?? choice['delta'] ?? choice['message'];
    if (isRecord(message)) this.#reader(index).take(message, readLogprobs(choice['logprobs']));
    const word = textOf(choice['finish_reason']);
    if (word === undefined) return;
    const reason = chatStopReason(word);
    if (reason !== 'failed') this.#narration.stop(index, reason);
    else {
      const error = choice['error'] ?? { message: `The provider broke off: ${word}.`, code: word };
      this.#narration.fail(readError({ error }, undefined), this.#usage());
    }
  }

  #reader(index: number): ChatMessageReader {
    const known = this.#readers.get(index);
    if (known !== undefined) return known;
    const reader = new ChatMessageReader(this.#narration, index, this.#callId);
    this.#readers.set(index, reader);
    return reader;
  }

  #finish(complete: boolean): void {
    if (this.#bareError !== undefined && !this.#narration.stopped)
      this.#narration.fail(readError(this.#bareError, undefined), this.#usage());
    if (complete) {
      for (const found of this.#citations) this.#readers.get(0)?.cite(found);
      for (const reader of this.#readers.values()) reader.close();
    }
    this.#narration.finish({ complete, usage: this.#usage() });
  }

  #usage(): UsageNews {
    return { lines: this.#report.metered(true, '').lines, serviceTier: this.#tier };
  }
}
