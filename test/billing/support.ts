/** Stand-ins for the ports that billing stands on: a clock that is given, a ledger in memory, a server on a free port. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type {
  Backlog,
  CustomerFact,
  CustomerState,
  Delivery,
  EventState,
  LeasedEvent,
  LeaseRequest,
  MeterEvent,
  Seal,
  SealingFacts,
  SealingScope,
  UnsealedLine,
  WebhookReceipt,
} from '../../src/ledger/ledger.ts';
import type { Crypto, LogFields, LogLevel, Runtime } from '../../src/runtime.ts';

export interface TestRuntime extends Runtime {
  nowMs: number;
  readonly lines: { level: LogLevel; event: string; fields: LogFields | undefined }[];
}

export function createTestRuntime(nowMs = Date.UTC(2026, 10, 21, 12)): TestRuntime {
  let ids = 0;
  const runtime: TestRuntime = {
    nowMs,
    lines: [],
    now: () => runtime.nowMs,
    id: () => String((ids += 1)).padStart(26, '0'),
    defer: () => undefined,
    after: () => () => undefined,
    log: (level, event, fields) => {
      runtime.lines.push({ level, event, fields });
    },
  };
  return runtime;
}

export const testCrypto: Crypto = {
  sha256: (text) => createHash('sha256').update(text).digest('hex'),
  hmac: (secret, text) => createHmac('sha256', secret).update(text).digest('hex'),
  equal: (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b)),
  random: (bytes) => randomBytes(bytes),
};

export const lineOf = (call: string, more: Partial<UnsealedLine> = {}): UnsealedLine => ({
  call,
  attempt: 1,
  model: 'openai/gpt-4o-mini',
  tokenType: 'input',
  tokens: 12,
  customer: 'cus_a',
  endedAtMs: Date.UTC(2026, 10, 21, 11),
  destination: 'dimensions',
  pico: '0',
  ...more,
});

interface StoredEvent {
  readonly event: MeterEvent;
  state: EventState;
  attempts: number;
  firstAttemptAtMs: number | null;
  isUnsure: boolean;
  notBeforeMs: number;
  leasedUntilMs: number;
  error: string | null;
}

const DUE: ReadonlySet<string> = new Set(['pending', 'sending', 'ambiguous']);

/** As much of the ledger as billing uses, with the rules its interface states. */
export class MemoryLedger {
  readonly lines: UnsealedLine[] = [];
  readonly events = new Map<string, StoredEvent>();
  readonly customers = new Map<string, CustomerState>();
  readonly receipts = new Map<string, readonly CustomerFact[]>();
  readonly marks: Delivery[] = [];
  failure: Error | undefined;

  async unsealed(limit: number, scope?: SealingScope): Promise<readonly UnsealedLine[]> {
    this.#mayFail();
    return this.lines.filter(({ endedAtMs }) => endedAtMs < (scope?.beforeMs ?? Infinity)).slice(0, limit);
  }
  async seal(seals: readonly Seal[]): Promise<void> {
    for (const { event, members } of seals) {
      const initial = {
        state: 'pending',
        attempts: 0,
        firstAttemptAtMs: null,
        isUnsure: false,
        notBeforeMs: 0,
        leasedUntilMs: 0,
      } as const;
      if (!this.events.has(event.identifier))
        this.events.set(event.identifier, { event, ...initial, error: null });
      for (const member of members) {
        const at = this.lines.findIndex(
          (line) =>
            line.call === member.call &&
            line.attempt === member.attempt &&
            line.model === member.model &&
            line.tokenType === member.tokenType,
        );
        if (at >= 0) this.lines.splice(at, 1);
      }
    }
  }
  async lease({ nowMs, leaseMs, limit, identifier }: LeaseRequest): Promise<readonly LeasedEvent[]> {
    this.#mayFail();
    const due = [...this.events.values()].filter(
      (row) =>
        (identifier === undefined || row.event.identifier === identifier) &&
        (((row.state === 'pending' || row.state === 'ambiguous') && row.notBeforeMs <= nowMs) ||
          (row.state === 'sending' && row.leasedUntilMs <= nowMs)),
    );
    const taken = due
      .toSorted((a, b) => a.notBeforeMs - b.notBeforeMs)
      .slice(0, limit)
      .sort((a, b) => a.event.timestampMs - b.event.timestampMs);
    return taken.map((row) => {
      row.isUnsure ||= row.state !== 'pending';
      row.state = 'sending';
      row.leasedUntilMs = nowMs + leaseMs;
      row.attempts += 1;
      row.firstAttemptAtMs ??= nowMs;
      return Object.assign(
        {
          attempts: row.attempts,
          firstAttemptAtMs: row.firstAttemptAtMs,
          isInDoubt: row.isUnsure,
          transport: null,
        },
        row.event,
      );
    });
  }
  async mark(deliveries: readonly Delivery[]): Promise<void> {
    this.#mayFail();
    for (const delivery of deliveries) this.#markOne(delivery);
  }
  #markOne(delivery: Delivery): void {
    this.marks.push(delivery);
    const row = this.events.get(delivery.identifier);
    if (row === undefined) throw new Error(`no event ${delivery.identifier}`);
    row.state =
      delivery.kind === 'duplicate' ? 'accepted' : delivery.kind === 'retry' ? 'pending' : delivery.kind;
    row.error = 'error' in delivery ? delivery.error : null;
    if ('notBeforeMs' in delivery) row.notBeforeMs = delivery.notBeforeMs;
    if (delivery.kind === 'ambiguous') row.isUnsure = true;
    if (delivery.kind === 'retry' && !row.isUnsure) row.firstAttemptAtMs = null;
    if (delivery.kind === 'retry' && delivery.untried === true) row.attempts -= 1;
  }
  async waiting(limit: number): Promise<number> {
    return Math.min(limit, [...this.events.values()].filter(({ state }) => DUE.has(state)).length);
  }
  async nextDueMs(): Promise<number | undefined> {
    const times = [...this.events.values()]
      .filter(({ state }) => DUE.has(state))
      .map(({ state, notBeforeMs, leasedUntilMs }) => (state === 'sending' ? leasedUntilMs : notBeforeMs));
    return times.length === 0 ? undefined : Math.min(...times);
  }
  async sealingFacts(): Promise<ReadonlyMap<string, SealingFacts>> {
    return new Map();
  }
  async backlog(): Promise<Backlog> {
    const times = [
      ...this.lines.map(({ endedAtMs }) => endedAtMs),
      ...[...this.events.values()]
        .filter(({ state }) => DUE.has(state))
        .map(({ event }) => event.timestampMs),
    ];
    return { oldestMs: times.length === 0 ? null : Math.min(...times), parked: {}, unmatchedVerdicts: 0 };
  }
  async clockSetBack(byMs: number): Promise<void> {
    for (const row of this.events.values()) {
      row.notBeforeMs = Math.max(0, row.notBeforeMs - byMs);
      row.leasedUntilMs -= byMs;
      if (row.firstAttemptAtMs !== null) row.firstAttemptAtMs -= byMs;
    }
  }
  async latestClockMs(): Promise<number | null> {
    const times = [...this.events.values()].map(({ event }) => event.timestampMs);
    return times.length === 0 ? null : Math.max(...times);
  }
  async customer(customer: string): Promise<CustomerState | undefined> {
    this.#mayFail();
    return this.customers.get(customer);
  }
  async rememberCustomer(customer: string, state: CustomerState): Promise<void> {
    this.customers.set(customer, state);
  }
  async apply(receipt: WebhookReceipt, facts: readonly CustomerFact[]): Promise<'applied' | 'seen'> {
    this.#mayFail();
    if (this.receipts.has(receipt.eventId)) return 'seen';
    this.receipts.set(receipt.eventId, facts);
    return 'applied';
  }
  #mayFail(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  states(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const row of this.events.values()) counts[row.state] = (counts[row.state] ?? 0) + 1;
    return counts;
  }
}

export interface TestServer {
  readonly url: string;
  close(): Promise<void>;
}

export async function listen(answer: RequestListener): Promise<TestServer> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}
