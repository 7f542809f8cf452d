/** What the ledger knows of responses that providers keep: whose they are, and which are still being made. */
import type { CallToSettle } from './ledger.ts';

/** A response that goes on at its provider: the call that began it stays open until it has ended. */
export interface BackgroundToOpen {
  readonly call: string;
  readonly responseId: string;
  /** Which attempt of the call it is. */
  readonly attempt: number;
  /** Our own count of what was asked, for a provider that never tells. */
  readonly inputTokens: number;
  /** The customer's plan when it began: its markup counts. */
  readonly plan: string | null;
  readonly dueAtMs: number;
}

export interface StoredResponse {
  readonly call: string;
  readonly customer: string;
  readonly keyId: string;
  /** The configured provider that keeps it, and the billed model. */
  readonly provider: string;
  readonly model: string;
  readonly stream: boolean;
  readonly openedAtMs: number;
  readonly responseId: string;
  /** Undefined once its call is settled. */
  readonly background: Pick<BackgroundToOpen, 'attempt' | 'inputTokens' | 'plan'> | undefined;
}

export interface DueResponse extends StoredResponse {
  readonly dueAtMs: number;
  readonly misses: number;
}

export interface StoredResponses {
  /** Records, durably, that an open call goes on as a response in the background. A repeat only brings the first look forward. */
  openBackground(background: BackgroundToOpen): Promise<void>;
  /** The customer's own response of that id, the latest where a provider gave it twice. */
  storedResponse(customer: string, responseId: string): Promise<StoredResponse | undefined>;
  /** When the next one is due; undefined when there is none. */
  nextBackground(): Promise<number | undefined>;
  /** Those that are due, longest first. */
  dueBackground(nowMs: number, limit: number): Promise<readonly DueResponse[]>;
  /** Puts one off, counting a miss or ending their count; false where somebody else did before. */
  putOffBackground(due: DueResponse, untilMs: number): Promise<boolean>;
  /** Counts how often in a row the provider did not know it. */
  missBackground(call: string, misses: number): Promise<void>;
  /** Nothing more is to be asked: the call is settled, or about to be. */
  closeBackground(call: string): Promise<void>;
  /** The settlement of a call whose response is lost: by its last checkpoint, as after a crash. */
  lostBackground(call: string, nowMs: number): Promise<CallToSettle>;
}
