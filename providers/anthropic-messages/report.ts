/** What a reply of the Messages API has told of itself so far, whether it came whole or in events. */
import { isRecord, textOf } from '../../src/usage/json-value.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { countOf, errorReason } from '../passage/counts.ts';
import { readMessagesUsage } from './usage.ts';

export class MessagesReport {
  #usage: Readonly<Record<string, unknown>> = {};
  #responseId: string | undefined;
  #servedModel: string | null = null;
  #failure: string | undefined;
  #told = false;
  /** The counts that the last report told and that cannot be believed: what was told before stands. */
  #refused: readonly string[] = [];

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Takes in a message: a whole reply, or the one that a stream starts with. */
  takeMessage(message: Readonly<Record<string, unknown>>): void {
    this.#responseId = textOf(message['id']) ?? this.#responseId;
    this.#servedModel = textOf(message['model']) ?? this.#servedModel;
    this.takeUsage(message['usage']);
  }

  /** A later report overrides field by field: counts are cumulative, never added; what it leaves out stands. */
  takeUsage(usage: unknown): void {
    if (usage === undefined || usage === null) return;
    this.#told = true;
    const given = isRecord(usage) ? usage : {};
    this.#refused = COUNTS.filter((name) => name in this.#usage && countOf(given[name]) === 'malformed');
    const entries = Object.entries(given).filter(([name]) => !this.#refused.includes(name));
    this.#usage = {
      ...this.#usage,
      ...Object.fromEntries(entries.filter(([, value]) => value !== null && value !== undefined)),
    };
  }

  fail(error: unknown): void {
    this.#failure ??= errorReason(error);
  }

  /** `complete`: whether no later usage can come. `missing` says why there may be none. */
  metered(complete: boolean, missing: string): Metered {
    const { failed } = this;
    const responseId = this.#responseId;
    const none = (reason: string): Metered => ({ kind: 'none', lines: [], responseId, reason, failed });
    if (!this.#told) return none(this.#failure ?? missing);
    // What was read may be told alone: then that stands, and what was generated is open.
    const untold = this.#usage['output_tokens'] === undefined;
    const read = readMessagesUsage(
      untold ? { ...this.#usage, output_tokens: 0 } : this.#usage,
      this.#servedModel,
    );
    if (read.kind === 'refused') return none(this.#failure ?? read.reason);
    const reasons = [
      complete ? undefined : 'the reply broke off',
      this.#failure,
      untold ? 'usage has no output_tokens' : undefined,
      ...this.#refused.map((name) => `${name} is not a token count`),
      read.reason,
    ];
    const told = reasons.filter((reason) => reason !== undefined).join('; ');
    return {
      kind: complete && !untold && this.#refused.length === 0 ? 'final' : 'cut',
      lines: read.lines,
      responseId,
      reason: told === '' ? undefined : told,
      outputOpen: !complete || untold || this.#refused.includes('output_tokens'),
      failed,
    };
  }
}

const COUNTS = [
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens',
] as const;
