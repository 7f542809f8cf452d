/** What a reply says, as Gemini's: whole, in events, or as the elements of the array that its stream is without `alt=sse`. */
import { Composition, type ComposedPart } from '../composition.ts';
import { dataFrame, jsonBytes, NO_BYTES } from '../frames.ts';
import { errorNames } from '../reply-error.ts';
import type { ReplyContext, ReplyError, ReplyEvent, ReplyWriter, ReplyWriterOptions } from '../reply.ts';
import { closing, proofPart, wholeParts } from './parts.ts';
import { geminiUsage } from './usage-writer.ts';

export const createGeminiWriter = ({ stream, context }: ReplyWriterOptions): ReplyWriter =>
  stream ? new GeminiStreamWriter(context) : new GeminiWholeWriter(context);

type Json = Readonly<Record<string, unknown>>;

class GeminiWholeWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    this.#reply.add(event);
    if (event.kind === 'error') return [jsonBytes(errorBody(event.error))];
    if (event.kind !== 'end') return NO_BYTES;
    const candidates = this.#reply.choices.map((choice) =>
      Object.assign({ content: content(choice.parts.flatMap((part) => wholeParts(part))) }, closing(choice)),
    );
    return [jsonBytes({ candidates, ...usageOf(this.#reply), ...head(this.#reply, this.#context) })];
  }
}

class GeminiStreamWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;
  readonly #isArray: boolean;
  #elements = 0;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
    this.#isArray = context.jsonArray === true;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    const closed =
      event.kind === 'part' || event.kind === 'stop'
        ? this.#close(event.choice, this.#reply.lastPart(event.choice))
        : NO_BYTES;
    this.#reply.add(event);
    switch (event.kind) {
      case 'part':
        if (event.part.kind !== 'media') return closed;
        return [...closed, this.#say(event.choice, wholeParts(event.part))];
      case 'delta':
        return this.#delta(event.choice, event.text);
      case 'end':
        return [this.#frame(this.#ending()), ...this.#arrayEnd()];
      case 'error':
        return [this.#frame(errorBody(event.error)), ...this.#arrayEnd()];
      default:
        return closed;
    }
  }

  #delta(choice: number, text: string): readonly Uint8Array[] {
    const kind = this.#reply.lastPart(choice)?.kind;
    // Calls are told whole, when they are.
    if (text === '' || kind === 'tool_call') return NO_BYTES;
    return [this.#say(choice, [kind === 'reasoning' ? { text, thought: true } : { text }])];
  }

  #close(choice: number, part: ComposedPart | undefined): readonly Uint8Array[] {
    if (part?.kind === 'tool_call') return [this.#say(choice, wholeParts(part))];
    const proof = part?.kind === 'reasoning' ? proofPart(part) : undefined;
    return proof === undefined ? NO_BYTES : [this.#say(choice, [proof])];
  }

  #say(index: number, parts: readonly Json[]): Uint8Array {
    return this.#frame({
      candidates: [{ content: content(parts), index }],
      ...head(this.#reply, this.#context),
    });
  }

  /** The dialect has no terminal marker: why the candidates stopped, and the usage, are its last word. */
  #ending(): Json {
    const candidates = this.#reply.choices.map((choice) =>
      Object.assign({ content: content([{ text: '' }]) }, closing(choice)),
    );
    return { candidates, ...usageOf(this.#reply), ...head(this.#reply, this.#context) };
  }

  #frame(value: Json): Uint8Array {
    if (!this.#isArray) return dataFrame(value);
    const before = this.#elements === 0 ? '[' : ',\n';
    this.#elements += 1;
    return encoder.encode(before + JSON.stringify(value));
  }

  #arrayEnd(): readonly Uint8Array[] {
    return this.#isArray ? [encoder.encode(']')] : NO_BYTES;
  }
}

const encoder = new TextEncoder();

const content = (parts: readonly Json[]): Json => ({ parts, role: 'model' });

const head = ({ model }: Composition, { callId }: ReplyContext): Json => ({
  modelVersion: model,
  responseId: callId,
});

const usageOf = ({ usage }: Composition): Json =>
  usage === undefined ? {} : { usageMetadata: geminiUsage(usage) };

function errorBody(error: ReplyError): Json {
  const names = errorNames(error);
  return { error: { code: error.status ?? names.status, message: error.message, status: names.gemini } };
}
