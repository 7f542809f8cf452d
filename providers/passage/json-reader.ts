/** Reads a reply that is one JSON value, or an error of any shape: held whole until it is settled. */
import { JsonReply } from '../../src/usage/json-reply.ts';
import { isRecord } from '../../src/usage/json-value.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { ResponseReader, UpstreamHead } from '../provider.ts';
import { carriesError, errorReason } from './counts.ts';
import { Tally } from './tally.ts';

export type JsonBody = Readonly<Record<string, unknown>>;

/** What a dialect knows of its whole replies. */
export interface BodyRules {
  /** The usage of a successful reply. */
  meter(body: JsonBody): Metered;
  /** The generated text, into the tally. Asked only of a reply that told no usage. */
  weigh(body: JsonBody, tally: Tally): void;
}

export class JsonReader implements ResponseReader {
  readonly streams = false;
  readonly terminal = false;
  readonly #reply = new JsonReply();
  readonly #head: UpstreamHead;
  readonly #rules: BodyRules;
  /** Kept only where the usage is missing, to be estimated from. */
  #body: JsonBody | undefined;
  #metered: Metered;
  #ended = false;
  /** Of a success: it was read to its end, and is JSON. */
  #isJson = false;

  constructor(head: UpstreamHead, rules: BodyRules) {
    this.#head = head;
    this.#rules = rules;
    this.#metered = this.#refused() ?? none('the reply broke off');
  }

  get complete(): boolean {
    return this.#isJson || !isSuccess(this.#head.status);
  }

  get endsItself(): boolean {
    return isSuccess(this.#head.status) && isRecord(this.#reply.parse());
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#reply.write(chunk);
    return NOTHING;
  }

  end(): readonly Uint8Array[] {
    if (!this.#ended) this.#metered = this.#refused() ?? this.#read();
    this.#ended = true;
    return this.#reply.release();
  }

  metered(): Metered {
    return this.#metered;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    const tally = new Tally();
    if (this.#body !== undefined) this.#rules.weigh(this.#body, tally);
    return tally.estimate();
  }

  /** A reply that is not a success has no usage, whatever its body. */
  #refused(): Metered | undefined {
    const { status } = this.#head;
    if (isSuccess(status)) return undefined;
    return { ...none(`the provider answered ${status}`), failed: true };
  }

  #read(): Metered {
    const body = this.#reply.parse();
    this.#isJson = body !== undefined;
    if (!isRecord(body)) return none(this.#unreadable());
    const metered = this.#rules.meter(body);
    if (metered.kind === 'none' && metered.failed !== true && carriesError(body))
      return { ...metered, reason: errorReason(body), failed: true };
    if (metered.kind !== 'final') this.#body = body;
    return metered;
  }

  #unreadable(): string {
    const encoding = this.#head.headers['content-encoding'] ?? 'identity';
    return encoding === 'identity' ? 'the reply is no JSON object' : `the reply is encoded: ${encoding}`;
  }
}

export const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const none = (reason: string): Metered => ({ kind: 'none', lines: [], reason, failed: false });

const NOTHING: readonly Uint8Array[] = [];
