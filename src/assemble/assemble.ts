/** Puts the parts together, the same on every runtime: an entry brings what only it can choose. */
import type { Context, Hono } from 'hono';
import type Stripe from 'stripe';
import { PROVIDERS } from '../../providers/index.ts';
import { presetOf } from '../../providers/presets.ts';
import { callJson, createAdmin, createRecord } from '../admin/admin.ts';
import { createMoneyAdmin } from '../admin/money.ts';
import { type AppOptions, createApp } from '../app.ts';
import { modelsOf, vendorOf } from '../billing/prices/catalogue.ts';
import { createRestoreRoute } from '../admin/books.ts';
import { assembleBooks, type AssembledBooks, type ChoreTimes } from './books.ts';
import { assembleDelivery } from './delivery.ts';
import { assembleTopUps } from './top-ups.ts';
import type { MeterDelivery } from '../billing/delivery/delivery.ts';
import type { Post } from '../billing/delivery/sinks/http-sink.ts';
import { type Budgets, type BudgetsOptions, createBudgets } from '../billing/budgets/budgets.ts';
import { createHolds } from '../billing/budgets/holds.ts';
import { linkReply, type TopUpLinks } from '../billing/top-ups/links.ts';
import type { ToppingUp } from '../billing/top-ups/top-ups.ts';
import { createStripeMoney, type StripeMoney } from '../billing/stripe/money.ts';
import { createNotifier, type Notifier } from '../billing/notices/notices.ts';
import { createPrices, type Prices } from '../billing/prices/prices.ts';
import { createStripeSide, type StripeSide, type StripeSideOptions } from '../billing/stripe/side.ts';
import { createReports } from '../billing/reads/reports.ts';
import { createUsageRecorder } from '../billing/reads/usage-record.ts';
import { billedName } from '../billing/billed-model.ts';
import type { Settings } from '../config.ts';
import { type Background, createBackground } from '../gateway/background.ts';
import { createIdempotency } from '../gateway/idempotency.ts';
import { createInference, type Inference } from '../gateway/inference.ts';
import { createLimiter } from '../gateway/limits.ts';
import { createModels } from '../gateway/models.ts';
import { createAttempts } from '../gateway/next-attempt.ts';
import type { Caller, Relay } from '../gateway/ports.ts';
import { createReads } from '../gateway/reads.ts';
import { createResolver, type Route } from '../gateway/resolve.ts';
import { createSettler, type Settler, type SettlerOptions } from '../gateway/settle.ts';
import { createStored } from '../gateway/stored.ts';
import type { Keys } from '../keys/keys.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';

export interface Parts {
  readonly settings: Settings;
  readonly runtime: Runtime;
  readonly crypto: Crypto;
  readonly ledger: Ledger;
  readonly keys: Keys;
  readonly relay: Relay;
  readonly stripe: Stripe;
  /** Reaches the places that are not Stripe. */
  readonly post: Post;
  /** The path as it was sent, where the runtime has it. */
  readonly rawPath?: (env: unknown) => string | undefined;
  /** Hands a request's caller to the gateway. */
  readonly serve: (context: Context, work: (caller: Caller) => Promise<void>) => Response | Promise<Response>;
  /** Secrets that open the admin routes. */
  readonly adminSecrets: readonly string[];
  /** Told after each settlement: there may be something to deliver. */
  readonly settled: () => void;
  /** Told how many events were sent, before more are. */
  readonly sent?: (count: number) => Promise<void>;
  /** Told when the process is on its way out: readiness says so. */
  readonly draining?: () => boolean;
  /** When the ledger's chores begin, where they are not those of one process for all. */
  readonly chores?: ChoreTimes;
}

export interface Gateway {
  readonly app: Hono;
  readonly inference: Inference;
  readonly settler: Settler;
  readonly background: Background;
  readonly delivery: MeterDelivery;
  /** What is wrong with the account's meters, and what to do. Rejects when Stripe cannot be asked. */
  readonly checkMeters: () => Promise<readonly string[]>;
  /** What is read from Stripe: the entry owns when. */
  readonly side: Pick<StripeSide, 'customers' | 'refresher' | 'poll'>;
  /** Notices to the operator: the entry owns when. */
  readonly notifier: Notifier;
  /** Credit that customers buy: the entry owns when. */
  readonly topUps: Pick<ToppingUp, 'pass' | 'stop'>;
  /** What is done with the ledger now and then: the entry asks with every pass. */
  readonly books: Pick<AssembledBooks, 'nightly' | 'retention'>;
}

export function assemble(parts: Parts): Gateway {
  const { settings, runtime, crypto, keys, relay, stripe } = parts;
  let links: TopUpLinks | undefined;
  const { prices, budgets } = moneyOf(parts, {
    doubted: (customer) => side.refresher.doubted(customer),
    refused: (customer) => topUps.touched(customer),
    linkOf: (customer) => links?.urlFor(customer) ?? null,
  });
  const ledger = notifying(parts.ledger, budgets, parts.settled);
  const notifier = createNotifier({ ...parts, ledger, settings: settings.notify });
  const buying = assembleTopUps({ ...parts, ledger, refresher: () => side.refresher, ...notifier });
  const { topUps } = buying;
  links = buying.links;
  const changed = (customer: string): void => (notifier.changed(customer), topUps.touched(customer));
  const side = createStripeSide({ stripe, ledger, runtime, changed, topUps, ...stripeSettings(settings) });
  const money = createStripeMoney({ stripe, now: runtime.now });
  const routes = routesOf(settings);
  const resolver = createResolver({ ...settings, routes, vendorOf, billedName });
  const settler = createSettler({
    ledger,
    rater: prices,
    runtime,
    tokenTypes: settings.billing.tokenTypes,
    billedName,
    onMissingUsage: settings.metering.onMissingUsage,
    billed: telling({ notifier, topUps }, parts),
  });
  const limiter = createLimiter({ limits: settings.limits, now: runtime.now });
  const background = createBackground({ ledger, resolver, relay, settler, runtime });
  const inference = createInference({
    keys,
    ledger,
    budgets,
    customers: side.customers,
    resolver,
    relay,
    settler,
    attempts: createAttempts({ ...settings, ledger, settler, runtime, crypto }),
    idempotency: createIdempotency({ ledger, crypto, runtime, ...settings.metering }),
    limiter,
    runtime,
    onDisconnect: settings.metering.onDisconnect,
  });
  const { delivery, withdraw, checkMeters } = assembleDelivery({ ...parts, ledger });
  const books = assembleBooks({ ...parts, ledger, prices });
  const app = createApp({
    runtime,
    inference,
    ...readsOf(parts, ledger, { money, customers: side.customers }),
    models: createModels({ keys, resolver, relay, runtime, catalogue: modelsOf }),
    stored: createStored({ keys, ledger, resolver, relay, background, limiter, runtime }),
    webhooks: side.webhooks,
    topUp: async (token, amount) => linkReply(await buying.links.open(token, amount)),
    admin: createAdmin({
      ...operatorOf(parts),
      ledger,
      keys,
      now: runtime.now,
      flush: () => settler.retry().then(() => delivery.flush()),
      money: createMoneyAdmin({ ledger, crypto, runtime, stripe: { money, refresher: side.refresher } }),
      withdraw,
      alarms: delivery.alarms.detail,
      more: [...books.routes, buying.routes, createRestoreRoute(undefined)],
    }),
    ready: () => readiness(ledger, parts.draining?.() ?? false, [delivery.alarms, books.nightly]),
    serve: parts.serve,
    ...(parts.rawPath === undefined ? {} : { rawPath: parts.rawPath }),
  });
  return { app, inference, settler, background, delivery, side, notifier, topUps, checkMeters, books };
}

type StripeSettings = Pick<StripeSideOptions, 'webhookSecret' | 'alerts' | 'whenUnknown' | 'graceMs'>;
const stripeSettings = ({ stripe, budget }: Settings): StripeSettings => ({
  webhookSecret: stripe.webhookSecret ?? '',
  alerts: budget.alerts,
  whenUnknown: budget.whenUnknown,
  graceMs: budget.paymentGraceMs,
});

const operatorOf = ({ crypto, adminSecrets }: Parts): { crypto: Crypto; secrets: readonly string[] } => ({
  crypto,
  secrets: adminSecrets,
});

/** A word of each bill to who tells the operator; one of no known price is in no cost event. */
function telling(
  { notifier, topUps }: { notifier: Notifier; topUps: Pick<ToppingUp, 'touched'> },
  { settings, runtime }: Pick<Parts, 'settings' | 'runtime'>,
): SettlerOptions['billed'] {
  const billsCosts = settings.billing.layouts.includes('cost');
  return ({ id, customer, target: { billedModel: model } }, bill) => {
    if (billsCosts && bill.costPico === null && bill.usageSource !== 'none')
      runtime.log('warn', 'call_unpriced', { request_id: id, customer, model });
    notifier.used({ customer, model, ...bill });
    topUps.touched(customer);
  };
}

/** What callers read of their own, and what the operator records beside calls. */
function readsOf(
  parts: Parts,
  ledger: Ledger,
  { money, customers }: { money: StripeMoney; customers: StripeSide['customers'] },
): Pick<AppOptions, 'reads' | 'record'> {
  const { runtime, crypto, keys, settings } = parts;
  const reports = createReports({ ledger, money, now: runtime.now, callJson });
  const record = createUsageRecorder({ ledger, crypto, now: runtime.now, recorded: parts.settled });
  return {
    reads: createReads({ keys, reports, customers, runtime, limits: settings.limits }),
    record: createRecord(operatorOf(parts), record),
  };
}

function routesOf(settings: Settings): readonly Route[] {
  return settings.upstreams.flatMap((upstream) => {
    const provider = PROVIDERS.get(upstream.type);
    return provider === undefined
      ? []
      : [{ upstream, provider, endpoints: upstream.endpoints, timeouts: upstream.timeouts }];
  });
}

/** A provider of a vendor's own type has that vendor's prices, whatever the operator calls it. */
function vendorByProvider(settings: Settings, provider: string): string {
  const type = settings.upstreams.find(({ name }) => name === provider)?.type;
  if (type === undefined || type === 'openai-compatible') return provider;
  const preset = presetOf(type);
  return preset === undefined ? type : (preset.catalogue ?? '');
}

/** Prices, and the budgets that are kept by them. */
function moneyOf(
  { settings, runtime, ledger }: Parts,
  {
    linkOf,
    ...told
  }: Pick<BudgetsOptions, 'doubted' | 'refused'> & {
    readonly linkOf: (customer: string) => string | null;
  },
): {
  readonly prices: Prices;
  readonly budgets: Budgets;
} {
  const vendor = (provider: string): string => vendorByProvider(settings, provider);
  const prices = createPrices({
    overrides: settings.prices,
    markupMillionths: settings.billing.markupMillionths,
    planMarkups: markupsOf(settings),
    runtime,
    vendorOf: vendor,
  });
  const budgets = createBudgets({
    ledger,
    assess: createHolds({ prices, vendorOf: vendor }),
    runtime,
    ...told,
    defaults: { ...settings.budget, plans: settings.plans },
    topUpUrl: (customer) =>
      settings.budget.topUpUrl?.replaceAll('{customer}', encodeURIComponent(customer)) ?? linkOf(customer),
  });
  return { prices, budgets };
}

const markupsOf = ({ plans }: Settings): ReadonlyMap<string, bigint> =>
  new Map(
    [...plans].flatMap(([name, { markupMillionths }]) =>
      markupMillionths === undefined ? [] : [[name, markupMillionths] as const],
    ),
  );

/** The ledger, with a word after each settlement to who waits for what was held, and to the one who delivers. */
const notifying = (ledger: Ledger, budgets: Budgets, settled: () => void): Ledger => ({
  ...ledger,
  async settle(call) {
    const result = await ledger.settle(call);
    if (call.heldBy !== undefined) budgets.freed(call.heldBy);
    if (call.lines.length > 0 || BigInt(call.costPico ?? '0') > 0n) settled();
    return result;
  },
  async openBackground(background) {
    await ledger.openBackground(background);
    settled();
  },
  async shrinkHold(call, holdPico) {
    await ledger.shrinkHold(call, holdPico);
    budgets.freed(call);
  },
});

async function readiness(
  ledger: Ledger,
  draining: boolean,
  told: readonly { detail(): Record<string, unknown> }[],
): Promise<{ ready: boolean; detail: Record<string, unknown> }> {
  if (draining) return { ready: false, detail: { reason: 'draining' } };
  try {
    await ledger.probe();
    return { ready: true, detail: Object.assign({}, ...told.map((one) => one.detail())) };
  } catch (error) {
    return { ready: false, detail: { reason: `the ledger takes no writes: ${String(error)}` } };
  }
}
