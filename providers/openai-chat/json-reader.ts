/** Reads a chat completions reply that is one JSON value, or an error of any shape: held whole until it is settled. */
import { JsonReply } from '../../src/usage/json-reply.ts';
import { isRecord, listOf } from '../../src/usage/json-value.ts';
import { tokensOfQuarters } from '../../src/usage/text-estimate.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { ResponseReader, UpstreamHead } from '../provider.ts';
import { ChatReport } from './report.ts';
import { generatedQuarters } from './text.ts';

export class ChatJsonReader implements ResponseReader {
  readonly streams = false;
  readonly terminal = false;
  readonly #reply = new JsonReply();
  readonly #head: UpstreamHead;
  #metered: Metered;
  #ended = false;
  /** Kept only where the usage is missing, to be estimated from. */
  #choices: readonly unknown[] = [];

  constructor(head: UpstreamHead) {
    this.#head = head;
    this.#metered = this.#refused() ?? {
      kind: 'none',
      lines: [],
      reason: 'the reply broke off',
      failed: false,
    };
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#reply.write(chunk);
    return NOTHING;
  }

  end(): readonly Uint8Array[] {
    if (!this.#ended) this.#metered = this.#refused() ?? this.#meter();
    this.#ended = true;
    return this.#reply.release();
  }

  metered(): Metered {
    return this.#metered;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    const weights = this.#choices.map((choice) =>
      isRecord(choice) ? generatedQuarters(choice['message']) : 0,
    );
    const quarters = weights.reduce((sum, weight) => sum + weight, 0);
    return {
      outputTokens: tokensOfQuarters(quarters),
      deltas: weights.filter((weight) => weight > 0).length,
    };
  }

  /** A reply that is not a success has no usage, whatever its body. */
  #refused(): Metered | undefined {
    const { status } = this.#head;
    if (isSuccess(status)) return undefined;
    return { kind: 'none', lines: [], reason: `the provider answered ${status}`, failed: true };
  }

  #meter(): Metered {
    const report = new ChatReport();
    const body = this.#reply.parse();
    if (!isRecord(body)) return report.metered(true, this.#unreadable());
    report.take(body);
    if (!report.hasUsage) this.#choices = listOf(body['choices']);
    return report.metered(true, 'the reply told no usage');
  }

  #unreadable(): string {
    const encoding = this.#head.headers['content-encoding'] ?? 'identity';
    return encoding === 'identity' ? 'the reply is no JSON object' : `the reply is encoded: ${encoding}`;
  }
}

export const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const NOTHING: readonly Uint8Array[] = [];
