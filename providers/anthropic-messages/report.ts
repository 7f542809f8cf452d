/** What a reply of the Messages API has told of itself so far, whether it came whole or in events. */
import { isRecord, textOf } from '../../src/usage/json-value.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { errorReason } from '../passage/counts.ts';
import { readMessagesUsage } from './usage.ts';

export class MessagesReport {
  #usage: Readonly<Record<string, unknown>> = {};
  #responseId: string | undefined;
  #servedModel: string | null = null;
  #failure: string | undefined;
  #told = false;

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
    const given = isRecord(usage) ? Object.entries(usage) : [];
    this.#usage = {
      ...this.#usage,
      ...Object.fromEntries(given.filter(([, value]) => value !== null && value !== undefined)),
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
    const read = readMessagesUsage(this.#usage, this.#servedModel);
    if (read.kind === 'refused') return none(this.#failure ?? read.reason);
    const reasons = [complete ? undefined : 'the reply broke off', this.#failure, read.reason];
    const told = reasons.filter((reason) => reason !== undefined).join('; ');
    return {
      kind: complete ? 'final' : 'cut',
      lines: read.lines,
      responseId,
      reason: told === '' ? undefined : told,
      outputOpen: !complete,
      failed,
    };
  }
}
