/** Responses of OpenAI's API of that name into what they say. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { ResponsesReport } from '../../openai-responses/report.ts';
import { Narration, type UsageNews } from '../narration.ts';
import { readError } from '../reply-error.ts';
import { createReplyParser, type Fields, type ReplyRules } from '../reply-reader.ts';
import type { ReplyParser, ReplyParserOptions } from '../reply.ts';
import { ItemReader } from './item-reader.ts';
import { responsesStopReason } from './stop.ts';

export function createResponsesParser(options: ReplyParserOptions): ReplyParser {
  const narration = new Narration();
  return createReplyParser(options, narration, new ResponsesRules(narration, options.callId));
}

/** This dialect has one choice. */
const ONLY = 0;

class ResponsesRules implements ReplyRules {
  readonly #narration: Narration;
  readonly #report = new ResponsesReport();
  readonly #items: ItemReader;
  #tier: string | undefined;

  constructor(narration: Narration, callId: string) {
    this.#narration = narration;
    this.#items = new ItemReader(narration, callId);
  }

  body(body: Fields): void {
    this.#takeResponse(body);
    this.#finish(body);
  }

  event(event: Fields, name: string): void {
    const type = textOf(event['type']) ?? name;
    if (type === 'error') {
      const error = isRecord(event['error']) ? event['error'] : event;
      const { type: _event, ...fields } = error;
      this.#narration.fail(readError({ error: error === event ? fields : error }, undefined), this.#usage());
      return;
    }
    const response = event['response'];
    if (!isRecord(response)) {
      this.#items.takeEvent(type, event);
      return;
    }
    this.#takeResponse(response);
    if (TERMINAL.has(type)) this.#finish(response);
  }

  /** Some servers of this dialect send the marker of the other one after the end. */
  done(): void {
    this.close();
  }

  close(): void {
    this.#narration.finish({ complete: false, usage: this.#usage() });
  }

  #takeResponse(response: Fields): void {
    this.#report.take(response);
    this.#tier = textOf(response['service_tier']) ?? this.#tier;
    const created = response['created_at'];
    this.#narration.start({
      id: textOf(response['id']) ?? '',
      model: textOf(response['model']) ?? '',
      createdS: typeof created === 'number' ? Math.floor(created) : undefined,
    });
  }

  /** The response as it is at its end: what was not told in pieces is told now. */
  #finish(response: Fields): void {
    const status = textOf(response['status']) ?? 'completed';
    const error = response['error'];
    if (isRecord(error) || (status !== 'completed' && status !== 'incomplete')) {
      const told = isRecord(error) ? error : { message: `The provider's response is ${status}.` };
      this.#narration.fail(readError({ error: told }, undefined), this.#usage());
      return;
    }
    for (const [index, item] of listOf(response['output']).entries())
      if (isRecord(item)) this.#items.takeItem(String(index), item);
    const details = response['incomplete_details'];
    const reason = isRecord(details) ? textOf(details['reason']) : undefined;
    this.#narration.stop(ONLY, responsesStopReason(status === 'incomplete' ? (reason ?? '') : undefined));
    this.#narration.finish({ complete: true, usage: this.#usage() });
  }

  #usage(): UsageNews {
    return { lines: this.#report.metered(true, '').lines, serviceTier: this.#tier };
  }
}

const TERMINAL = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.cancelled',
]);
