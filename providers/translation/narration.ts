/**
 * The narrator of a reply: takes what a parser finds in the order the vendor sent it, and tells it in the order that
 * `ReplyEvent`s have.
 *
 * A *lane* is one thing a choice says, under whatever name its dialect gives it: its text, its thoughts, its third tool
 * call. Vendors may switch between lanes. Text is simply opened again; a tool call cannot be, so while one is open and its
 * arguments are not whole, what other lanes say waits.
 */
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import type { UsageLine } from '../../src/usage/usage.ts';
import { JsonProgress } from './json-progress.ts';
import type { Citation, OpenedPart, ReplyError, ReplyEvent, StopReason, TokenLogprob } from './reply.ts';

/** What may wait behind a tool call whose arguments are not whole, in characters: as much as one event may have bytes. */
export const WAITING_CHARACTERS_MAX = 8 * 1024 * 1024;
/** Choices of one reply. OpenAI allows 128. */
export const CHOICES_MAX = 128;
/** Things that one choice says. Real replies have a few dozen. */
export const LANES_MAX = 10_000;
/** Tool calls of one choice: the official SDK takes no more in a stream. */
export const TOOL_CALLS_MAX = 128;

type Words =
  | { readonly kind: 'open'; readonly part: OpenedPart }
  | { readonly kind: 'delta'; readonly text: string; readonly logprobs?: readonly TokenLogprob[] | undefined }
  | { readonly kind: 'signature'; readonly signature: string }
  | { readonly kind: 'sealed'; readonly sealed: string }
  | { readonly kind: 'citation'; readonly citation: Citation }
  | { readonly kind: 'done' };

interface Lane {
  readonly part: OpenedPart;
  /** Of a tool call: how far its arguments are. */
  readonly json: JsonProgress | undefined;
  done: boolean;
}

interface Choice {
  readonly index: number;
  readonly lanes: Map<string, Lane>;
  open: Lane | undefined;
  waiting: { readonly lane: string; readonly words: Words }[];
  waitingCharacters: number;
  toolCalls: number;
  refused: boolean;
  stop: { readonly reason: StopReason; readonly sequence: string | undefined } | undefined;
}

type Start = Omit<Extract<ReplyEvent, { kind: 'start' }>, 'kind'>;

export class Narration {
  #events: ReplyEvent[] = [];
  #started = false;
  #over = false;
  readonly #choices = new Map<number, Choice>();

  get started(): boolean {
    return this.#started;
  }

  /** Nothing more is told: the reply ended, or failed. */
  get over(): boolean {
    return this.#over;
  }

  /** What is to be told since the last time. */
  take(): readonly ReplyEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  start(start: Start): void {
    if (this.#started) return;
    this.#started = true;
    this.#tell({ kind: 'start', ...start });
  }

  /** Opens a lane, which must be new; of one that is known already nothing happens. */
  open(choice: number, lane: string, part: OpenedPart): void {
    this.#say(this.#choice(choice), lane, { kind: 'open', part });
  }

  /** Says more in a lane; one of text, thoughts or refusal opens by itself when it says something, as `compatible` vendors tell it. */
  say(
    choice: number,
    lane: 'text' | 'reasoning' | 'refusal',
    words: { readonly text: string; readonly logprobs?: readonly TokenLogprob[] | undefined },
  ): void {
    if (words.text === '' && (words.logprobs ?? []).length === 0) return;
    this.open(choice, lane, lane === 'reasoning' ? { kind: lane, vendor: 'compatible' } : { kind: lane });
    this.delta(choice, lane, words);
  }

  delta(
    choice: number,
    lane: string,
    { text, logprobs }: { readonly text: string; readonly logprobs?: readonly TokenLogprob[] | undefined },
  ): void {
    const told = (logprobs ?? []).length > 0 ? logprobs : undefined;
    if (text === '' && told === undefined) return;
    const words: Words =
      told === undefined ? { kind: 'delta', text } : { kind: 'delta', text, logprobs: told };
    this.#say(this.#choice(choice), lane, words);
  }

  signature(choice: number, lane: string, signature: string): void {
    this.#say(this.#choice(choice), lane, { kind: 'signature', signature });
  }

  sealed(choice: number, lane: string, sealed: string): void {
    this.#say(this.#choice(choice), lane, { kind: 'sealed', sealed });
  }

  citation(choice: number, lane: string, citation: Citation): void {
    this.#say(this.#choice(choice), lane, { kind: 'citation', citation });
  }

  /** The vendor said that this lane says no more. */
  done(choice: number, lane: string): void {
    this.#say(this.#choice(choice), lane, { kind: 'done' });
  }

  /** Why a choice stopped. Told at the end, since some vendors say it before the last of the content. */
  stop(choice: number, reason: StopReason, sequence?: string): void {
    this.#choice(choice).stop = { reason, sequence };
  }

  /** Whether every choice there was has told why it stopped, and there was one. */
  get stopped(): boolean {
    const choices = [...this.#choices.values()];
    return choices.length > 0 && choices.every((choice) => choice.stop !== undefined);
  }

  /** The reply is over. `complete`: it came to its end; else it broke off, and only the usage that is known is told. */
  finish({ complete, usage }: { readonly complete: boolean; readonly usage: UsageNews | undefined }): void {
    if (this.#over) return;
    if (complete) for (const choice of this.#choices.values()) this.#tellStop(choice);
    if (usage !== undefined && usage.lines.length > 0) this.#tell({ kind: 'usage', ...usage });
    if (complete) this.#tell({ kind: 'end' });
    this.#over = true;
  }

  fail(error: ReplyError, usage?: UsageNews): void {
    if (this.#over) return;
    if (usage !== undefined && usage.lines.length > 0) this.#tell({ kind: 'usage', ...usage });
    this.#tell({ kind: 'error', error });
    this.#over = true;
  }

  #choice(index: number): Choice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const choice: Choice = {
      index,
      lanes: new Map(),
      open: undefined,
      waiting: [],
      waitingCharacters: 0,
      toolCalls: 0,
      refused: false,
      stop: undefined,
    };
    if (this.#choices.size >= CHOICES_MAX) this.fail(tooMany('choices', CHOICES_MAX));
    else this.#choices.set(index, choice);
    return choice;
  }

  #say(choice: Choice, lane: string, words: Words): void {
    if (this.#over) return;
    if (isUnfinished(choice.open) && choice.lanes.get(lane) !== choice.open) {
      choice.waitingCharacters += words.kind === 'delta' ? words.text.length + 100 : 100;
      if (choice.waitingCharacters > WAITING_CHARACTERS_MAX)
        throw new ReplyTooLarge('What waits behind an unfinished tool call', WAITING_CHARACTERS_MAX);
      choice.waiting.push({ lane, words });
      return;
    }
    this.#tellWords(choice, lane, words);
    if (choice.waiting.length > 0 && !isUnfinished(choice.open)) this.#sayWaiting(choice);
  }

  #sayWaiting(choice: Choice): void {
    const { waiting } = choice;
    choice.waiting = [];
    choice.waitingCharacters = 0;
    for (const { lane, words } of waiting) this.#say(choice, lane, words);
  }

  #tellWords(choice: Choice, name: string, words: Words): void {
    if (words.kind === 'open') {
      this.#openLane(choice, name, words.part);
      return;
    }
    const lane = choice.lanes.get(name);
    if (lane === undefined) return;
    if (words.kind === 'done') {
      lane.done = true;
      return;
    }
    if (lane !== choice.open && !this.#reopen(choice, lane, words)) return;
    if (words.kind === 'delta') lane.json?.take(words.text);
    this.#tell({ ...words, choice: choice.index });
  }

  #openLane(choice: Choice, name: string, part: OpenedPart): void {
    if (choice.lanes.has(name)) return;
    if (choice.lanes.size >= LANES_MAX) this.fail(tooMany('parts', LANES_MAX));
    const isTool = part.kind === 'tool_call';
    if (isTool) choice.toolCalls += 1;
    if (choice.toolCalls > TOOL_CALLS_MAX) this.fail(tooMany('tool calls', TOOL_CALLS_MAX));
    if (this.#over) return;
    if (part.kind === 'refusal') choice.refused = true;
    const lane: Lane = { part, json: isTool ? new JsonProgress() : undefined, done: part.kind === 'media' };
    choice.lanes.set(name, lane);
    this.#tellPart(choice, lane);
  }

  /** A lane speaks again after another has: as a new part. A tool call cannot: what it says now contradicts it. */
  #reopen(choice: Choice, lane: Lane, words: Words): boolean {
    if (lane.part.kind !== 'tool_call') {
      this.#tellPart(choice, lane);
      return true;
    }
    if (words.kind === 'delta' && words.text.trim() === '') return false;
    this.fail(broken('The provider went on with a tool call that was complete already.'));
    return false;
  }

  #tellPart(choice: Choice, lane: Lane): void {
    this.#closeOpen(choice);
    choice.open = lane;
    this.#tell({ kind: 'part', choice: choice.index, part: lane.part });
  }

  #closeOpen(choice: Choice): void {
    const { open } = choice;
    if (open?.json?.isEmpty === true) this.#tell({ kind: 'delta', choice: choice.index, text: '{}' });
    choice.open = undefined;
  }

  #tellStop(choice: Choice): void {
    // Each round finishes one tool call, so the rounds are no more than the calls that wait.
    while (choice.waiting.length > 0 && choice.open !== undefined) {
      choice.open.done = true;
      this.#sayWaiting(choice);
    }
    this.#closeOpen(choice);
    const { reason, sequence } = choice.stop ?? { reason: 'end', sequence: undefined };
    this.#tell({ kind: 'stop', choice: choice.index, reason: trueReason(choice, reason), sequence });
  }

  #tell(event: ReplyEvent): void {
    if (!this.#over) this.#events.push(event);
  }
}

/** An error of the reply's own making. */
const broken = (message: string): ReplyError => ({
  status: undefined,
  message,
  type: undefined,
  code: undefined,
  param: undefined,
});

export const tooMany = (what: string, max: number): ReplyError =>
  broken(`The provider sent more than ${max} ${what}.`);

export interface UsageNews {
  readonly lines: readonly UsageLine[];
  readonly serviceTier: string | undefined;
}

const isUnfinished = (lane: Lane | undefined): boolean =>
  lane?.json !== undefined && !lane.done && !lane.json.isWhole;

/** Some vendors say that a reply simply ended although it calls tools, and OpenAI does although it is a refusal. */
function trueReason(choice: Choice, reason: StopReason): StopReason {
  if (reason !== 'end') return reason;
  if (choice.toolCalls > 0) return 'tool_calls';
  return choice.refused ? 'refusal' : 'end';
}
