/** Anthropic's messages into what they say. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import type { UsageLine } from '../../../src/usage/usage.ts';
import { MessagesReport } from '../../anthropic-messages/report.ts';
import { Narration, type UsageNews } from '../narration.ts';
import { readError } from '../reply-error.ts';
import { createReplyParser, type Fields, type ReplyRules } from '../reply-reader.ts';
import type { ReplyParser, ReplyParserOptions } from '../reply.ts';
import { messagesStopReason } from './stop.ts';

export function createMessagesParser(options: ReplyParserOptions): ReplyParser {
  const narration = new Narration();
  return createReplyParser(options, narration, new MessagesRules(narration));
}

/** This dialect has one choice. */
const ONLY = 0;

class MessagesRules implements ReplyRules {
  readonly #narration: Narration;
  readonly #report = new MessagesReport();
  readonly #signatures = new Map<string, string>();
  /** Arguments that a block began with. */
  readonly #inputs = new Map<string, string>();
  #tier: string | undefined;

  constructor(narration: Narration) {
    this.#narration = narration;
  }

  body(body: Fields): void {
    this.#start(body);
    for (const [index, block] of listOf(body['content']).entries()) {
      if (!isRecord(block)) continue;
      const lane = String(index);
      this.#openBlock(lane, block);
      this.#sayBlock(lane, block);
      this.#closeBlock(lane);
    }
    this.#takeStop(body);
    this.#narration.finish({ complete: true, usage: this.#usage() });
  }

  event(event: Fields, name: string): void {
    const lane = String(event['index']);
    switch (event['type'] ?? name) {
      case 'message_start':
        if (isRecord(event['message'])) this.#start(event['message']);
        return;
      case 'content_block_start':
        if (isRecord(event['content_block'])) {
          this.#openBlock(lane, event['content_block']);
          this.#sayBlock(lane, event['content_block']);
        }
        return;
      case 'content_block_delta':
        if (isRecord(event['delta'])) this.#takeDelta(lane, event['delta']);
        return;
      case 'content_block_stop':
        this.#closeBlock(lane);
        return;
      case 'message_delta':
        this.#takeUsage(event['usage']);
        if (isRecord(event['delta'])) this.#takeStop(event['delta']);
        return;
      case 'message_stop':
        this.#narration.finish({ complete: true, usage: this.#usage() });
        return;
      case 'error':
        this.#narration.fail(readError(event, undefined), this.#usage());
    }
  }

  done(): void {
    this.close();
  }

  close(): void {
    this.#narration.finish({ complete: false, usage: this.#usage() });
  }

  #start(message: Fields): void {
    this.#report.takeMessage(message);
    this.#takeTier(message['usage']);
    this.#narration.start({
      id: textOf(message['id']) ?? '',
      model: textOf(message['model']) ?? '',
      createdS: undefined,
      usage: this.#lines(),
    });
  }

  #openBlock(lane: string, block: Fields): void {
    switch (block['type']) {
      case 'text':
        this.#narration.open(ONLY, lane, { kind: 'text' });
        return;
      case 'thinking':
      case 'redacted_thinking':
        this.#narration.open(ONLY, lane, { kind: 'reasoning', vendor: 'anthropic' });
        return;
      case 'tool_use':
        this.#narration.open(ONLY, lane, {
          kind: 'tool_call',
          id: textOf(block['id']) ?? '',
          name: textOf(block['name']) ?? '',
        });
    }
    // The vendor's own tools cannot have been asked for in another dialect: what they did is left out.
  }

  /** What a block has in it: all of a whole one, of a stream's first event most often nothing. */
  #sayBlock(lane: string, block: Fields): void {
    switch (block['type']) {
      case 'text':
        this.#say(lane, block['text']);
        for (const citation of listOf(block['citations'])) this.#cite(lane, citation);
        return;
      case 'thinking':
        this.#say(lane, block['thinking']);
        this.#sign(lane, block['signature']);
        return;
      case 'redacted_thinking':
        this.#narration.sealed(ONLY, lane, textOf(block['data']) ?? '');
        return;
      case 'tool_use':
        // A stream gives `{}` here and the arguments after it; a whole call, and some servers' streams, give them here.
        if (isRecord(block['input']) && Object.keys(block['input']).length > 0)
          this.#inputs.set(lane, JSON.stringify(block['input']));
    }
  }

  #takeDelta(lane: string, delta: Fields): void {
    switch (delta['type']) {
      case 'text_delta':
        this.#say(lane, delta['text']);
        return;
      case 'thinking_delta':
        this.#say(lane, delta['thinking']);
        return;
      case 'input_json_delta':
        if (textOf(delta['partial_json']) !== undefined) this.#inputs.delete(lane);
        this.#say(lane, delta['partial_json']);
        return;
      case 'signature_delta':
        this.#sign(lane, delta['signature']);
        return;
      case 'citations_delta':
        this.#cite(lane, delta['citation']);
    }
  }

  #closeBlock(lane: string): void {
    this.#say(lane, this.#inputs.get(lane));
    this.#inputs.delete(lane);
    const signature = this.#signatures.get(lane);
    this.#signatures.delete(lane);
    if (signature !== undefined) this.#narration.signature(ONLY, lane, signature);
    this.#narration.done(ONLY, lane);
  }

  #say(lane: string, text: unknown): void {
    if (typeof text === 'string') this.#narration.delta(ONLY, lane, { text });
  }

  /** The official SDK takes the last one for the whole. */
  #sign(lane: string, signature: unknown): void {
    const text = textOf(signature);
    if (text !== undefined) this.#signatures.set(lane, text);
  }

  /** Sources that have an address; places in the caller's own documents have none. */
  #cite(lane: string, citation: unknown): void {
    if (!isRecord(citation)) return;
    const url = textOf(citation['url']);
    if (url === undefined) return;
    const title = textOf(citation['title']);
    this.#narration.citation(ONLY, lane, { url, title, start: undefined, end: undefined });
  }

  #takeStop(told: Fields): void {
    const reason = textOf(told['stop_reason']);
    if (reason !== undefined)
      this.#narration.stop(ONLY, messagesStopReason(reason), textOf(told['stop_sequence']));
  }

  #takeUsage(usage: unknown): void {
    this.#report.takeUsage(usage);
    this.#takeTier(usage);
  }

  #takeTier(usage: unknown): void {
    if (isRecord(usage)) this.#tier = textOf(usage['service_tier']) ?? this.#tier;
  }

  #lines(): readonly UsageLine[] {
    return this.#report.metered(true, '').lines;
  }

  #usage(): UsageNews {
    return { lines: this.#lines(), serviceTier: this.#tier };
  }
}
