/** Tells output items event by event, in the order that OpenAI has. */
import { writtenTokens } from '../chat/logprobs.ts';
import type { ComposedPart, ComposedThought } from '../composition.ts';
import type { OpenedPart, ReplyEvent } from '../reply.ts';
import {
  annotationOf,
  callItem,
  contentPart,
  imageItem,
  isSilent,
  isSpoken,
  messageItem,
  reasoningItem,
  summaryPart,
  type CallPart,
  type ItemStatus,
  type SpokenPart,
} from './items.ts';

type Json = Readonly<Record<string, unknown>>;
type Tell = (type: string, fields: Json) => void;
type Delta = Extract<ReplyEvent, { kind: 'delta' }>;

export class ItemTeller {
  readonly #callId: string;
  readonly #tell: Tell;
  #index = -1;
  /** Whether the item of that index is open. */
  #open = false;
  /** The parts of the open message. */
  #spoken: SpokenPart[] = [];

  constructor(callId: string, tell: Tell) {
    this.#callId = callId;
    this.#tell = tell;
  }

  openPart(part: ComposedPart | undefined): void {
    switch (part?.kind) {
      case 'text':
      case 'refusal':
        this.#openSpoken(part);
        return;
      case 'tool_call':
        this.#openItem((id) => callItem(id, { ...part, text: '' }, 'in_progress'));
        return;
      case 'media':
        this.#openItem((id) => ({ ...imageItem(id, part), status: 'in_progress', result: null }));
        return;
      default:
      // A thought is opened when it says something: one that is silent is no item.
    }
  }

  delta(part: ComposedPart | undefined, { text, logprobs = [] }: Delta): void {
    switch (part?.kind) {
      case 'text':
        this.#tellContent('response.output_text.delta', { delta: text, logprobs: writtenTokens(logprobs) });
        return;
      case 'refusal':
        this.#tellContent('response.refusal.delta', { delta: text });
        return;
      case 'reasoning':
        if (!this.#open) this.#openThought(part);
        this.#tellItem('rs', 'response.reasoning_summary_text.delta', { summary_index: 0, delta: text });
        return;
      case 'tool_call':
        this.#tellItem('fc', 'response.function_call_arguments.delta', { delta: text });
        return;
      default:
    }
  }

  /** The source that was added last. */
  citation(part: ComposedPart | undefined): void {
    if (part?.kind !== 'text') return;
    const last = part.citations.at(-1);
    if (last === undefined) return;
    this.#tellContent('response.output_text.annotation.added', {
      annotation_index: part.citations.length - 1,
      annotation: annotationOf(last),
    });
  }

  /** Ends the open part, and its item unless the `next` part belongs to the same message. */
  closePart(part: ComposedPart | undefined, next: OpenedPart['kind'] | undefined, complete = true): void {
    const status = complete ? 'completed' : 'incomplete';
    switch (part?.kind) {
      case 'text':
      case 'refusal':
        this.#closeSpoken(part);
        if (next === undefined || !isSpoken({ kind: next })) this.#closeMessage(status);
        return;
      case 'reasoning':
        this.#closeThought(part);
        return;
      case 'tool_call':
        this.#closeCall(part, status);
        return;
      case 'media':
        this.#closeItem((id) => imageItem(id, part));
        return;
      default:
    }
  }

  #openSpoken(part: SpokenPart): void {
    if (!this.#open) {
      this.#spoken = [];
      this.#openItem((id) => messageItem(id, [], 'in_progress'));
    }
    this.#spoken.push(part);
    this.#tellContent('response.content_part.added', { part: contentPart({ ...part, text: '' }) });
  }

  #closeSpoken(part: SpokenPart): void {
    if (!this.#open) return;
    if (part.kind === 'refusal') this.#tellContent('response.refusal.done', { refusal: part.text });
    else {
      const logprobs = writtenTokens(part.logprobs);
      this.#tellContent('response.output_text.done', { text: part.text, logprobs });
    }
    this.#tellContent('response.content_part.done', { part: contentPart(part) });
  }

  #closeMessage(status: ItemStatus): void {
    this.#closeItem((id) => messageItem(id, this.#spoken, status));
  }

  #openThought(thought: ComposedThought): void {
    this.#openItem((id) => ({ id: `rs_${id}`, type: 'reasoning', summary: [] }));
    if (thought.text === '') return;
    this.#tellItem('rs', 'response.reasoning_summary_part.added', {
      summary_index: 0,
      part: summaryPart(''),
    });
  }

  #closeThought(thought: ComposedThought): void {
    if (isSilent(thought)) return;
    if (!this.#open) this.#openThought(thought);
    const { text } = thought;
    if (text !== '') {
      this.#tellItem('rs', 'response.reasoning_summary_text.done', { summary_index: 0, text });
      this.#tellItem('rs', 'response.reasoning_summary_part.done', {
        summary_index: 0,
        part: summaryPart(text),
      });
    }
    this.#closeItem((id) => reasoningItem(id, thought));
  }

  #closeCall(call: CallPart, status: ItemStatus): void {
    if (!this.#open) return;
    this.#tellItem('fc', 'response.function_call_arguments.done', { arguments: call.text, name: call.name });
    this.#closeItem((id) => callItem(id, call, status));
  }

  #openItem(item: (id: string) => Json): void {
    this.#open = true;
    this.#index += 1;
    this.#tell('response.output_item.added', { output_index: this.#index, item: item(this.#id()) });
  }

  #closeItem(item: (id: string) => Json): void {
    if (!this.#open) return;
    this.#open = false;
    this.#tell('response.output_item.done', { output_index: this.#index, item: item(this.#id()) });
  }

  #tellContent(type: string, fields: Json): void {
    this.#tellItem('msg', type, { content_index: this.#spoken.length - 1, ...fields });
  }

  #tellItem(prefix: string, type: string, fields: Json): void {
    this.#tell(type, { item_id: `${prefix}_${this.#id()}`, output_index: this.#index, ...fields });
  }

  readonly #id = (): string => `${this.#callId}_${this.#index}`;
}
