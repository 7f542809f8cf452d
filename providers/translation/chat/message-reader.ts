/** One choice's message of a chat completion, whole or in deltas: the two differ in nothing but size. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { JSON_REPLY_BYTES_MAX } from '../../../src/usage/json-reply.ts';
import { ReplyTooLarge } from '../../../src/usage/reply-too-large.ts';
import type { Narration } from '../narration.ts';
import type { Fields } from '../reply-reader.ts';
import type { Citation } from '../reply.ts';
import type { ChatLogprobs } from './logprobs.ts';
import { ToolCallReader } from './tool-call-reader.ts';

/** Mistral's content holds parts of kind `thinking` that hold text parts. */
const PARTS_DEPTH_MAX = 4;

export class ChatMessageReader {
  readonly #narration: Narration;
  readonly #choice: number;
  readonly #toolCalls: ToolCallReader;
  #media = 0;
  /** The thought is told under a name of its own: what details say of it again is nothing new. */
  #toldThought = false;
  #audio = '';

  constructor(narration: Narration, choice: number, callId: string) {
    this.#narration = narration;
    this.#choice = choice;
    this.#toolCalls = new ToolCallReader(narration, choice, callId);
  }

  take(message: Fields, logprobs: ChatLogprobs): void {
    this.#takeReasoning(message);
    this.#takeContent(message['content'], logprobs.content);
    this.#say('refusal', message['refusal'], logprobs.refusal);
    const audio = message['audio'];
    if (isRecord(audio)) this.#takeAudio(audio);
    for (const image of listOf(message['images'])) this.#takeImage(image);
    for (const annotation of listOf(message['annotations'])) this.#takeAnnotation(annotation);
    this.#toolCalls.take(message);
  }

  /** A source that stands beside the message: an address, or an object with one. */
  cite(found: unknown): void {
    const url = textOf(found) ?? (isRecord(found) ? textOf(found['url']) : undefined);
    if (url === undefined) return;
    const title = isRecord(found) ? textOf(found['title']) : undefined;
    this.#cite({ url, title, start: undefined, end: undefined });
  }

  /** After the last of it. */
  close(): void {
    this.#toolCalls.close();
    if (this.#audio !== '') this.#open({ mediaType: 'audio/wav', base64: this.#audio });
    this.#audio = '';
  }

  #say(lane: 'text' | 'reasoning' | 'refusal', text: unknown, logprobs: ChatLogprobs['content'] = []): void {
    this.#narration.say(this.#choice, lane, { text: typeof text === 'string' ? text : '', logprobs });
  }

  /** OpenRouter tells the same thought under two names, and in `reasoning_details` with its proof. */
  #takeReasoning(message: Fields): void {
    const text = textOf(message['reasoning_content']) ?? textOf(message['reasoning']);
    if (text !== undefined) this.#say('reasoning', text);
    this.#toldThought ||= text !== undefined;
    for (const detail of listOf(message['reasoning_details'])) {
      if (!isRecord(detail)) continue;
      if (!this.#toldThought) this.#say('reasoning', detail['text'] ?? detail['summary']);
      const signature = textOf(detail['signature']);
      const sealed = detail['type'] === 'reasoning.encrypted' ? textOf(detail['data']) : undefined;
      if (signature !== undefined || sealed !== undefined)
        this.#narration.open(this.#choice, 'reasoning', {
          kind: 'reasoning',
          vendor: 'compatible',
          id: textOf(detail['id']),
        });
      if (signature !== undefined) this.#narration.signature(this.#choice, 'reasoning', signature);
      if (sealed !== undefined) this.#narration.sealed(this.#choice, 'reasoning', sealed);
    }
  }

  #takeContent(content: unknown, logprobs: ChatLogprobs['content'], depth = 0): void {
    if (!Array.isArray(content)) {
      this.#say('text', content, logprobs);
      return;
    }
    for (const part of content) {
      if (typeof part === 'string') this.#say('text', part);
      else if (isRecord(part) && part['type'] === 'image_url') this.#takeImage(part);
      else if (isRecord(part) && part['type'] === 'thinking') this.#takeThinking(part['thinking'], depth);
      else if (isRecord(part)) this.#say('text', part['text']);
    }
    if (logprobs.length > 0) this.#say('text', '', logprobs);
  }

  #takeThinking(thinking: unknown, depth: number): void {
    if (typeof thinking === 'string') this.#say('reasoning', thinking);
    if (depth >= PARTS_DEPTH_MAX) return;
    for (const part of listOf(thinking)) {
      if (typeof part === 'string') this.#say('reasoning', part);
      else if (isRecord(part)) this.#takeThinking(part['thinking'] ?? part['text'], depth + 1);
    }
  }

  /** Sound comes in pieces, and what it says beside it. */
  #takeAudio(audio: Fields): void {
    this.#say('text', audio['transcript']);
    this.#audio += textOf(audio['data']) ?? '';
    if (this.#audio.length > JSON_REPLY_BYTES_MAX)
      throw new ReplyTooLarge("The reply's sound", JSON_REPLY_BYTES_MAX);
  }

  /** OpenRouter's pictures: addresses that are the picture. Others name a place, which is a source. */
  #takeImage(image: unknown): void {
    const place = isRecord(image) ? image['image_url'] : undefined;
    const url = isRecord(place) ? textOf(place['url']) : textOf(place);
    const [, mediaType, base64] = /^data:([^;,]+);base64,(.*)$/su.exec(url ?? '') ?? [];
    if (mediaType !== undefined && base64 !== undefined) this.#open({ mediaType, base64 });
    else if (url !== undefined) this.cite(url);
  }

  #open(media: { readonly mediaType: string; readonly base64: string }): void {
    this.#media += 1;
    this.#narration.open(this.#choice, `media ${this.#media}`, { kind: 'media', ...media });
  }

  #takeAnnotation(annotation: unknown): void {
    const cited = isRecord(annotation) ? annotation['url_citation'] : undefined;
    if (!isRecord(cited)) return;
    const url = textOf(cited['url']);
    if (url === undefined) return;
    const { start_index: start, end_index: end } = cited;
    this.#cite({
      url,
      title: textOf(cited['title']),
      start: typeof start === 'number' ? start : undefined,
      end: typeof end === 'number' ? end : undefined,
    });
  }

  #cite(citation: Citation): void {
    this.#narration.open(this.#choice, 'text', { kind: 'text' });
    this.#narration.citation(this.#choice, 'text', citation);
  }
}
