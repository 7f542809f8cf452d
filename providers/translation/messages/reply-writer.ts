/** What a reply says, as an Anthropic message: whole, or in the events that its SDK adds up to the same. */
import { Composition } from '../composition.ts';
import { jsonBytes, NO_BYTES, typedFrame } from '../frames.ts';
import { errorNames } from '../reply-error.ts';
import type {
  OpenedPart,
  ReplyContext,
  ReplyError,
  ReplyEvent,
  ReplyWriter,
  ReplyWriterOptions,
} from '../reply.ts';
import {
  citationBlock,
  sealedBlock,
  proofsOf,
  textBlock,
  thinkingBlock,
  toolBlock,
  wholeBlocks,
  type Block,
} from './blocks.ts';
import { STOP_WORDS } from './stop.ts';
import { deltaUsage, messageUsage } from './usage-writer.ts';

export const createMessagesWriter = ({ stream, context }: ReplyWriterOptions): ReplyWriter =>
  stream ? new MessagesStreamWriter(context) : new MessagesWholeWriter(context);

type Json = Readonly<Record<string, unknown>>;

/** This dialect has one choice; who asks for more is refused before. */
const ONLY = 0;

class MessagesWholeWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;
  failed = false;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    if (this.failed) return NO_BYTES;
    this.#reply.add(event);
    if (isMedia(event)) return this.#fail(NO_MEDIA);
    if (event.kind === 'error') return this.#fail(event.error);
    return event.kind === 'end' ? [jsonBytes(this.#message())] : NO_BYTES;
  }

  #fail(error: ReplyError): readonly Uint8Array[] {
    this.failed = true;
    return [jsonBytes(errorBody(error, this.#context))];
  }

  #message(): Json {
    const { parts } = this.#reply.choice(ONLY);
    return {
      ...messageHead(this.#reply, this.#context),
      content: parts.flatMap((part) => wholeBlocks(part)),
      ...stopOf(this.#reply),
      usage: messageUsage(this.#reply.usage, this.#reply.serviceTier),
    };
  }
}

class MessagesStreamWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;
  #started = false;
  failed = false;
  #index = -1;
  /** Whether the block of that index is open. */
  #open = false;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    if (this.failed || ('choice' in event && event.choice !== ONLY)) return NO_BYTES;
    if (isMedia(event)) return this.#fail(NO_MEDIA);
    const closed = event.kind === 'part' || event.kind === 'stop' ? this.#close() : NO_BYTES;
    this.#reply.add(event);
    switch (event.kind) {
      case 'start':
        return [this.#start()];
      case 'part':
        return [...closed, ...this.#openPart(event.part)];
      case 'delta':
        return this.#delta(event.text);
      case 'citation':
        return [this.#blockDelta({ type: 'citations_delta', citation: citationBlock(event.citation) })];
      case 'stop':
        return closed;
      case 'signature':
      case 'sealed':
      case 'usage':
        // Proofs are told when their thought is closed, usage at the end.
        return NO_BYTES;
      case 'end':
        return this.#end();
      case 'error':
        return this.#fail(event.error);
    }
  }

  #start(): Uint8Array {
    this.#started = true;
    const message = {
      ...messageHead(this.#reply, this.#context),
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: messageUsage(this.#reply.usage, this.#reply.serviceTier),
    };
    return typedFrame({ type: 'message_start', message });
  }

  #openPart(part: OpenedPart): readonly Uint8Array[] {
    switch (part.kind) {
      case 'text':
      case 'refusal':
        return [this.#openBlock(textBlock(''))];
      case 'tool_call':
        return [this.#openBlock(toolBlock(part))];
      case 'reasoning':
        // Opened when it says something: a thought without words is another kind of block.
        return NO_BYTES;
      case 'media':
        return NO_BYTES;
    }
  }

  #delta(text: string): readonly Uint8Array[] {
    // An empty delta came for its log probabilities, which this dialect has not.
    if (text === '') return NO_BYTES;
    const kind = this.#reply.lastPart(ONLY)?.kind;
    if (kind === 'tool_call') return [this.#blockDelta({ type: 'input_json_delta', partial_json: text })];
    if (kind !== 'reasoning') return [this.#blockDelta({ type: 'text_delta', text })];
    const opened = this.#open ? [] : [this.#openBlock(thinkingBlock('', ''))];
    return [...opened, this.#blockDelta({ type: 'thinking_delta', thinking: text })];
  }

  /** Ends the open block; a thought tells its proof first. */
  #close(): readonly Uint8Array[] {
    const thought = this.#reply.lastPart(ONLY);
    if (thought?.kind !== 'reasoning' || this.#reply.choice(ONLY).stop !== undefined)
      return this.#closeBlock();
    const { signature, data } = proofsOf(thought);
    if (data !== undefined)
      return [...this.#closeBlock(), this.#openBlock(sealedBlock(data)), ...this.#closeBlock()];
    if (signature === '') return this.#closeBlock();
    const opened = this.#open ? [] : [this.#openBlock(thinkingBlock('', ''))];
    return [...opened, this.#blockDelta({ type: 'signature_delta', signature }), ...this.#closeBlock()];
  }

  #openBlock(block: Block): Uint8Array {
    this.#open = true;
    this.#index += 1;
    return typedFrame({ type: 'content_block_start', index: this.#index, content_block: block });
  }

  #blockDelta(delta: Json): Uint8Array {
    return typedFrame({ type: 'content_block_delta', index: this.#index, delta });
  }

  #closeBlock(): readonly Uint8Array[] {
    if (!this.#open) return NO_BYTES;
    this.#open = false;
    return [typedFrame({ type: 'content_block_stop', index: this.#index })];
  }

  #end(): readonly Uint8Array[] {
    const begun = this.#started ? [] : [this.#start()];
    return [
      ...begun,
      typedFrame({ type: 'message_delta', delta: stopOf(this.#reply), usage: deltaUsage(this.#reply.usage) }),
      typedFrame({ type: 'message_stop' }),
    ];
  }

  #fail(error: ReplyError): readonly Uint8Array[] {
    this.failed = true;
    return [typedFrame(errorBody(error, this.#context))];
  }
}

const messageHead = (reply: Composition, { callId }: ReplyContext): Json => ({
  id: `msg_${callId}`,
  type: 'message',
  role: 'assistant',
  model: reply.model,
  container: null,
});

function stopOf(reply: Composition): Json {
  const { stop } = reply.choice(ONLY);
  return {
    stop_reason: STOP_WORDS[stop?.reason ?? 'end'],
    stop_sequence: stop?.sequence ?? null,
  };
}

function errorBody(error: ReplyError, { callId }: ReplyContext): { readonly type: string } & Json {
  return {
    type: 'error',
    error: { type: errorNames(error).anthropic, message: error.message },
    request_id: callId,
  };
}

const isMedia = (event: ReplyEvent): boolean => event.kind === 'part' && event.part.kind === 'media';

const NO_MEDIA: ReplyError = {
  status: undefined,
  message: 'The model answered with a picture or a sound, which this API cannot carry.',
  type: undefined,
  code: undefined,
  param: undefined,
};
