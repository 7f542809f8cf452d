/** What a reply says, as a chat completion: whole, or in the chunks that OpenAI's SDK adds up to the same. */
import { Composition } from '../composition.ts';
import { DONE_FRAME, dataFrame, jsonBytes, NO_BYTES } from '../frames.ts';
import { openaiError } from '../reply-error.ts';
import type { OpenedPart, ReplyContext, ReplyEvent, ReplyWriter, ReplyWriterOptions } from '../reply.ts';
import { writtenTokens } from './logprobs.ts';
import { closingFields, finishReason, image, toolCall, wholeChoice } from './message-writer.ts';
import { chatUsage, openaiTier } from './usage-writer.ts';

export const createChatWriter = ({ stream, context }: ReplyWriterOptions): ReplyWriter =>
  stream ? new ChatStreamWriter(context) : new ChatWholeWriter(context);

type Json = Readonly<Record<string, unknown>>;
type Delta = Extract<ReplyEvent, { kind: 'delta' }>;

class ChatWholeWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #id: string;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#id = completionId(context);
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    this.#reply.add(event);
    if (event.kind === 'error') return [jsonBytes({ error: openaiError(event.error) })];
    return event.kind === 'end' ? [jsonBytes(this.#completion())] : NO_BYTES;
  }

  #completion(): Json {
    const { choices, usage } = this.#reply;
    return {
      id: this.#id,
      object: 'chat.completion',
      created: this.#reply.createdS,
      model: this.#reply.model,
      choices: choices.map((choice) => wholeChoice(choice)),
      ...(usage === undefined ? {} : { usage: chatUsage(usage) }),
      ...tierOf(this.#reply),
    };
  }
}

class ChatStreamWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #id: string;
  readonly #includeUsage: boolean;
  /** Of each choice that has begun, how many tool calls it has opened. */
  readonly #toolCalls = new Map<number, number>();

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#id = completionId(context);
    this.#includeUsage = context.includeUsage;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    this.#reply.add(event);
    switch (event.kind) {
      case 'part':
        return [...this.#begin(event.choice, event.part), ...this.#part(event.choice, event.part)];
      case 'delta':
        return [this.#delta(event)];
      case 'stop':
        return [...this.#begin(event.choice), ...this.#stop(event.choice)];
      case 'end':
        return [...this.#usage(), DONE_FRAME];
      case 'error':
        return [dataFrame({ error: openaiError(event.error) })];
      default:
        // Proofs and sources are told with the stop.
        return NO_BYTES;
    }
  }

  /** The chunk with the role, before a choice says anything. */
  #begin(choice: number, part?: OpenedPart): readonly Uint8Array[] {
    if (this.#toolCalls.has(choice)) return NO_BYTES;
    this.#toolCalls.set(choice, 0);
    const content = part?.kind === 'text' ? '' : null;
    return [this.#chunk(choice, { role: 'assistant', content, refusal: null })];
  }

  #part(choice: number, part: OpenedPart): readonly Uint8Array[] {
    if (part.kind === 'media') return [this.#chunk(choice, { images: [image(part.mediaType, part.base64)] })];
    if (part.kind !== 'tool_call') return NO_BYTES;
    const index = this.#toolCalls.get(choice) ?? 0;
    this.#toolCalls.set(choice, index + 1);
    const opened = toolCall({ ...part, signature: part.signature, text: '' });
    return [this.#chunk(choice, { tool_calls: [{ index, ...opened }] })];
  }

  #delta({ choice, text, logprobs = [] }: Delta): Uint8Array {
    const part = this.#reply.lastPart(choice);
    const tokens = logprobs.length === 0 ? null : writtenTokens(logprobs);
    switch (part?.kind) {
      case 'reasoning':
        return this.#chunk(choice, { reasoning_content: text });
      case 'tool_call':
        return this.#chunk(choice, {
          tool_calls: [{ index: (this.#toolCalls.get(choice) ?? 1) - 1, function: { arguments: text } }],
        });
      case 'refusal':
        return this.#chunk(choice, { refusal: text }, { content: null, refusal: tokens });
      default:
        return this.#chunk(choice, { content: text }, { content: tokens, refusal: null });
    }
  }

  #stop(index: number): readonly Uint8Array[] {
    const choice = this.#reply.choice(index);
    const closing = closingFields(choice);
    const told = Object.keys(closing).length === 0 ? [] : [this.#chunk(index, closing)];
    return [
      ...told,
      this.#frame([{ index, delta: {}, logprobs: null, finish_reason: finishReason(choice) }]),
    ];
  }

  #usage(): readonly Uint8Array[] {
    const { usage } = this.#reply;
    if (!this.#includeUsage || usage === undefined) return NO_BYTES;
    return [this.#frame([], chatUsage(usage))];
  }

  #chunk(index: number, delta: Json, logprobs?: Json): Uint8Array {
    const told = logprobs === undefined || Object.values(logprobs).every((list) => list === null);
    return this.#frame([{ index, delta, logprobs: told ? null : logprobs, finish_reason: null }]);
  }

  #frame(choices: readonly Json[], usage: Json | null = null): Uint8Array {
    return dataFrame({
      id: this.#id,
      object: 'chat.completion.chunk',
      created: this.#reply.createdS,
      model: this.#reply.model,
      choices,
      ...(this.#includeUsage ? { usage } : {}),
      ...tierOf(this.#reply),
    });
  }
}

const completionId = ({ callId }: ReplyContext): string => `chatcmpl-${callId}`;

function tierOf({ serviceTier }: Composition): Json {
  const tier = openaiTier(serviceTier);
  return tier === undefined ? {} : { service_tier: tier };
}
