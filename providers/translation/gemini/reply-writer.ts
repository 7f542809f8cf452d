/** What a reply says, as Gemini's: whole, in events, or as the elements of the array that its stream is without `alt=sse`. */
import { Composition } from '../composition.ts';
import { dataFrame, jsonBytes, NO_BYTES } from '../frames.ts';
import { errorNames } from '../reply-error.ts';
import type { ReplyContext, ReplyError, ReplyEvent, ReplyWriter, ReplyWriterOptions } from '../reply.ts';
import { closing, type Proof, proofOf, proofPart, proven, saidPart, textPart, wholeParts } from './parts.ts';
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
      Object.assign({ content: content(wholeParts(choice.parts)) }, closing(choice)),
    );
    return [jsonBytes({ candidates, ...usageOf(this.#reply), ...head(this.#reply, this.#context) })];
  }
}

/**
 * The dialect has no terminal marker: its last word is why the candidates stopped, and that must come with something said.
 * Of Google's own clients one forgets a chat's exchange whose last part is empty, the other one that has no parts. So the
 * last letter of what is open is kept until it is known not to be the last of all, and so are calls and pictures, which
 * are whole.
 */
class GeminiStreamWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;
  readonly #isArray: boolean;
  /** Of each choice, the last letter of its open part. */
  readonly #kept = new Map<number, string>();
  /** Of each choice, the proof of its last thought, until something follows. */
  readonly #proofs = new Map<number, Proof>();
  #elements = 0;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
    this.#isArray = context.jsonArray === true;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    const closed = event.kind === 'part' ? this.#sayAll(event.choice, this.#rest(event.choice)) : NO_BYTES;
    this.#reply.add(event);
    switch (event.kind) {
      case 'delta':
        return this.#delta(event.choice, event.text);
      case 'end':
        return [this.#frame(this.#ending()), ...this.#arrayEnd()];
      case 'error':
        return [...this.unsaid(), this.#frame(errorBody(event.error)), ...this.#arrayEnd()];
      default:
        return closed;
    }
  }

  #delta(choice: number, text: string): readonly Uint8Array[] {
    const kind = this.#reply.lastPart(choice)?.kind;
    // Calls are told whole, when they are.
    if (text === '' || kind === undefined || kind === 'tool_call' || kind === 'media') return NO_BYTES;
    const known = (this.#kept.get(choice) ?? '') + text;
    const last = known.length - ((known.codePointAt(known.length - 2) ?? 0) > 0xffff ? 2 : 1);
    this.#kept.set(choice, known.slice(last));
    return last === 0
      ? NO_BYTES
      : this.#sayAll(choice, this.#proven(choice, textPart(kind, known.slice(0, last))));
  }

  /** What of a choice's open part is not told yet. */
  #rest(choice: number): readonly Json[] {
    const part = this.#reply.lastPart(choice);
    if (part === undefined) return [];
    if (part.kind === 'tool_call' || part.kind === 'media') {
      const said = saidPart(part);
      return said === undefined ? [] : this.#proven(choice, said);
    }
    const text = this.#kept.get(choice) ?? '';
    this.#kept.delete(choice);
    const said = text === '' ? [] : this.#proven(choice, textPart(part.kind, text));
    const proof = part.kind === 'reasoning' ? proofOf(part) : undefined;
    if (proof === undefined) return said;
    const before = this.#proofs.get(choice);
    this.#proofs.set(choice, proof);
    return before === undefined ? said : [...said, proofPart(before)];
  }

  #proven(choice: number, part: Json): readonly Json[] {
    const proof = this.#proofs.get(choice);
    this.#proofs.delete(choice);
    return proven(part, proof);
  }

  /** What was kept of texts. A call that is not whole is none. */
  unsaid(): readonly Uint8Array[] {
    return this.#reply.choices.flatMap(({ index, parts, stop }) => {
      if (stop !== undefined || parts.at(-1)?.kind === 'tool_call') return [];
      return this.#sayAll(index, this.#rest(index));
    });
  }

  #sayAll(choice: number, parts: readonly Json[]): readonly Uint8Array[] {
    return parts.length === 0 ? NO_BYTES : [this.#say(choice, parts)];
  }

  #say(index: number, parts: readonly Json[]): Uint8Array {
    return this.#frame({
      candidates: [{ content: content(parts), index }],
      ...head(this.#reply, this.#context),
    });
  }

  #ending(): Json {
    const candidates = this.#reply.choices.map((choice) => {
      const rest = this.#rest(choice.index);
      const proof = this.#proofs.get(choice.index);
      const parts = proof === undefined ? rest : [...rest, proofPart(proof)];
      return Object.assign(
        { content: content(parts.length === 0 ? [{ text: '' }] : parts) },
        closing(choice),
      );
    });
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
