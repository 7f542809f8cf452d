/**
 * What a reply has told of itself so far, whether it came whole or in events: its id, the model that served, its usage
 * and its errors. One vocabulary for both readers.
 */
import { isRecord, listOf, textOf } from '../../src/usage/json-value.ts';
import type { Metered, TokenCounts } from '../../src/usage/usage.ts';
import { errorReason } from '../passage/counts.ts';
import { readChatUsage } from './usage.ts';

/** Moonshot tells the usage in the last choice, and again behind it where it was asked to. */
function usageOfChoice(choices: unknown): unknown {
  const [choice, ...more] = listOf(choices);
  return more.length === 0 && isRecord(choice) ? choice['usage'] : undefined;
}

const isEmpty = (usage: unknown): boolean => isRecord(usage) && Object.keys(usage).length === 0;

export class ChatReport {
  readonly #generates: boolean;
  #counts: TokenCounts | undefined;
  #responseId: string | undefined;
  #servedModel: string | undefined;
  /** Of the usage that stands, or of the last one that was refused. */
  #usageReason: string | undefined;
  #refusedLast = false;
  #failure: string | undefined;

  /** `generates`: false where nothing is generated, so that a missing completion is none. */
  constructor({ generates = true }: { readonly generates?: boolean } = {}) {
    this.#generates = generates;
  }

  get hasUsage(): boolean {
    return this.#counts !== undefined;
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  get hasIdentity(): boolean {
    return this.#responseId !== undefined && this.#servedModel !== undefined;
  }

  /** The reply said itself that it failed: by its status or by an error in its body. */
  fail(reason: string): void {
    this.#failure ??= reason;
  }

  /** Takes in a reply or one event of it. The last usage stands: vendors that report often report running sums. */
  take(body: Readonly<Record<string, unknown>>): void {
    this.identify(body);
    const groq = isRecord(body['x_groq']) ? body['x_groq'] : {};
    const usage = body['usage'] ?? groq['usage'] ?? usageOfChoice(body['choices']);
    if (usage !== undefined && usage !== null && !isEmpty(usage)) this.#takeUsage(usage);
    const error = body['error'] ?? groq['error'];
    if (error !== undefined && error !== null) this.fail(errorReason(error));
  }

  identify(body: Readonly<Record<string, unknown>>): void {
    this.#responseId = textOf(body['id']) ?? this.#responseId;
    this.#servedModel = textOf(body['model']) ?? this.#servedModel;
  }

  /** `complete`: whether no later usage can come. `missing` says why there may be none. */
  metered(complete: boolean, missing: string): Metered {
    const failed = this.#failure !== undefined;
    if (this.#counts === undefined) {
      const reason = this.#failure ?? this.#usageReason ?? missing;
      return { kind: 'none', lines: [], responseId: this.#responseId, reason, failed };
    }
    const reasons = [complete ? undefined : 'the reply broke off', this.#failure, this.#usageReason];
    const told = reasons.filter((reason) => reason !== undefined).join('; ');
    return {
      kind: complete && !this.#refusedLast ? 'final' : 'cut',
      lines: [{ ...this.#counts, servedModel: this.#servedModel ?? null }],
      responseId: this.#responseId,
      reason: told === '' ? undefined : told,
      failed,
    };
  }

  #takeUsage(usage: unknown): void {
    const read = readChatUsage(
      !this.#generates && isRecord(usage) ? { completion_tokens: 0, ...usage } : usage,
    );
    this.#refusedLast = read.kind === 'refused';
    this.#usageReason = read.reason;
    if (read.kind === 'counts') this.#counts = read.counts;
  }
}
