/**
 * The output items of a response, in events or whole. Servers differ in how much they tell in events: whatever an item
 * has at its end that was not told before is told then, once.
 */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { readTokens } from '../chat/logprobs.ts';
import type { Narration } from '../narration.ts';
import type { Fields } from '../reply-reader.ts';
import type { OpenedPart, TokenLogprob } from '../reply.ts';

/** This dialect has one choice. */
const ONLY = 0;
/** What stands between the parts of a summary, which are paragraphs. */
const BETWEEN_PARTS = '\n\n';

export class ItemReader {
  readonly #narration: Narration;
  readonly #callId: string;
  /** Lanes that have said something. */
  readonly #said = new Set<string>();
  /** Items that were told to their end, by their place and by their id: a response may leave some out at its end. */
  readonly #done = new Set<string>();
  /** The lanes of each message, in the order of its parts: some servers' indexes in events are not their places. */
  readonly #contents = new Map<string, string[]>();
  /** Which part of a thought was told last. */
  readonly #thoughtPart = new Map<string, string>();

  constructor(narration: Narration, callId: string) {
    this.#narration = narration;
    this.#callId = callId;
  }

  takeEvent(type: string, event: Fields): void {
    const at = event['output_index'] ?? event['item_id'];
    const item = typeof at === 'number' || typeof at === 'string' ? String(at) : '0';
    const content = { item, lane: `${item}.${String(event['content_index'] ?? 0)}` };
    switch (type) {
      case 'response.output_item.added':
        if (isRecord(event['item'])) this.#openItem(item, event['item']);
        return;
      case 'response.output_item.done':
        if (isRecord(event['item'])) this.takeItem(item, event['item']);
        return;
      case 'response.content_part.added':
        if (isRecord(event['part'])) this.#openContent(content, event['part']['type']);
        return;
      case 'response.output_text.delta':
        this.#openContent(content, 'output_text');
        this.#say(content.lane, event['delta'], readTokens(event['logprobs']));
        return;
      case 'response.refusal.delta':
        this.#openContent(content, 'refusal');
        this.#say(content.lane, event['delta']);
        return;
      case 'response.reasoning_summary_text.delta':
        this.#sayThought(item, `summary ${String(event['summary_index'] ?? 0)}`, event['delta']);
        return;
      case 'response.reasoning_text.delta':
        this.#sayThought(item, `content ${String(event['content_index'] ?? 0)}`, event['delta']);
        return;
      case 'response.function_call_arguments.delta':
        this.#say(item, event['delta']);
    }
  }

  /** An item as it is at its end. */
  takeItem(at: string, item: Fields): void {
    const id = textOf(item['id']);
    if (this.#done.has(at) || (id !== undefined && this.#done.has(`id ${id}`))) return;
    this.#done.add(at);
    if (id !== undefined) this.#done.add(`id ${id}`);
    this.#openItem(at, item);
    switch (item['type']) {
      case 'message':
        for (const [index, part] of listOf(item['content']).entries())
          if (isRecord(part)) this.#takeContent(at, index, part);
        return;
      case 'reasoning':
        this.#takeThought(at, item);
        return;
      case 'function_call':
        if (!this.#said.has(at)) this.#say(at, item['arguments']);
        this.#narration.done(ONLY, at);
        return;
      case 'image_generation_call':
        this.#takeImage(at, item);
    }
    // The vendor's own tools cannot have been asked for in another dialect: what they did is left out.
  }

  #openItem(at: string, item: Fields): void {
    if (item['type'] === 'reasoning')
      this.#open(at, { kind: 'reasoning', vendor: 'openai', id: textOf(item['id']) });
    if (item['type'] !== 'function_call') return;
    const id = textOf(item['call_id']) ?? textOf(item['id']) ?? `call_${this.#callId}_${at}`;
    this.#open(at, { kind: 'tool_call', id, name: textOf(item['name']) ?? '' });
  }

  #openContent({ item, lane }: { readonly item: string; readonly lane: string }, type: unknown): void {
    const lanes = this.#contents.get(item);
    if (lanes === undefined) this.#contents.set(item, [lane]);
    else if (!lanes.includes(lane)) lanes.push(lane);
    if (type === 'output_text') this.#open(lane, { kind: 'text' });
    else if (type === 'refusal') this.#open(lane, { kind: 'refusal' });
  }

  #takeContent(item: string, index: number, part: Fields): void {
    const lane = this.#contents.get(item)?.[index] ?? `${item}.${index}`;
    this.#openContent({ item, lane }, part['type']);
    if (!this.#said.has(lane)) this.#say(lane, part['text'] ?? part['refusal'], readTokens(part['logprobs']));
    for (const annotation of listOf(part['annotations'])) this.#takeAnnotation(lane, annotation);
  }

  #takeThought(at: string, item: Fields): void {
    if (!this.#said.has(at)) {
      for (const part of ['summary', 'content']) {
        for (const [index, told] of listOf(item[part]).entries())
          if (isRecord(told)) this.#sayThought(at, `${part} ${index}`, told['text']);
      }
    }
    const sealed = textOf(item['encrypted_content']);
    if (sealed !== undefined) this.#narration.sealed(ONLY, at, sealed);
  }

  /** A summary stands for the thought it sums up: where there is one, the thought itself is not told again. */
  #sayThought(at: string, part: string, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const last = this.#thoughtPart.get(at);
    if (last?.startsWith('summary') === true && part.startsWith('content')) return;
    this.#thoughtPart.set(at, part);
    this.#open(at, { kind: 'reasoning', vendor: 'openai' });
    this.#say(at, last === undefined || last === part ? text : BETWEEN_PARTS + text);
  }

  #takeImage(at: string, item: Fields): void {
    const base64 = textOf(item['result']);
    if (base64 === undefined) return;
    this.#open(at, { kind: 'media', mediaType: `image/${textOf(item['output_format']) ?? 'png'}`, base64 });
  }

  #takeAnnotation(lane: string, annotation: unknown): void {
    if (!isRecord(annotation) || annotation['type'] !== 'url_citation') return;
    const url = textOf(annotation['url']);
    if (url === undefined) return;
    const { start_index: start, end_index: end } = annotation;
    this.#narration.citation(ONLY, lane, {
      url,
      title: textOf(annotation['title']),
      start: typeof start === 'number' ? start : undefined,
      end: typeof end === 'number' ? end : undefined,
    });
  }

  #open(lane: string, part: OpenedPart): void {
    this.#narration.open(ONLY, lane, part);
  }

  #say(lane: string, text: unknown, logprobs: readonly TokenLogprob[] = []): void {
    if (typeof text !== 'string') return;
    if (text !== '') this.#said.add(lane);
    this.#narration.delta(ONLY, lane, { text, logprobs });
  }
}
