/** One process of the gateway: the product's own parts, on a clock, a disk, a provider and a Stripe that are given. */
import { createHash } from 'node:crypto';
import { openaiCompatible } from '../../providers/openai-compatible.ts';
import { createBudgets } from '../../src/billing/budgets/budgets.ts';
import { createCustomers } from '../../src/billing/stripe/customers.ts';
import { createDelivery, type MeterDelivery } from '../../src/billing/delivery/delivery.ts';
import { createLateVerdicts } from '../../src/billing/delivery/late-verdicts.ts';
import type { Transports } from '../../src/billing/ports.ts';
import { createStripeAccount } from '../../src/billing/stripe/account.ts';
import { createStripeWays, type Way } from '../../src/billing/delivery/ways.ts';
import { createWebhooks, type Webhooks } from '../../src/billing/stripe/webhooks.ts';
import { createIdempotency } from '../../src/gateway/idempotency.ts';
import { createInference, type Inference } from '../../src/gateway/inference.ts';
import { createLimiter } from '../../src/gateway/limits.ts';
import { createAttempts } from '../../src/gateway/next-attempt.ts';
import type { CallerReply, Relay } from '../../src/gateway/ports.ts';
import { createResolver } from '../../src/gateway/resolve.ts';
import { createSettler, type Rater, type Settler } from '../../src/gateway/settle.ts';
import type { Keys } from '../../src/keys/keys.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Database, Ledger } from '../../src/ledger/ledger.ts';
import type { Crypto, Runtime } from '../../src/runtime.ts';
import { inputTokens, outputTokens } from '../../src/usage/usage.ts';
import type { Clock, Owner } from './clock.ts';
import type { Dice } from './dice.ts';
import type { Stripe } from 'stripe';

/** A property of the product that is broken on purpose, by standing between two of its parts. */
export interface Damage {
  readonly database?: (database: Database) => Database;
  readonly ledger?: (ledger: Ledger, at: Scene) => Ledger;
  readonly settler?: (settler: Settler, at: Scene) => Settler;
  readonly ways?: (ways: Transports, at: Scene) => Transports;
  readonly relay?: (relay: Relay) => Relay;
  readonly reply?: (reply: CallerReply) => CallerReply;
}

/** What a part may stand on. */
export interface Scene {
  readonly runtime: Runtime;
  readonly dice: Dice;
  readonly ledger: Ledger;
}

export interface ProcessOptions {
  readonly owner: Owner;
  readonly boot: number;
  readonly clock: Clock;
  readonly dice: Dice;
  readonly database: Database;
  readonly relay: Relay;
  readonly stripe: Stripe;
  readonly way: Way | 'auto';
  readonly windowMs: number;
  readonly onDisconnect: 'drain' | 'cancel';
  readonly damage: Damage;
  /** Told of what a process must never say. */
  readonly wrong: (what: string) => void;
}

export interface GatewayProcess {
  readonly runtime: Runtime;
  readonly ledger: Ledger;
  readonly inference: Inference;
  readonly settler: Settler;
  readonly delivery: MeterDelivery;
  readonly webhooks: Webhooks;
  /** The identifier that was made last. */
  readonly lastId: () => string;
}

/** A dollar a million tokens read, two generated: in picodollars a token. */
const RATES = { input: 1_000_000n, output: 2_000_000n };
/** Held for a guarded call. */
const HOLD_PICO = 2_000_000_000n;

export function startProcess(options: ProcessOptions): GatewayProcess {
  const { owner, boot, clock, dice, stripe, damage } = options;
  let lastId = '';
  const runtime = runtimeOf(options, (id) => void (lastId = id));
  const crypto = cryptoOf(dice);
  const database = damage.database?.(options.database) ?? options.database;
  const own = createLedger({ database, bootId: `boot${boot}` });
  const at = { runtime, dice, ledger: own };
  const ledger = damage.ledger?.(own, at) ?? own;
  const deadline = (ms: number): AbortSignal => {
    const controller = new AbortController();
    clock.after(owner, ms, () => controller.abort());
    return controller.signal;
  };
  const account = createStripeAccount({ stripe, deadline });
  const customers = createCustomers({ ledger, account, runtime, whenUnknown: 'allow' });
  const settling = createSettler({
    ledger,
    rater,
    runtime,
    tokenTypes: ['input', 'output', 'cached_input'],
    billedName: (_type, model) => model,
    onMissingUsage: 'estimate',
  });
  const settler = damage.settler?.(settling, at) ?? settling;
  const ways = createStripeWays(options.way, { stripe, runtime, deadline });
  const timeouts = { connectMs: 5_000, firstByteMs: 60_000, idleMs: 60_000, totalMs: 600_000 };
  const upstream = {
    name: 'sim',
    type: 'openai-compatible',
    baseUrl: 'http://sim',
    apiKey: 'k',
    asksUsage: true,
  };
  const inference = createInference({
    keys,
    ledger,
    budgets: createBudgets({
      ledger,
      assess: () => ({ kind: 'held', holdPico: HOLD_PICO, fitPico: HOLD_PICO, outputPico: HOLD_PICO / 2n }),
      runtime,
      defaults: { mode: 'standard', noCredit: 'serve', onEmpty: { kind: 'block' }, plans: new Map() },
    }),
    customers,
    resolver: createResolver({
      routes: [{ upstream, provider: openaiCompatible, endpoints: undefined, timeouts }],
      aliases: new Map(),
      vendorOf: () => undefined,
      billedName: (_type, model) => model,
    }),
    relay: damage.relay?.(options.relay) ?? options.relay,
    settler,
    attempts: createAttempts({
      ledger,
      settler,
      runtime,
      crypto,
      retries: { max: 2, waitMsMax: 2_000 },
      breaker: { failuresMax: 1_000, openMsMax: 1_000 },
    }),
    idempotency: createIdempotency({ ledger, crypto, runtime, onDisconnect: options.onDisconnect }),
    limiter: createLimiter({ limits: { rpm: null, tpm: null, concurrency: null }, now: runtime.now }),
    runtime,
    onDisconnect: options.onDisconnect,
  });
  return {
    runtime,
    lastId: () => lastId,
    ledger,
    inference,
    settler,
    delivery: createDelivery({
      ledger,
      runtime,
      crypto,
      sink: damage.ways?.(ways, at) ?? ways,
      eventName: 'tokens',
      windowMs: options.windowMs,
    }),
    webhooks: createWebhooks({
      secret: 'whsec_sim',
      ledger,
      account,
      customers,
      runtime,
      alerts: { default: 'block', notifyOnly: [] },
      verdicts: createLateVerdicts({ stripe, ledger, runtime, deadline }),
    }),
  };
}

const rater: Rater = {
  version: 'sim',
  costPico: (usage) => BigInt(inputTokens(usage)) * RATES.input + BigInt(outputTokens(usage)) * RATES.output,
};

/** A service key for whoever names a customer. */
const keys: Keys = {
  find: () =>
    Promise.resolve({
      id: 'env',
      customer: null,
      label: 'sim',
      createdAtMs: 0,
      revokedAtMs: null,
      last4: 'sim0',
    }),
  create: () => Promise.reject(new Error('no keys are made here')),
  list: () => Promise.resolve([]),
  rotate: () => Promise.resolve(undefined),
  revoke: () => Promise.resolve(false),
};

/** What a ledger that cannot be written, and nothing else, may bring about. */
const EXPECTED = /LedgerUnavailable|could not be recorded/;

function runtimeOf({ owner, boot, clock, wrong }: ProcessOptions, made: (id: string) => void): Runtime {
  let ids = 0;
  return {
    now: () => clock.nowMs,
    id() {
      const id = `${String(boot).padStart(4, '0')}${String((ids += 1)).padStart(22, '0')}`;
      made(id);
      return id;
    },
    defer(work) {
      work.catch((error: unknown) => {
        if (owner.alive && !EXPECTED.test(String(error))) wrong(`deferred work failed: ${String(error)}`);
      });
    },
    after: (ms, work) => clock.after(owner, ms, work),
    log(_level, event, fields) {
      if (owner.alive && event === 'internal_error') wrong(`internal error: ${String(fields?.['error'])}`);
    },
  };
}

const cryptoOf = (dice: Dice): Crypto => ({
  sha256: (content) => createHash('sha256').update(content).digest('hex'),
  hmac: () => '',
  equal: (a, b) => a === b,
  random: (bytes) => new Uint8Array(bytes).map(() => dice.below(256)),
});
