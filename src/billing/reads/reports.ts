/** The reports behind the reads: what a customer is told of his own money, as JSON. */
import { Refusal } from '../../errors.ts';
import type { CallView, Ledger } from '../../ledger/ledger.ts';
import { formatUsd } from '../../usage/money.ts';
import { isDay } from './days.ts';
import { balanceJson, usd } from './money-json.ts';
import type { StripeMoney } from '../stripe/money.ts';
import { createUsageReports, type Grouping, GROUPINGS, type UsageGroup } from './usage-report.ts';

export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

export interface ReportsOptions {
  readonly ledger: Pick<Ledger, 'calls' | 'callUsage' | 'undelivered' | 'account' | 'balance'>;
  readonly money: Pick<StripeMoney, 'preview'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A call as JSON. */
  readonly callJson: (call: CallView) => object;
}

/** A year and a month: longer spans are read in parts. */
const SPAN_MS_MAX = 34_214_400_000;
const GROUPS_MAX = 1_000;
const GROUPS_DEFAULT = 100;

export interface MoneyReports {
  usage(customer: string, query: URLSearchParams): Promise<object>;
  invoicePreview(customer: string): Promise<object>;
  credits(customer: string): Promise<object>;
  generation(customer: string, id: string): Promise<object>;
}

export function createReports(options: ReportsOptions): MoneyReports {
  return {
    usage: createUsageRead(options),
    generation: createGenerationRead(options),
    async credits(customer) {
      const { ledger, now } = options;
      const [balance, account] = await Promise.all([
        ledger.balance(customer, now()),
        ledger.account(customer),
      ]);
      return { data: balanceJson(customer, balance, account) };
    },
    invoicePreview: (customer) => invoicePreview(customer, options),
  };
}

/** Stripe's own preview, and beside it what Stripe has not been told yet. */
async function invoicePreview(customer: string, { ledger, money }: ReportsOptions): Promise<object> {
  const [preview, { costPico, lines }] = await Promise.all([
    money.preview(customer),
    ledger.undelivered(customer),
  ]);
  return {
    data: {
      customer,
      stripe: preview,
      undelivered: {
        cost_usd: usd(costPico),
        lines: lines.map(({ model, tokenType, tokens }) => ({
          model,
          token_type: tokenType,
          tokens: Number(tokens),
        })),
      },
      estimated_total_usd:
        preview === null || preview.currency === 'usd'
          ? formatUsd(BigInt(preview?.total ?? 0) * PICO_PER_CENT + BigInt(costPico))
          : null,
    },
  };
}

const PICO_PER_CENT = 10_000_000_000n;

function createUsageRead({ ledger, now }: ReportsOptions) {
  const reports = createUsageReports(ledger, now);
  return async (customer: string, query: URLSearchParams): Promise<object> => {
    const span = await spanOf(
      query,
      now(),
      async () => (await ledger.account(customer))?.period ?? undefined,
    );
    const by = groupingsOf(query.get('group_by'));
    const { groups, ...totals } = await reports({ customer, fromMs: span.startMs, toMs: span.endMs, by });
    const limit = limitOf(query.get('limit'));
    const begin = beginOf(query.get('cursor'), groups.length);
    const next = begin + limit;
    return {
      customer,
      period: { start: isoTime(span.startMs), end: isoTime(span.endMs), source: span.source },
      totals: {
        calls: totals.calls,
        input_tokens: Number(totals.inputTokens),
        output_tokens: Number(totals.outputTokens),
        cost_usd: formatUsd(totals.costPico),
        unpriced_calls: totals.unpricedCalls,
      },
      data: groups.slice(begin, next).map(groupJson),
      next_cursor: next < groups.length ? String(next) : null,
    };
  };
}

function createGenerationRead({ ledger, callJson }: ReportsOptions) {
  return async (customer: string, id: string): Promise<object> => {
    const { data } = await ledger.calls({ customer, id, limit: 1 });
    const call = data[0];
    if (call !== undefined) return { data: callJson(call) };
    throw new Refusal('not_found', `There is no call ${id} of ${customer}.`, { param: 'id' });
  };
}

interface Span extends Period {
  readonly source: 'requested' | 'subscription' | 'calendar_month';
}

async function spanOf(
  query: URLSearchParams,
  nowMs: number,
  period: () => Promise<Period | undefined>,
): Promise<Span> {
  const from = query.get('from');
  const to = query.get('to');
  if (from === null && to === null) {
    const known = await period();
    if (known !== undefined && known.startMs <= nowMs && nowMs < known.endMs)
      return { ...known, source: 'subscription' };
    return { ...monthOf(nowMs), source: 'calendar_month' };
  }
  const endMs = to === null ? nowMs + 1 : momentOf(to, 'to');
  const startMs = from === null ? monthOf(endMs - 1).startMs : momentOf(from, 'from');
  if (endMs > startMs && endMs - startMs <= SPAN_MS_MAX) return { startMs, endMs, source: 'requested' };
  throw new Refusal('invalid_request', '"from" must be before "to", and 396 days before it at most.', {
    param: 'from',
  });
}

function monthOf(ms: number): Period {
  const date = new Date(ms);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  return { startMs: Date.UTC(year, month), endMs: Date.UTC(year, month + 1) };
}

/** `2026-11-21` (midnight, UTC), a moment in ISO 8601, or seconds since the epoch. */
function momentOf(text: string, param: string): number {
  const ms = /^\d{9,11}$/.test(text)
    ? Number(text) * 1_000
    : /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
      ? Date.parse(text)
      : Number.NaN;
  if (Number.isSafeInteger(ms) && isDay(text)) return ms;
  throw new Refusal(
    'invalid_request',
    `"${param}" must be a day (2026-11-21, from midnight UTC), a moment (2026-11-21T08:00:00Z) or seconds since 1970.`,
    { param },
  );
}

const NAMES: Readonly<Record<string, Grouping>> = { type: 'token_type', key: 'key_id' };

function groupingsOf(text: string | null): readonly Grouping[] {
  if (text === null || text === '') return ['model', 'token_type'];
  const asked = text.split(',').map((name) => NAMES[name.trim()] ?? name.trim());
  const known = GROUPINGS.filter((name) => asked.includes(name));
  if (known.length === asked.length) return known;
  throw new Refusal('invalid_request', '"group_by" must be some of day, model, type and key, with commas.', {
    param: 'group_by',
  });
}

function limitOf(text: string | null): number {
  const limit = Number(text ?? GROUPS_DEFAULT);
  if (Number.isInteger(limit) && limit >= 1 && limit <= GROUPS_MAX) return limit;
  throw new Refusal('invalid_request', `"limit" must be a whole number from 1 to ${GROUPS_MAX}.`, {
    param: 'limit',
  });
}

function beginOf(cursor: string | null, groups: number): number {
  const begin = Number(cursor ?? 0);
  if (Number.isInteger(begin) && begin >= 0 && begin <= groups) return begin;
  throw new Refusal('invalid_request', '"cursor" must be what the page before said in next_cursor.', {
    param: 'cursor',
  });
}

const groupJson = ({ at, tokens, calls, costPico }: UsageGroup): object => ({
  ...at,
  tokens: Number(tokens),
  calls,
  cost_usd: costPico === null ? null : formatUsd(costPico),
});

const isoTime = (ms: number): string => new Date(ms).toISOString();
