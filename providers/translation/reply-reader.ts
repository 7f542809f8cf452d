/** What the parsers of all dialects have in common: where a reply's JSON comes from, and that it may be an error. */
import { JsonReply } from '../../src/usage/json-reply.ts';
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, sseEventName, SseScanner, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { carriesError } from '../passage/counts.ts';
import type { Narration } from './narration.ts';
import { readError } from './reply-error.ts';
import type { ReplyEvent, ReplyParser, ReplyParserOptions } from './reply.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** What a dialect knows of its replies. Everything is told to the narration that the rules were made with. */
export interface ReplyRules {
  /** A whole reply. */
  body(body: Fields): void;
  /** One event of a stream; `name` is its SSE name, empty where it has none. */
  event(event: Fields, name: string): void;
  /** The marker `[DONE]`. */
  done(): void;
  /** After the last byte of a stream. */
  close(): void;
}

/** The parser of a dialect with these rules. */
export function createReplyParser(
  { stream, status }: ReplyParserOptions,
  narration: Narration,
  rules: ReplyRules,
): ReplyParser {
  if (status >= 400)
    return new JsonParser(narration, (body, text) => narration.fail(readError(body, status, text)));
  if (stream) return new StreamParser(narration, rules);
  return new JsonParser(narration, (body, text) => {
    if (Array.isArray(body) && body.every((element) => isRecord(element))) {
      // Gemini's other form of a stream.
      for (const element of body) rules.event(element, '');
      rules.close();
    } else if (!isRecord(body))
      narration.fail(readError({}, undefined, `The provider's reply is no JSON object: ${text}`));
    else if (carriesError(body) && !('output' in body)) narration.fail(readError(body, undefined));
    else rules.body(body);
  });
}

class JsonParser implements ReplyParser {
  readonly #reply = new JsonReply();
  readonly #narration: Narration;
  readonly #read: (body: unknown, text: string) => void;

  constructor(narration: Narration, read: (body: unknown, text: string) => void) {
    this.#narration = narration;
    this.#read = read;
  }

  write(chunk: Uint8Array): readonly ReplyEvent[] {
    this.#reply.write(chunk);
    return NOTHING;
  }

  end(): readonly ReplyEvent[] {
    const body = this.#reply.parse();
    this.#read(body, isRecord(body) ? '' : quoted(this.#reply.release()));
    return this.#narration.take();
  }
}

/** The beginning of a body that is no JSON: what an error quotes of it is shorter. */
const quoted = (pieces: readonly Uint8Array[]): string => {
  const decoder = new TextDecoder();
  let text = '';
  for (const piece of pieces) {
    text += decoder.decode(piece.subarray(0, 4096), { stream: true });
    if (text.length >= 4096) break;
  }
  return text;
};

class StreamParser implements ReplyParser {
  readonly #narration: Narration;
  readonly #rules: ReplyRules;
  readonly #scanner = new SseScanner((bytes, unit) => this.#take(bytes, unit));
  #closed = false;

  constructor(narration: Narration, rules: ReplyRules) {
    this.#narration = narration;
    this.#rules = rules;
  }

  write(chunk: Uint8Array): readonly ReplyEvent[] {
    this.#scanner.write(chunk);
    return this.#narration.take();
  }

  end(): readonly ReplyEvent[] {
    this.#scanner.end();
    if (!this.#closed) this.#rules.close();
    this.#closed = true;
    return this.#narration.take();
  }

  #take(bytes: Uint8Array, unit: SseUnit): void {
    if (this.#narration.over) return;
    const data = unit.dataLines === 0 ? '' : sseData(bytes, unit);
    if (data.trim() === '') this.#takeErrorField(bytes, unit);
    else if (data.startsWith('[DONE]')) this.#rules.done();
    else this.#takeEvent(data, bytes, unit);
  }

  #takeEvent(data: string, bytes: Uint8Array, unit: SseUnit): void {
    const event = parseJson(data);
    if (isRecord(event)) this.#rules.event(event, sseEventName(bytes, unit));
    // What the stream's end cut off is no event.
    else if (unit.complete)
      this.#narration.fail(
        readError({}, undefined, `The provider sent an event that is no JSON object: ${data}`),
      );
  }

  /** GPUStack reports a failure in a field of this name, which SSE clients pass over. */
  #takeErrorField(bytes: Uint8Array, unit: SseUnit): void {
    const text = new TextDecoder().decode(bytes.subarray(unit.start, Math.min(unit.end, unit.start + 8192)));
    const error = /^error:(.*)/u.exec(text)?.[1];
    if (error !== undefined) this.#narration.fail(readError(parseJson(error), undefined, error));
  }
}

const NOTHING: readonly ReplyEvent[] = [];
