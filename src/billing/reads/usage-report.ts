/** Sums of a customer's usage over a period, by day, model, token type and key. */
import { Refusal } from '../../errors.ts';
import type { CallUsage, UsageReads } from '../../ledger/usage-port.ts';
import { firstCallIdAt } from './call-ids.ts';

export const GROUPINGS = ['day', 'model', 'token_type', 'key_id'] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface UsageQuery {
  readonly customer: string;
  /** Calls that ended from then on, and before `toMs`. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly by: readonly Grouping[];
}

export interface UsageGroup {
  readonly at: Readonly<Partial<Record<Grouping, string>>>;
  readonly tokens: bigint;
  readonly calls: number;
  /** Null where tokens of one call are apart: a call has one price, not one for each of its token types. */
  readonly costPico: bigint | null;
}

export interface UsageReport {
  readonly calls: number;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly costPico: bigint;
  /** Calls with usage and without a price. */
  readonly unpricedCalls: number;
  /** In the order of their names. */
  readonly groups: readonly UsageGroup[];
}

/**
 * Calls read for one report; past it the period must be narrowed. They are summed here and not by the database: its one
 * thread writes every call's record, and is held for 10 ms at a time as it is.
 */
const CALLS_READ_MAX = 200_000;
/** The clock may have been set back in between. */
const CLOCK_MS = 3_600_000;
const SLICE_CALLS_MAX = 2_000;
/** Calls are found by when they began; none runs for longer, save across a gateway's downtime. */
const LONGEST_CALL_MS = 259_200_000;
/** One report serves whoever asks for the same within so many milliseconds. */
const REPORT_KEPT_MS = 2_000;
const REPORTS_KEPT_MAX = 100;

export type UsageReports = (query: UsageQuery) => Promise<UsageReport>;

/** The reports throw a `Refusal` for a period with too many calls. */
export function createUsageReports(ledger: UsageReads, now: () => number): UsageReports {
  const kept = new Map<string, { readonly untilMs: number; readonly report: Promise<UsageReport> }>();
  return (query) => {
    const name = JSON.stringify(query);
    const known = kept.get(name);
    const nowMs = now();
    // Not one that is good for longer than any: the clock was set back since.
    if (known !== undefined && known.untilMs > nowMs && known.untilMs <= nowMs + REPORT_KEPT_MS)
      return known.report;
    if (kept.size >= REPORTS_KEPT_MAX) kept.clear();
    const report = read(ledger, query);
    kept.set(name, { untilMs: nowMs + REPORT_KEPT_MS, report });
    return report;
  };
}

async function read(ledger: UsageReads, query: UsageQuery): Promise<UsageReport> {
  const sums = createSums(query.by);
  // What was begun after the period has not ended in it: so any period can be read in parts.
  let cursor: string | undefined = firstCallIdAt(query.toMs + CLOCK_MS);
  for (let seen = 0; seen < CALLS_READ_MAX;) {
    const calls = await ledger.callUsage({ customer: query.customer, cursor, limit: SLICE_CALLS_MAX });
    for (const call of calls)
      if (call.endedAtMs !== null && call.endedAtMs >= query.fromMs && call.endedAtMs < query.toMs)
        sums.add(call);
    seen += calls.length;
    const last = calls.at(-1);
    if (last === undefined || calls.length < SLICE_CALLS_MAX) return sums.report();
    if (last.openedAtMs < query.fromMs - LONGEST_CALL_MS) return sums.report();
    cursor = last.id;
  }
  throw new Refusal(
    'invalid_request',
    `More than ${CALLS_READ_MAX} calls have been made in that time: ask for a shorter one, by "from" and "to".`,
    { param: 'from' },
  );
}

interface Sum {
  at: UsageGroup['at'];
  tokens: bigint;
  calls: number;
  costPico: bigint;
}

function createSums(by: readonly Grouping[]): { add(call: CallUsage): void; report(): UsageReport } {
  const groups = new Map<string, Sum>();
  const totals = { calls: 0, inputTokens: 0n, outputTokens: 0n, costPico: 0n, unpricedCalls: 0 };
  const splitsCost = by.includes('token_type');
  const groupOf = (call: CallUsage, model: string, tokenType: string): Sum => {
    const values: Record<Grouping, string> = {
      day: new Date(call.endedAtMs ?? 0).toISOString().slice(0, 10),
      model,
      token_type: tokenType,
      key_id: call.keyId,
    };
    const at = Object.fromEntries(by.map((name) => [name, values[name]]));
    const name = JSON.stringify(Object.values(at));
    const group = groups.get(name) ?? { at, tokens: 0n, calls: 0, costPico: 0n };
    groups.set(name, group);
    return group;
  };
  return {
    add(call) {
      totals.calls += 1;
      const touched = new Set<Sum>();
      for (const { model, tokenType, tokens } of call.lines) {
        const group = groupOf(call, model, tokenType);
        group.tokens += BigInt(tokens);
        touched.add(group);
        if (tokenType === 'output' || tokenType === 'reasoning') totals.outputTokens += BigInt(tokens);
        else totals.inputTokens += BigInt(tokens);
      }
      if (call.costPico === null) totals.unpricedCalls += call.lines.length > 0 ? 1 : 0;
      const cost = BigInt(call.costPico ?? '0');
      totals.costPico += cost;
      if (!splitsCost && cost > 0n) {
        const group = groupOf(call, call.model, '');
        group.costPico += cost;
        touched.add(group);
      }
      for (const group of touched) group.calls += 1;
    },
    report: () => ({
      ...totals,
      groups: [...groups]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, { at, tokens, calls, costPico }]) => ({
          at,
          tokens,
          calls,
          costPico: splitsCost ? null : costPico,
        })),
    }),
  };
}
