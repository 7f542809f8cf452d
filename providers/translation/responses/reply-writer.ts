/** What a reply says, as a response of OpenAI's API of that name: whole, or in its events. */
import { Composition } from '../composition.ts';
import { jsonBytes, NO_BYTES, typedFrame } from '../frames.ts';
import { openaiError } from '../reply-error.ts';
import type { ReplyContext, ReplyError, ReplyEvent, ReplyWriter, ReplyWriterOptions } from '../reply.ts';
import { ItemTeller } from './item-teller.ts';
import {
  begunResponse,
  endedResponse,
  errorCode,
  failedResponse,
  incompleteOf,
  ONLY,
} from './response-object.ts';

export const createResponsesWriter = ({ stream, context }: ReplyWriterOptions): ReplyWriter =>
  stream ? new ResponsesStreamWriter(context) : new ResponsesWholeWriter(context);

type Json = Readonly<Record<string, unknown>>;

class ResponsesWholeWriter implements ReplyWriter {
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
    if (isSound(event)) return this.#fail(NO_SOUND);
    if (event.kind === 'error') return this.#fail(event.error);
    return event.kind === 'end' ? [jsonBytes(endedResponse(this.#reply, this.#context))] : NO_BYTES;
  }

  #fail(error: ReplyError): readonly Uint8Array[] {
    this.failed = true;
    return [jsonBytes({ error: openaiError(error) })];
  }
}

class ResponsesStreamWriter implements ReplyWriter {
  readonly #reply: Composition;
  readonly #context: ReplyContext;
  readonly #items: ItemTeller;
  #events: Uint8Array[] = [];
  #sequence = 0;
  #started = false;
  failed = false;

  constructor(context: ReplyContext) {
    this.#reply = new Composition(context);
    this.#context = context;
    this.#items = new ItemTeller(context.callId, (type, fields) => this.#tell(type, fields));
  }

  write(event: ReplyEvent): readonly Uint8Array[] {
    if (this.failed || ('choice' in event && event.choice !== ONLY)) return NO_BYTES;
    this.#take(event);
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #take(event: ReplyEvent): void {
    if (event.kind === 'part') this.#items.closePart(this.#reply.lastPart(ONLY), event.part.kind);
    this.#reply.add(event);
    const part = this.#reply.lastPart(ONLY);
    if (isSound(event)) {
      this.#fail(NO_SOUND);
      return;
    }
    switch (event.kind) {
      case 'start':
        this.#start();
        return;
      case 'part':
        this.#items.openPart(part);
        return;
      case 'delta':
        this.#items.delta(part, event);
        return;
      case 'citation':
        this.#items.citation(part);
        return;
      case 'stop':
        this.#items.closePart(part, undefined, incompleteOf(this.#reply) === undefined);
        return;
      case 'end':
        this.#end();
        return;
      case 'error':
        this.#fail(event.error);
        return;
      default:
      // Proofs are told with the item that they belong to, usage with the response.
    }
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    const response = begunResponse(this.#reply, this.#context);
    this.#tell('response.created', { response });
    this.#tell('response.in_progress', { response });
  }

  #end(): void {
    this.#start();
    const response = endedResponse(this.#reply, this.#context);
    this.#tell(response['status'] === 'completed' ? 'response.completed' : 'response.incomplete', {
      response,
    });
  }

  /** As OpenAI has it: the error first, then the response that failed by it. */
  #fail(error: ReplyError): void {
    this.failed = true;
    const { message, param } = openaiError(error);
    this.#tell('error', { code: errorCode(error), message, param });
    this.#tell('response.failed', { response: failedResponse(this.#reply, this.#context, error) });
  }

  #tell(type: string, fields: Json): void {
    this.#events.push(typedFrame({ type, sequence_number: this.#sequence, ...fields }));
    this.#sequence += 1;
  }
}

const isSound = (event: ReplyEvent): boolean =>
  event.kind === 'part' && event.part.kind === 'media' && !event.part.mediaType.startsWith('image/');

const NO_SOUND: ReplyError = {
  status: undefined,
  message: 'The model answered with media that is no picture, which this API cannot carry.',
  type: undefined,
  code: undefined,
  param: undefined,
};
