/** A reply as it has been told so far, put together: what a whole reply is written from, and what streams repeat at their end. */
import { JSON_REPLY_BYTES_MAX } from '../../src/usage/json-reply.ts';
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { addCounts, ZERO_TOKENS, type TokenCounts } from '../../src/usage/usage.ts';
import type { Vendor } from './conversation.ts';
import type { Citation, ReplyContext, ReplyEvent, StopReason, TokenLogprob } from './reply.ts';

export type ComposedPart =
  | {
      readonly kind: 'text' | 'refusal';
      text: string;
      logprobs: TokenLogprob[];
      citations: Citation[];
    }
  | {
      readonly kind: 'reasoning';
      readonly vendor: Vendor;
      readonly id: string | undefined;
      text: string;
      signature: string | undefined;
      sealed: string | undefined;
    }
  | {
      readonly kind: 'tool_call';
      readonly id: string;
      readonly name: string;
      readonly signature: string | undefined;
      text: string;
    }
  | { readonly kind: 'media'; readonly mediaType: string; readonly base64: string };

export interface ComposedChoice {
  readonly index: number;
  readonly parts: ComposedPart[];
  stop: { readonly reason: StopReason; readonly sequence: string | undefined } | undefined;
}

export type ComposedThought = Extract<ComposedPart, { kind: 'reasoning' }>;

/** What an event costs to remember beside its text, in characters. */
const EVENT_CHARACTERS = 32;

export class Composition {
  readonly #choices = new Map<number, ComposedChoice>();
  #characters = 0;
  id = '';
  model: string;
  createdS: number;
  /** The sum over all lines; undefined where nothing was told. */
  usage: TokenCounts | undefined;
  serviceTier: string | undefined;

  constructor(context: ReplyContext) {
    this.model = context.model;
    this.createdS = context.createdS;
  }

  /** In the order of their indexes. */
  get choices(): readonly ComposedChoice[] {
    return [...this.#choices.values()].sort((a, b) => a.index - b.index);
  }

  choice(index: number): ComposedChoice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const choice: ComposedChoice = { index, parts: [], stop: undefined };
    this.#choices.set(index, choice);
    return choice;
  }

  /** The part of a choice that is open, or was last. */
  lastPart(index: number): ComposedPart | undefined {
    return this.choice(index).parts.at(-1);
  }

  /** Throws `ReplyTooLarge` when the whole grows past the bound of a JSON reply. */
  add(event: ReplyEvent): void {
    this.#weigh(event);
    switch (event.kind) {
      case 'start':
        this.id = event.id;
        if (event.model !== '') this.model = event.model;
        this.createdS = event.createdS ?? this.createdS;
        this.#takeUsage(event.usage ?? []);
        return;
      case 'part':
        this.choice(event.choice).parts.push(newPart(event.part));
        return;
      case 'stop':
        this.choice(event.choice).stop = { reason: event.reason, sequence: event.sequence };
        return;
      case 'usage':
        this.#takeUsage(event.lines);
        this.serviceTier = event.serviceTier;
        return;
      case 'end':
      case 'error':
        return;
      default:
        addToPart(this.lastPart(event.choice), event);
    }
  }

  #takeUsage(lines: readonly TokenCounts[]): void {
    if (lines.length > 0) this.usage = lines.reduce((sum, line) => addCounts(sum, line), ZERO_TOKENS);
  }

  #weigh(event: ReplyEvent): void {
    this.#characters += EVENT_CHARACTERS;
    if (event.kind === 'delta') this.#characters += event.text.length + 100 * (event.logprobs?.length ?? 0);
    if (event.kind === 'part' && event.part.kind === 'media') this.#characters += event.part.base64.length;
    if (this.#characters > JSON_REPLY_BYTES_MAX) throw new ReplyTooLarge('The reply', JSON_REPLY_BYTES_MAX);
  }
}

function newPart(part: Extract<ReplyEvent, { kind: 'part' }>['part']): ComposedPart {
  switch (part.kind) {
    case 'text':
    case 'refusal':
      return { kind: part.kind, text: '', logprobs: [], citations: [] };
    case 'reasoning':
      return { ...part, id: part.id, text: '', signature: undefined, sealed: undefined };
    case 'tool_call':
      return { kind: 'tool_call', id: part.id, name: part.name, signature: part.signature, text: '' };
    case 'media':
      return part;
  }
}

type Addition = Extract<ReplyEvent, { kind: 'delta' | 'signature' | 'sealed' | 'citation' }>;

function addToPart(part: ComposedPart | undefined, event: Addition): void {
  if (part === undefined || part.kind === 'media') return;
  if (event.kind === 'delta') {
    part.text += event.text;
    if (part.kind !== 'reasoning' && part.kind !== 'tool_call') part.logprobs.push(...(event.logprobs ?? []));
  } else if (event.kind === 'citation') {
    if (part.kind === 'text') part.citations.push(event.citation);
  } else if (part.kind === 'reasoning') {
    if (event.kind === 'signature') part.signature = event.signature;
    else part.sealed = event.sealed;
  }
}

/** Arguments as the object that they should be. What is no JSON object is carried as Anthropic advises, by this name. */
export function argumentsObject(argumentsJson: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(argumentsJson);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    return { INVALID_JSON: argumentsJson };
  }
  return { INVALID_JSON: argumentsJson };
}
