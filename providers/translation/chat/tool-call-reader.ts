/**
 * The tool calls of a chat message. OpenAI tells calls apart by `index`, and names a call once. Others send each call
 * whole in a delta, leave the index out, or give every call the index 0: a call with a new id is a new call.
 */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import { ReplyTooLarge } from '../../../src/usage/reply-too-large.ts';
import { tooMany, TOOL_CALLS_MAX, WAITING_CHARACTERS_MAX, type Narration } from '../narration.ts';
import type { Fields } from '../reply-reader.ts';

interface Call {
  readonly lane: string;
  readonly id: string | undefined;
  signature: string | undefined;
  opened: boolean;
  /** What came before the name. */
  early: string;
}

export class ToolCallReader {
  readonly #narration: Narration;
  readonly #choice: number;
  readonly #callId: string;
  readonly #byIndex = new Map<number, Call>();
  readonly #calls: Call[] = [];

  constructor(narration: Narration, choice: number, callId: string) {
    this.#narration = narration;
    this.#choice = choice;
    this.#callId = callId;
  }

  take(message: Fields): void {
    // A tool of another type (`custom`) cannot have been asked for in another dialect.
    for (const call of listOf(message['tool_calls']))
      if (isRecord(call) && !isRecord(call['custom'])) this.#takeCall(call);
    const called = message['function_call'];
    if (isRecord(called)) this.#takeCall({ index: -1, function: called });
  }

  /** A call whose name never came is told without. */
  close(): void {
    for (const call of this.#calls) if (!call.opened) this.#open(call, '');
  }

  #takeCall(delta: Fields): void {
    const called = isRecord(delta['function']) ? delta['function'] : {};
    const call = this.#callOf(delta, textOf(delta['id']), called);
    const google = isRecord(delta['extra_content']) ? delta['extra_content']['google'] : undefined;
    if (isRecord(google)) call.signature ??= textOf(google['thought_signature']);
    const name = textOf(called['name']);
    if (!call.opened && name !== undefined) this.#open(call, name);
    const text = argumentsOf(called['arguments']);
    if (call.opened) this.#narration.delta(this.#choice, call.lane, { text });
    else call.early += text;
    if (call.early.length > WAITING_CHARACTERS_MAX)
      throw new ReplyTooLarge('A tool call without a name', WAITING_CHARACTERS_MAX);
  }

  #callOf(delta: Fields, id: string | undefined, called: Fields): Call {
    const given = delta['index'];
    const index = typeof given === 'number' && Number.isSafeInteger(given) ? given : undefined;
    const known = index === undefined ? this.#calls.at(-1) : this.#byIndex.get(index);
    const isAnother = id !== undefined && known?.id !== id && textOf(called['name']) !== undefined;
    if (known !== undefined && !isAnother && (id !== undefined || index !== undefined || !isWhole(called)))
      return known;
    if (this.#calls.length >= TOOL_CALLS_MAX) this.#narration.fail(tooMany('tool calls', TOOL_CALLS_MAX));
    const call = { lane: `tool ${this.#calls.length}`, id, signature: undefined, opened: false, early: '' };
    this.#calls.push(call);
    if (index !== undefined) this.#byIndex.set(index, call);
    return call;
  }

  #open(call: Call, name: string): void {
    call.opened = true;
    const number = this.#calls.indexOf(call);
    const id = call.id ?? `call_${this.#callId}_${this.#choice}_${number}`;
    const { signature } = call;
    this.#narration.open(this.#choice, call.lane, {
      kind: 'tool_call',
      id,
      name,
      ...(signature === undefined ? {} : { signature }),
    });
    this.#narration.delta(this.#choice, call.lane, { text: call.early });
    call.early = '';
  }
}

/** Without an id or an index, a name begins another call. */
const isWhole = (called: Fields): boolean => textOf(called['name']) !== undefined;

/** Some vendors give arguments as an object instead of its text. */
const argumentsOf = (value: unknown): string => {
  if (isRecord(value)) return JSON.stringify(value);
  return typeof value === 'string' ? value : '';
};
