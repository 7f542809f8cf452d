/** What a reply of the Responses API tells of itself: the chat dialect's report under other names. */
import { isRecord, textOf } from '../../src/usage/json-value.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { ChatReport } from '../openai-chat/report.ts';

export class ResponsesReport {
  readonly #report = new ChatReport();
  #status: string | undefined;
  #completedAtS: number | undefined;

  get hasIdentity(): boolean {
    return this.#report.hasIdentity;
  }

  get failed(): boolean {
    return this.#report.failed;
  }

  /** Takes in a response object: the whole reply, or the one inside an event. */
  take(response: Readonly<Record<string, unknown>>): void {
    const { id, model, usage, error } = response;
    this.#report.take({ id, model, usage, error });
    this.#status = textOf(response['status']) ?? this.#status;
    const { completed_at: completedAtS } = response;
    if (typeof completedAtS === 'number') this.#completedAtS = completedAtS;
    if (this.#status === 'failed' || this.#status === 'cancelled')
      this.#report.fail(`the response ${this.#status === 'failed' ? 'failed' : 'was cancelled'}`);
  }

  identify(response: Readonly<Record<string, unknown>>): void {
    this.#report.identify(response);
  }

  /** An event of type `error`: it has its code at the top or in an object. */
  takeError(event: Readonly<Record<string, unknown>>): void {
    this.#report.take({ error: isRecord(event['error']) ? event['error'] : { code: event['code'] } });
  }

  metered(complete: boolean, missing: string): Metered {
    const told = { status: this.#status, completedAtS: this.#completedAtS };
    return { ...this.#report.metered(complete, missing), ...told };
  }
}
