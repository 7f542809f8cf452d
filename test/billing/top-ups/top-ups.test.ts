/** Credit that customers buy: charged when the balance is low, through the `stripe` package, the simulator and SQLite. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Stripe } from 'stripe';
import { assembleTopUps } from '../../../src/assemble/top-ups.ts';
import { createStripeSide } from '../../../src/billing/stripe/side.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import { violations } from '../../../src/ledger/invariants.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { createNodeCrypto } from '../../../src/platform/crypto.ts';
import { formatUsd, PICO } from '../../../src/usage/money.ts';
import { SECRET, startSimulator } from '../../simulator/start.ts';
import { openMemory } from '../../support/memory-database.ts';
import { settingsOf } from '../../support/settings.ts';

const CUSTOMER = 'cus_buyer';
const RULE = 'auto_top_up: { below: "2.00", amount: "10.00", max_per_day: 3, cool_down: 1h }';
const HOUR_MS = 3_600_000;

const untold = (): void => undefined;

interface Start {
  readonly yaml?: string;
  readonly card?: string | null;
  readonly cents?: number;
}

/** A customer with $5.00 of credit and a card, a gateway's ledger, and all that tops him up; the test owns the clock. */
async function scene({ yaml = `budget: { ${RULE} }`, card = 'pm_card_visa', cents = 500 }: Start = {}) {
  const { simulator, clock, url, stripe } = await startSimulator();
  simulator.addCustomer(CUSTOMER);
  if (card !== null) await defaultCard(stripe, card);
  if (cents > 0) simulator.addCredit(CUSTOMER, cents);
  const database = openMemory();
  onTestFinished(() => database.close());
  await migrate(database);
  const settings = settingsOf(
    {
      STRIPE_SECRET_KEY: 'sk_test_x',
      STRIPE_API_BASE: url,
      OPENAI_API_KEY: 'sk-of-tests-0123456789',
      NOTIFY_SECRET: `whsec_${btoa('0123456789abcdef0123456789abcdef')}`,
    },
    `${yaml}\nnotify: { url: "http://127.0.0.1:9", secret: "\${NOTIFY_SECRET}" }`,
  );
  const deferred: Promise<unknown>[] = [];
  const log: string[] = [];
  const boot = (bootId: string) => {
    const ledger = createLedger({ database, bootId });
    let ids = 0;
    const runtime = {
      now: () => clock.ms,
      id: () => `${bootId}${String((ids += 1))}`.padStart(26, '0'),
      defer: (work: Promise<unknown>) => void deferred.push(work),
      after: () => () => undefined,
      log: (_level: string, event: string) => void log.push(event),
    };
    const refresher = () => side.refresher;
    const parts = {
      settings,
      runtime,
      crypto: createNodeCrypto(),
      ledger,
      stripe,
      refresher,
      changed: untold,
    };
    const { topUps, links } = assembleTopUps(parts);
    const side = createStripeSide({
      stripe,
      ledger,
      runtime,
      topUps,
      webhookSecret: SECRET,
      alerts: { default: 'block', notifyOnly: [] },
      whenUnknown: 'refuse',
      graceMs: 0,
    });
    return { ledger, topUps, links, side };
  };
  const first = boot('one');
  await first.side.refresher.first(CUSTOMER);
  const settled = async (): Promise<void> => {
    while (deferred.length > 0) await Promise.all(deferred.splice(0));
  };
  let calls = 0;
  /** A call that costs so many dollars. */
  const spend = async (usd: number): Promise<void> => {
    const id = `call_${String((calls += 1))}`;
    const opened = { customer: CUSTOMER, keyId: 'key', endpoint: 'chat.completions', provider: 'demo' };
    const account = await first.ledger.account(CUSTOMER);
    const nowMs = clock.ms;
    const call = { id, ...opened, model: 'demo/echo', stream: false, openedAtMs: nowMs };
    const guard = { nowMs, version: account?.version ?? 0, period: account?.period ?? null };
    const money = { holdPico: '0', fitPico: '0', creditChecked: false, gracePico: '0', observe: false };
    expect(await first.ledger.admit(call, { ...guard, ...money })).toMatchObject({ kind: 'admitted' });
    await first.ledger.settle({
      id,
      outcome: 'finished',
      status: 200,
      usageSource: 'reported',
      lines: [],
      usageJson: '{}',
      costPico: String((BigInt(Math.round(usd * 100)) * PICO) / 100n),
      responseId: null,
      endedAtMs: clock.ms,
    });
  };
  return {
    ...first,
    simulator,
    clock,
    stripe,
    database,
    boot,
    log,
    settled,
    spend,
    balance: async () => {
      const { creditPico, overdrawnPico } = await first.ledger.balance(CUSTOMER, clock.ms);
      return formatUsd(BigInt(creditPico) - BigInt(overdrawnPico));
    },
    rows: async () => (await first.ledger.topUps(CUSTOMER, { limit: 100 })).data,
    charges: () => [...simulator.world.paymentIntents.values()],
    bought: () =>
      [...simulator.world.grants.values()].filter(({ metadata }) => 'faregate_top_up' in metadata),
    notices: async () => {
      const due = await first.ledger.dueNotices(clock.ms, 100);
      return due.map(({ body }) => {
        const { type, data } = JSON.parse(body) as { type: string; data: Record<string, unknown> };
        return Object.assign(data, { type });
      });
    },
    /** A word that the balance may have fallen, and the pass that follows. */
    async touch(of: Pick<typeof first, 'topUps'> = first) {
      of.topUps.touched(CUSTOMER);
      await of.topUps.pass();
      await settled();
    },
  };
}
async function defaultCard(stripe: Stripe, name: string): Promise<void> {
  const { id } = await stripe.paymentMethods.attach(name, { customer: CUSTOMER });
  await stripe.customers.update(CUSTOMER, { invoice_settings: { default_payment_method: id } });
}

describe('a balance that falls to the threshold', () => {
  it('is topped up by a charge of the default card, and the grant pays for metered prices', async () => {
    const { spend, touch, balance, charges, bought, rows, notices, database } = await scene();
    await spend(2.99);
    await touch();
    expect(charges()).toEqual([]);
    await spend(0.01);
    await touch();
    expect(charges()).toMatchObject([{ amount: 1_000, currency: 'usd', status: 'succeeded' }]);
    const [{ id, payment } = { id: '', payment: '' }] = await rows();
    expect(bought()).toMatchObject([
      {
        amount: { monetary: { currency: 'usd', value: 1_000 } },
        category: 'paid',
        applicability_config: { scope: { price_type: 'metered' } },
        metadata: { faregate_top_up: id, faregate_payment: payment },
      },
    ]);
    expect(await balance()).toBe('12.00');
    expect(await notices()).toMatchObject([{ type: 'top_up.succeeded', amount_usd: '10.00' }]);
    expect(await violations(database)).toEqual([]);
    await touch();
    expect(charges()).toHaveLength(1);
  });

  it('is charged once however many calls cross it at once', async () => {
    const { spend, topUps, settled, charges, bought } = await scene();
    await spend(4);
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        topUps.touched(CUSTOMER);
        await topUps.pass();
      }),
    );
    await settled();
    expect([charges().length, bought().length]).toEqual([1, 1]);
  });

  it('is topped up three times in 24 hours at most, then again', async () => {
    const { spend, touch, charges, clock } = await scene();
    for (let day = 1; day <= 2; day += 1) {
      for (let time = 0; time < 5; time += 1) {
        await spend(12);
        await touch();
      }
      expect(charges()).toHaveLength(3 * day);
      clock.ms += 24 * HOUR_MS + 1;
    }
  });
});

describe('whose card is never charged by itself', () => {
  it.each([
    ['whom the configuration does not name', { yaml: 'budget: {}' }],
    [
      'whose usage goes to the invoice',
      { yaml: `budget: { ${RULE} }\nplans: { big: { on_empty: overage } }` },
    ],
    ['whose plan has it off', { yaml: `budget: { ${RULE} }\nplans: { big: { auto_top_up: off } }` }],
  ])('a customer %s', async (_, start) => {
    const { ledger, spend, touch, charges, clock } = await scene(start);
    await ledger.changeAccount(CUSTOMER, { plan: 'big' }, clock.ms);
    await spend(6);
    await touch();
    expect(charges()).toEqual([]);
  });

  it('a customer who never had credit, who is frozen, or stopped by an alert of Stripe’s', async () => {
    const never = await scene({ cents: 0 });
    await never.ledger.changeAccount(CUSTOMER, { plan: 'any' }, never.clock.ms);
    await never.touch();
    expect(never.charges()).toEqual([]);
    const { ledger, spend, touch, charges, clock } = await scene();
    await spend(6);
    await ledger.changeAccount(CUSTOMER, { frozen: { why: 'dispute' } }, clock.ms);
    await touch();
    await ledger.changeAccount(CUSTOMER, { frozen: null }, clock.ms);
    const receipt = { eventId: 'evt_1', type: 'x', createdS: 1, receivedAtMs: 1 };
    const fact = { kind: 'alert_triggered', customer: CUSTOMER, alert: 'alrt_1', title: 'Stop' } as const;
    await ledger.apply(receipt, [fact]);
    await touch();
    expect(charges()).toEqual([]);
  });

  it('and a rule of his own goes before his plan’s', async () => {
    const { ledger, topUps, spend, touch, charges } = await scene({ yaml: 'budget: {}' });
    const own = { belowPico: String(PICO), cents: 2_500, perDayMax: 1, coolDownMs: HOUR_MS };
    await touch();
    await ledger.setTopUpRule(CUSTOMER, own);
    topUps.ruled();
    await spend(4.5);
    await touch();
    expect(charges()).toMatchObject([{ amount: 2_500 }]);
    await ledger.setTopUpRule(CUSTOMER, null);
    await spend(30);
    await touch();
    expect(charges()).toHaveLength(1);
  });
});

describe('a charge that fails', () => {
  it.each([
    ['pm_card_chargeCustomerFail', 'generic_decline'],
    ['pm_card_visa_chargeDeclinedInsufficientFunds', 'insufficient_funds'],
    ['pm_card_authenticationRequired', 'authentication_required'],
  ])('with %s is told, leaves nothing open at Stripe, and grants nothing', async (card, failure) => {
    const { spend, touch, charges, bought, rows, notices } = await scene({ card });
    await spend(4);
    await touch();
    expect(await rows()).toMatchObject([{ state: 'failed', failure }]);
    expect(charges()).toMatchObject([{ status: 'canceled' }]);
    expect(bought()).toEqual([]);
    expect(await notices()).toMatchObject([{ type: 'top_up.failed', failure, customer: CUSTOMER }]);
  });

  it('for want of a card asks Stripe for no money', async () => {
    const { spend, touch, charges, rows } = await scene({ card: null });
    await spend(4);
    await touch();
    expect(await rows()).toMatchObject([{ state: 'failed', failure: 'no_payment_method' }]);
    expect(charges()).toEqual([]);
  });

  it('is never a loop: the pause doubles, 11 charges in 30 days', async () => {
    const { spend, touch, charges, clock } = await scene({ card: 'pm_card_chargeCustomerFail' });
    await spend(4);
    const atHours: number[] = [];
    for (let hour = 0; hour < 30 * 24; hour += 1) {
      const before = charges().length;
      await touch();
      if (charges().length > before) atHours.push(hour);
      clock.ms += HOUR_MS;
    }
    expect(atHours.slice(0, 6)).toEqual([0, 1, 3, 7, 15, 31]);
    expect(atHours).toHaveLength(11);
  });

  it('is forgotten once credit was bought', async () => {
    const { spend, touch, charges, clock, stripe, topUps, settled } = await scene({
      card: 'pm_card_chargeCustomerFail',
    });
    await spend(4);
    await touch();
    await defaultCard(stripe, 'pm_card_visa');
    await touch();
    expect(charges()).toHaveLength(1);
    expect(await topUps.charge(CUSTOMER, 500)).toMatchObject({ kind: 'operator' });
    await settled();
    clock.ms += 1;
    await spend(6);
    await touch();
    expect(charges().map(({ amount, status }) => [amount, status])).toEqual([
      [1_000, 'canceled'],
      [500, 'succeeded'],
      [1_000, 'succeeded'],
    ]);
  });
});

describe('a charge that takes days', () => {
  it('keeps others from being made, and is granted when the money came', async () => {
    const { spend, touch, charges, bought, clock, simulator, topUps, settled } = await scene({
      card: 'pm_usBankAccount',
    });
    await spend(4);
    await touch();
    for (let hour = 0; hour < 30; hour += 1) {
      clock.ms += HOUR_MS;
      await touch();
    }
    expect(charges()).toMatchObject([{ status: 'processing' }]);
    expect(bought()).toEqual([]);
    await simulator.trigger('payment_intent.succeeded', { customer: CUSTOMER });
    clock.ms += HOUR_MS;
    await topUps.pass();
    await settled();
    expect(bought()).toHaveLength(1);
  });
});

/** The next answer of that method is another one, once Stripe has done what it was asked. */
function garble<Name extends string>(
  resource: Record<Name, (...args: never[]) => Promise<unknown>>,
  name: Name,
  answer: unknown,
): void {
  const own = resource[name].bind(resource);
  resource[name] = async (...args) => {
    resource[name] = own;
    const real = await own(...args);
    return typeof answer === 'function' ? (answer as (real: unknown) => unknown)(real) : answer;
  };
}
const renamed = (real: unknown): unknown => ({ ...Object(real), status: 'a_new_status' });

describe('a success that is not Stripe’s own', () => {
  it.each([
    ['the charge', 'paymentIntents', 'create', { ok: true }],
    ['the charge', 'paymentIntents', 'create', {}],
    ['the charge', 'paymentIntents', 'create', renamed],
    ['the customer', 'customers', 'retrieve', { ok: true }],
  ] as const)('in answer to %s charges once, and grants what was paid', async (_, resource, name, answer) => {
    const { spend, touch, charges, bought, clock, stripe, log } = await scene();
    await spend(4);
    garble(stripe[resource] as never, name as never, answer);
    for (let round = 0; round < 30; round += 1) {
      await touch();
      clock.ms += HOUR_MS / 6;
    }
    expect(charges()).toMatchObject([{ status: 'succeeded' }]);
    expect(bought()).toHaveLength(1);
    expect(log).not.toContain('top_up_failed');
    expect(log).not.toContain('top_up_step_failed');
  });

  it('in answer to the grant makes one grant', async () => {
    const { spend, touch, bought, clock, stripe, log } = await scene();
    await spend(4);
    garble(stripe.billing.creditGrants as never, 'create' as never, { ok: true });
    for (let round = 0; round < 30; round += 1) {
      await touch();
      clock.ms += HOUR_MS / 6;
    }
    expect(bought()).toHaveLength(1);
    expect(log).not.toContain('top_up_step_failed');
  });
});

describe('a crash or a silence of Stripe’s', () => {
  const FAULTS = [
    ['POST /v1/payment_intents', 'drop'],
    ['POST /v1/payment_intents', 'drop_after_commit'],
    ['POST /v1/payment_intents', 'server_error'],
    ['POST /v1/payment_intents', 'server_error_after_commit'],
    ['POST /v1/payment_intents', 'rate_limited'],
    ['POST /v1/payment_intents', 'conflict'],
    ['POST /v1/payment_intents', 'proxy'],
    ['POST /v1/billing/credit_grants', 'drop'],
    ['POST /v1/billing/credit_grants', 'drop_after_commit'],
    ['POST /v1/billing/credit_grants', 'server_error'],
    ['POST /v1/billing/credit_grants', 'server_error_after_commit'],
    ['POST /v1/billing/credit_grants', 'forbidden'],
    ['GET /v1/customers/*', 'drop'],
  ] as const;

  it.each(FAULTS)('at %s (%s) charges once and grants once', async (route, kind) => {
    const { spend, touch, charges, bought, clock, simulator, balance } = await scene();
    await spend(4);
    // The package itself sends once more after a closed connection.
    simulator.faults.add({ route, kind, times: 2 });
    for (let minute = 0; minute < 5; minute += 1) {
      await touch();
      clock.ms += 60_000;
    }
    expect(charges().map(({ status }) => status)).toEqual(['succeeded']);
    expect(bought()).toHaveLength(1);
    expect(await balance()).toBe('11.00');
  });

  it('between any two steps is gone on with by the next start, with one charge and one grant', async () => {
    for (let death = 1; death <= 12; death += 1) {
      const { spend, ledger, charges, bought, boot, touch, balance, database, settled } = await scene();
      await spend(4);
      // The process dies before its n-th write of a purchase: nothing of it is told afterwards.
      let writes = 0;
      const dying = boot(`dies${String(death)}`);
      const save = dying.ledger.saveTopUp;
      Object.assign(dying.ledger, {
        saveTopUp: (topUp: Parameters<typeof save>[0]) =>
          (writes += 1) >= death ? new Promise(() => undefined) : save(topUp),
      });
      dying.topUps.touched(CUSTOMER);
      await Promise.race([dying.topUps.pass(), new Promise((resolve) => setTimeout(resolve, 60))]);
      void settled;
      const next = boot(`next${String(death)}`);
      for (let look = 0; look < 4; look += 1) {
        await touch(next);
        await ledger.dueTopUps(0, 1);
        await hastened(ledger);
      }
      expect([death, charges().length, bought().length]).toEqual([death, 1, 1]);
      expect(await balance()).toBe('11.00');
      expect(await violations(database)).toEqual([]);
    }
  });

  it('and a ledger put back from before all that is asked of Stripe what became of it', async () => {
    const { spend, touch, charges, bought, balance, database, clock, rows } = await scene();
    await spend(4);
    await touch();
    for (const [state, hours] of [
      ['charging', 25],
      ['paid', 60],
    ] as const) {
      const undo = `UPDATE top_ups SET state = ?, attempts = 0, grant_tries = 0, ended_at_ms = NULL, not_before_ms = 0`;
      await database.batch([{ sql: undo, params: [state] }]);
      clock.ms += hours * HOUR_MS;
      await touch();
      expect([charges().length, bought().length]).toEqual([1, 1]);
      expect((await rows()).map(({ state: now }) => now)).toEqual(['granted']);
    }
    expect(await balance()).toBe('11.00');
  });

  it('of 23 hours ends the charge unconfirmed, after a last look', async () => {
    const { spend, touch, charges, rows, clock, simulator } = await scene();
    await spend(4);
    simulator.faults.add({ route: 'POST /v1/payment_intents', kind: 'proxy', times: 1_000 });
    for (let hour = 0; hour < 26; hour += 1) {
      await touch();
      clock.ms += HOUR_MS;
    }
    expect((await rows()).at(-1)).toMatchObject({ state: 'failed', failure: 'unconfirmed', attempts: 24 });
    expect(charges()).toEqual([]);
  });
});

/** Whoever waits for a retry is due now. */
async function hastened(ledger: Awaited<ReturnType<typeof scene>>['ledger']): Promise<void> {
  for (const { id } of (await ledger.topUps(CUSTOMER, { limit: 100 })).data) await ledger.hastenTopUp(id, 0);
}
