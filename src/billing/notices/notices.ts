/**
 * Notices to the operator's own webhook: usage recorded, 50, 80 and 100 per cent of a credit or budget, balance low,
 * exhausted, recovered. Signed as Standard Webhooks says (https://www.standardwebhooks.com), and tried again for three days.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { DueNotice, Notice } from '../../ledger/notices.ts';
import type { Crypto, Runtime } from '../../runtime.ts';
import { formatUsd } from '../../usage/money.ts';
import { newsOf } from './notice-levels.ts';
import type { Post } from '../delivery/sinks/http-sink.ts';

export interface NoticeSettings {
  readonly url: string;
  /** `whsec_` and base64. */
  readonly secret: string;
  /** Picodollars; null for no warning. */
  readonly lowBalancePico: bigint | null;
}
export interface NoticesOptions {
  /** Null: nobody is told anything. */
  readonly settings: NoticeSettings | null;
  readonly ledger: Pick<
    Ledger,
    | 'account'
    | 'balance'
    | 'budgets'
    | 'noticeLevels'
    | 'addNotices'
    | 'dueNotices'
    | 'nextNoticeMs'
    | 'noticeDelivered'
    | 'noticeFailed'
  >;
  readonly post: Post;
  readonly crypto: Pick<Crypto, 'sha256' | 'hmac'>;
  readonly runtime: Pick<Runtime, 'now' | 'id' | 'log'>;
}

export interface UsedByCall {
  readonly customer: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costPico: bigint | null;
}

export interface Notifier {
  /** A call was settled. */
  used(call: UsedByCall): void;
  /** Something else changed a customer's money. */
  changed(customer: string): void;
  /** Finds out what is to be told, and sends what is due. Answers after how many milliseconds to come again; Infinity when nothing waits. */
  pass(): Promise<number>;
}

/** Standard Webhooks' own schedule: after the last, 75 hours on, a notice is given up. */
const RETRIES_MS: readonly number[] = [
  5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000,
];
const PASS_MS = 2_000;
const BATCH_MAX = 32;
const PARALLEL_MAX = 4;
/** Usage is told in sums of at least so long; what is not told yet is lost by a crash, and Stripe has it all the same. */
const USAGE_MS = 10_000;
const CUSTOMERS_MAX = 10_000;
const NOTHING: Notifier = { used: () => undefined, changed: () => undefined, pass: async () => Infinity };

export function createNotifier({ settings, ledger, post, crypto, runtime }: NoticesOptions): Notifier {
  if (settings === null) return NOTHING;
  const touched = new Set<string>();
  let usage = new Map<string, UsageSum>();
  let usageToldAtMs = runtime.now();

  const find = async (customer: string): Promise<void> => {
    const nowMs = runtime.now();
    const [account, balance, budgets, known] = await Promise.all([
      ledger.account(customer),
      ledger.balance(customer, nowMs),
      ledger.budgets(customer, nowMs),
      ledger.noticeLevels(customer),
    ]);
    const { lowBalancePico } = settings;
    const news = newsOf({ customer, account, balance, budgets, lowBalancePico, nowMs }, known);
    if (news.levels.length === 0) return;
    const notices = news.items.map(({ type, data, subject, seq }) => {
      const id = `msg_${crypto.sha256(JSON.stringify([customer, subject, seq, type])).slice(0, 32)}`;
      return noticeOf({ id, type, customer, data }, nowMs);
    });
    await ledger.addNotices(customer, { notices, levels: news.levels }, nowMs);
  };
  const tellUsage = async (): Promise<void> => {
    const nowMs = runtime.now();
    const isEarly = nowMs >= usageToldAtMs && nowMs - usageToldAtMs < USAGE_MS;
    if (usage.size === 0 || isEarly) return;
    const told = usage;
    usage = new Map();
    usageToldAtMs = nowMs;
    for (const [customer, sum] of told) {
      const data = usageJson(customer, sum);
      const notice = noticeOf({ id: `msg_${runtime.id()}`, type: 'usage.recorded', customer, data }, nowMs);
      await ledger.addNotices(customer, { notices: [notice], levels: [] }, nowMs);
    }
  };
  const send = async (notice: DueNotice): Promise<void> => {
    const error = await attempt(notice, { settings, post, crypto, nowMs: runtime.now() });
    if (error === null) return ledger.noticeDelivered(notice.id, runtime.now());
    const waitMs = RETRIES_MS[notice.attempts];
    runtime.log('warn', 'notice_failed', {
      id: notice.id,
      type: notice.type,
      attempts: notice.attempts + 1,
      error,
    });
    return ledger.noticeFailed(notice.id, waitMs === undefined ? null : runtime.now() + waitMs, error);
  };
  return {
    used(call) {
      if (touched.size < CUSTOMERS_MAX) touched.add(call.customer);
      if (usage.has(call.customer) || usage.size < CUSTOMERS_MAX) add(usage, call);
    },
    changed: (customer) => void (touched.size < CUSTOMERS_MAX && touched.add(customer)),
    async pass() {
      for (const customer of touched) {
        touched.delete(customer);
        await find(customer);
      }
      await tellUsage();
      const due = [...(await ledger.dueNotices(runtime.now(), BATCH_MAX))];
      const next = async (): Promise<void> => {
        for (let one = due.shift(); one !== undefined; one = due.shift()) await send(one);
      };
      await Promise.all(Array.from({ length: PARALLEL_MAX }, next));
      if (touched.size > 0 || usage.size > 0) return PASS_MS;
      const nextMs = await ledger.nextNoticeMs();
      return nextMs === undefined ? Infinity : Math.max(0, nextMs - runtime.now());
    },
  };
}

interface UsageSum {
  calls: number;
  costPico: bigint;
  readonly models: Map<string, { input: number; output: number }>;
}

function add(usage: Map<string, UsageSum>, call: UsedByCall): void {
  const sum = usage.get(call.customer) ?? { calls: 0, costPico: 0n, models: new Map() };
  const model = sum.models.get(call.model) ?? { input: 0, output: 0 };
  sum.calls += 1;
  sum.costPico += call.costPico ?? 0n;
  sum.models.set(call.model, {
    input: model.input + call.inputTokens,
    output: model.output + call.outputTokens,
  });
  usage.set(call.customer, sum);
}

const usageJson = (customer: string, { calls, costPico, models }: UsageSum): object => ({
  customer,
  calls,
  cost_usd: formatUsd(costPico),
  models: [...models].map(([model, { input, output }]) => ({
    model,
    input_tokens: input,
    output_tokens: output,
  })),
});

const noticeOf = (
  { id, type, customer, data }: { id: string; type: string; customer: string; data: object },
  nowMs: number,
): Notice => ({
  id,
  type,
  customer,
  body: JSON.stringify({ type, timestamp: new Date(nowMs).toISOString(), data }),
});

/** Null when it was taken; otherwise why not. */
async function attempt(
  { id, body }: Notice,
  {
    settings,
    post,
    crypto,
    nowMs,
  }: Pick<NoticesOptions, 'post' | 'crypto'> & {
    settings: NoticeSettings;
    nowMs: number;
  },
): Promise<string | null> {
  const timestamp = String(Math.floor(nowMs / 1_000));
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature(crypto, settings.secret, `${id}.${timestamp}.${body}`)}`,
  };
  try {
    const { status, text } = await post(settings.url, { headers, body });
    return status >= 200 && status < 300 ? null : `HTTP ${String(status)}: ${text.slice(0, 200)}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function signature(crypto: Pick<Crypto, 'hmac'>, secret: string, text: string): string {
  const key = Uint8Array.from(atob(secret.replace(/^whsec_/, '')), (letter) => letter.codePointAt(0) ?? 0);
  const hex = crypto.hmac(key, text);
  const bytes = hex.match(/../g) ?? [];
  return btoa(String.fromCodePoint(...bytes.map((pair) => Number.parseInt(pair, 16))));
}
