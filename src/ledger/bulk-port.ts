/** Usage in bulk, out of the ledger and into it. Times are milliseconds. */
import type { EventState } from './delivery-port.ts';
import type { Line } from './ledger.ts';

export interface ExportQuery {
  readonly customer?: string | undefined;
  readonly fromMs: number;
  readonly toMs: number;
  /** Where the page before ended. */
  readonly cursor?: string | undefined;
  readonly limit: number;
}
export interface ExportPage<T> {
  readonly data: readonly T[];
  /** Null at the end. A page may be empty and not be the last. */
  readonly nextCursor: string | null;
}

export interface ExportedEvent {
  readonly identifier: string;
  readonly eventName: string;
  readonly customer: string;
  readonly model: string;
  readonly tokenType: string;
  readonly value: string;
  readonly timestampMs: number;
  readonly state: EventState;
}

export interface ExportedLine extends Line {
  /** The event it is in; null while it is in none. */
  readonly event: string | null;
  readonly eventName: string | null;
  readonly state: EventState | null;
}
export interface ExportedCall {
  readonly id: string;
  readonly customer: string;
  readonly keyId: string;
  readonly endpoint: string;
  readonly provider: string;
  readonly model: string;
  readonly outcome: string;
  readonly status: number | null;
  readonly usageSource: string;
  readonly openedAtMs: number;
  readonly endedAtMs: number;
  readonly costPico: string | null;
  readonly responseId: string | null;
  readonly lines: readonly ExportedLine[];
}

/** One billable count that no call of this ledger made. */
export interface ImportRecord {
  readonly identifier: string;
  /** Of everything else in it. */
  readonly contentHash: string;
  /** The call and the event it was exported with: where this ledger has one of them, it has the usage. */
  readonly origin: { readonly call: string; readonly event: string };
  readonly customer: string;
  readonly timestampMs: number;
  readonly value: string;
  /** Null for a unit that is no token: it makes an event and no call. */
  readonly usage: {
    readonly call: string;
    readonly provider: string;
    readonly model: string;
    readonly tokenType: string;
    readonly usageJson: string;
    readonly costPico: string | null;
  } | null;
  /** The event it is in already; null where it is to be sealed and sent like any other. */
  readonly event: {
    readonly identifier: string;
    readonly destination: string;
    readonly eventName: string;
    readonly value: string;
    readonly state: EventState;
  } | null;
}
export type ImportOutcome = 'imported' | 'already' | 'differs';

export interface Bulk {
  /** Events for Stripe, the oldest first. */
  exportEvents(query: ExportQuery & { readonly unitsOnly?: boolean }): Promise<ExportPage<ExportedEvent>>;
  /** Settled calls that ended in the time, in the order they were opened in, with the events of one destination. */
  exportCalls(query: ExportQuery & { readonly destination: string }): Promise<ExportPage<ExportedCall>>;
  /** Writes a record whole, once for each identifier; with `dryRun` only says what would be. */
  importRecord(
    record: ImportRecord,
    when: { readonly nowMs: number; readonly dryRun: boolean },
  ): Promise<ImportOutcome>;
}
