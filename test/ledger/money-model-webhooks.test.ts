/**
 * Random histories of a customer's money at Stripe and here, with the webhooks between them doubled, shuffled and lost,
 * then made up for: against a plain model of what the ledger can know. The simulator is Stripe, asked through its package.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { createStripeSide, type StripeSide } from '../../src/billing/stripe/side.ts';
import { APPLIED_TYPES } from '../../src/billing/stripe/webhook-facts.ts';
import { createWebhooks } from '../../src/billing/stripe/webhooks.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { Account, Guard } from '../../src/ledger/accounts-port.ts';
import type { Admission, CallToOpen, Database, Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createStripeSimulator, type StripeSimulator } from '../../src/simulator/stripe.ts';
import type { CreditGrant, StripeEvent } from '../../src/simulator/world.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { stripeClient } from '../simulator/start.ts';
import { openMemory } from '../support/memory-database.ts';

const START = Date.UTC(2026, 1, 27, 22);
const HOUR = 3_600_000;
const CUSTOMER = 'cus_model';
const PICO_PER_CENT = 10_000_000_000n;
const ALERTS = ['alrt_a', 'alrt_b'] as const;

/** As the ledger last read it. Money is cents, times are seconds. */
interface KnownGrant {
  readonly id: string;
  readonly balance: number;
  readonly effectiveS: number;
  readonly expiresS: number | null;
  readonly isVoid: boolean;
  readonly order: readonly number[];
}
interface Call {
  readonly id: string;
  readonly hold: number;
  readonly openedAtMs: number;
}
interface Burn {
  readonly grant: string;
  readonly cents: number;
  readonly endedAtMs: number;
}
/** What a webhook told of alerts, by Stripe's second. */
type Word =
  | { readonly atS: number; readonly what: 'triggered' | 'recovered'; readonly alert: string }
  | { readonly atS: number; readonly what: 'lifted' };
interface Model {
  grants: readonly KnownGrant[];
  hasHadGrant: boolean;
  finalisedMs: number;
  isOwing: boolean;
  /** He is to be read, and was not yet. */
  wanted: boolean;
  words: readonly Word[];
  readonly told: Set<string>;
  open: Call[];
  burns: Burn[];
  calls: number;
}
type Told = Account & { readonly hasBudgets: boolean };
interface Real {
  readonly simulator: StripeSimulator;
  readonly clock: { ms: number };
  readonly database: Database;
  ledger: Ledger;
  /** The account as an admission told it last; what is judged by it is for the ledger to find outdated. */
  account: Told | undefined;
  side: StripeSide;
  readonly boot: () => Promise<void>;
  /** What was left to be done behind is done. */
  readonly settled: () => Promise<void>;
}

const unbilled = (model: Model) => model.burns.filter(({ endedAtMs }) => endedAtMs >= model.finalisedMs);
const burnedOf = (model: Model, grant: string): number =>
  unbilled(model)
    .filter((one) => one.grant === grant)
    .reduce((sum, { cents }) => sum + cents, 0);
const leftOf = (model: Model, grant: KnownGrant): number =>
  Math.max(0, grant.balance - burnedOf(model, grant.id));
const isAlive = ({ isVoid, effectiveS, expiresS }: KnownGrant, fromMs: number, untilMs: number): boolean =>
  !isVoid && effectiveS * 1_000 <= untilMs && (expiresS === null || expiresS * 1_000 > fromMs);
const creditOf = (model: Model, nowMs: number): number =>
  model.grants
    .filter((grant) => isAlive(grant, nowMs, nowMs))
    .reduce((sum, grant) => sum + leftOf(model, grant), 0);
const heldOf = (model: Model): number => model.open.reduce((sum, { hold }) => sum + hold, 0);
const byOrder = (a: KnownGrant, b: KnownGrant): number => {
  const at = a.order.findIndex((part, place) => part !== b.order[place]);
  return at < 0 ? (a.id < b.id ? -1 : 1) : (a.order[at] ?? 0) - (b.order[at] ?? 0);
};
/** The alerts that fire, by what was told in whatever order: Stripe's seconds decide. */
function firing({ words }: Model): readonly string[] {
  const alerts = new Set<string>();
  for (const word of words.toSorted((a, b) => a.atS - b.atS)) {
    if (word.what === 'triggered') alerts.add(word.alert);
    if (word.what === 'recovered') alerts.delete(word.alert);
    if (word.what === 'lifted') alerts.clear();
  }
  return [...alerts].toSorted();
}

/** Stripe as it stands now is what is known from here on. */
function read(model: Model, { simulator: { world } }: Real): void {
  model.grants = [...world.grants.values()].map((grant) => ({
    id: grant.id,
    balance: grant.amount.monetary.value - (world.applied.get(grant.id) ?? 0),
    effectiveS: grant.effective_at ?? grant.created,
    expiresS: grant.expires_at,
    isVoid: grant.voided_at !== null,
    order: [
      grant.priority,
      grant.expires_at ?? Infinity,
      grant.category === 'promotional' ? 0 : 1,
      grant.effective_at ?? 0,
      grant.created,
    ],
  }));
  model.hasHadGrant ||= model.grants.length > 0;
  const invoices = [...world.invoices.values()].toReversed();
  for (const { period_end: end } of invoices)
    model.finalisedMs = Math.max(model.finalisedMs, Number(end) * 1_000);
  const [subscription] = world.subscriptions.values();
  const status = subscription?.status ?? 'none';
  const isUnpaid = ['past_due', 'unpaid'].includes(status) && invoices[0]?.status !== 'paid';
  model.isOwing = isUnpaid || ['canceled', 'paused'].includes(status);
  model.wanted = false;
}

const isNews = (type: string): boolean => /^(billing\.credit_|customer\.subscription\.|invoice\.)/.test(type);

/** What an event adds to what is known, the first time that it is told. */
function tell(model: Model, real: Real, event: StripeEvent): void {
  if (model.told.has(event.id)) return;
  model.told.add(event.id);
  const { type, created: atS } = event;
  const { alert, status } = event.data.object as { alert?: { id: string }; status?: string };
  const word = (what: 'triggered' | 'recovered'): Word => ({ atS, what, alert: alert?.id ?? '' });
  const lifts =
    // The scene's updates only end grants.
    (type === 'billing.credit_grant.created' && isInEffect(event.data.object, real) && available(real) > 0) ||
    // The scene's invoices are renewals, and its subscriptions begin a period with every change.
    (type.startsWith('invoice.') && !['invoice.voided'].includes(type)) ||
    (type === 'customer.subscription.updated' && ['active', 'past_due', 'unpaid'].includes(status ?? ''));
  const words: Word[] = lifts
    ? [{ atS: type.startsWith('invoice.') ? endOf(event) : atS, what: 'lifted' }]
    : [];
  if (type === 'billing.alert.triggered') words.push(word('triggered'));
  if (type === 'billing.alert.recovered') words.push(word('recovered'));
  model.words = [...model.words, ...words];
  if (isNews(type)) model.wanted = true;
}
const endOf = ({ created, data }: StripeEvent): number =>
  Math.min(created, Number(data.object['period_end']));

function isInEffect(grant: object, { clock }: Pick<Real, 'clock'>): boolean {
  const { voided_at: voided, effective_at: from, expires_at: until } = grant as CreditGrant;
  const isUnended = voided === null && (until === null || until > Math.floor(clock.ms / 1_000));
  return isUnended && (from ?? 0) * 1_000 <= clock.ms;
}

/** Cents that Stripe says are available. */
function available({ simulator: { world }, clock }: Real): number {
  return [...world.grants.values()]
    .filter((grant) => isInEffect(grant, { clock }))
    .reduce((sum, { id, amount }) => sum + amount.monetary.value - (world.applied.get(id) ?? 0), 0);
}

type Command = fc.AsyncCommand<Model, Real>;
const command = (
  name: string,
  run: (model: Model, real: Real) => Promise<void> | void,
  check?: (model: Model) => boolean,
): Command => ({
  check: (model) => check?.(model as Model) ?? true,
  async run(model, real) {
    // No two things happen in one second: what Stripe says of the same second has no order.
    real.clock.ms += 1_000;
    await run(model, real);
    await agree(model, real);
  },
  toString: () => name,
});

const pico = (cents: number): string => (BigInt(cents) * PICO_PER_CENT).toString();

/** After every step the ledger says what the model says, and its own counters are the sums of its rows. */
async function agree(model: Model, { ledger, database, clock }: Real): Promise<void> {
  const credit = creditOf(model, clock.ms);
  const overdrawn = burnedOf(model, '');
  const balance = await ledger.balance(CUSTOMER, clock.ms);
  expect(balance).toMatchObject({
    creditPico: pico(credit),
    overdrawnPico: pico(overdrawn),
    heldPico: pico(heldOf(model)),
    availablePico: pico(credit - overdrawn - heldOf(model)),
  });
  expect(Object.fromEntries(balance.grants.map(({ id, burnedPico }) => [id, burnedPico]))).toEqual(
    Object.fromEntries(model.grants.map(({ id }) => [id, pico(burnedOf(model, id))])),
  );
  const account = await ledger.account(CUSTOMER);
  expect(account?.finalisedThroughMs).toBe(model.finalisedMs);
  expect(account?.paymentBlock != null).toBe(model.isOwing);
  expect((await ledger.customerRow(CUSTOMER)).alerts.toSorted()).toEqual(firing(model));
  expect(await violations(database)).toEqual([]);
}

const trigger = (real: Real, type: string, more: Record<string, unknown> = {}) =>
  real.simulator.trigger(type, { customer: CUSTOMER, ...more });

const advance = fc
  .integer({ min: 1, max: 20 })
  .map((hours) => command(`advance ${String(hours)} h`, (_, { clock }) => void (clock.ms += hours * HOUR)));

/* At Stripe: nothing of these is known here until it is told. */
const give = fc
  .record({
    cents: fc.integer({ min: 1, max: 300 }),
    priority: fc.constantFrom(0, 50, 50, 100),
    category: fc.constantFrom('paid', 'promotional'),
    inHours: fc.constantFrom(-5, 0, 0, 3, 15),
    forHours: fc.option(fc.integer({ min: 6, max: 60 })),
  })
  .map(({ cents, priority, category, inHours, forHours }) =>
    command(`Stripe: grant ${String(cents)}`, async (_, real) => {
      const from = Math.floor((real.clock.ms + inHours * HOUR) / 1_000);
      const until = forHours === null ? {} : { expires_at: from + forHours * 3_600 };
      const amount = { type: 'monetary', monetary: { currency: 'usd', value: cents } };
      const more = { amount, priority, category, effective_at: from, ...until };
      await trigger(real, 'billing.credit_grant.created', more);
    }),
  );
const change = fc.record({ which: fc.nat(20), voids: fc.boolean() }).map(({ which, voids }) =>
  command(`Stripe: ${voids ? 'void' : 'expire'} a grant`, async (_, real) => {
    const grants = [...real.simulator.world.grants.values()].filter(({ voided_at: at }) => at === null);
    const grant = grants[which % grants.length];
    if (grant === undefined) return;
    const nowS = Math.floor(real.clock.ms / 1_000);
    const ended = voids ? { voided_at: nowS } : { expires_at: nowS };
    await trigger(real, 'billing.credit_grant.updated', { id: grant.id, ...ended });
  }),
);
const finalise = fc.constant(
  command('Stripe: an invoice is finalised', async (model, real) => {
    const end = Math.floor(real.clock.ms / 1_000);
    const { burns, finalisedMs } = model;
    const due = burns.filter(({ endedAtMs: at }) => at >= lastEnd(real, finalisedMs) && at < end * 1_000);
    const total = due.reduce((sum, { cents }) => sum + cents, 0);
    await trigger(real, 'invoice.finalized', { total, period_end: end, id: `in_${String(end)}` });
  }),
);
/** Milliseconds: usage up to there is on an invoice of Stripe's, whether that was told or not. */
const lastEnd = ({ simulator: { world } }: Real, fallback: number): number =>
  Math.max(fallback, ...[...world.invoices.values()].map(({ period_end: end }) => Number(end) * 1_000));
const pay = fc.constantFrom('invoice.paid', 'invoice.payment_failed', 'invoice.voided').map((type) =>
  command(`Stripe: ${type}`, async (_, real) => {
    const invoice = [...real.simulator.world.invoices.values()].findLast(({ status }) => status === 'open');
    if (invoice === undefined) return;
    await trigger(real, type, { id: invoice.id, period_end: invoice['period_end'] });
  }),
);
const subscribe = fc
  .constantFrom('active', 'active', 'past_due', 'unpaid', 'canceled', 'paused')
  .map((status) =>
    command(`Stripe: subscription ${status}`, async (_, real) => {
      await trigger(real, 'customer.subscription.updated', { status });
    }),
  );
const alert = fc.record({ id: fc.constantFrom(...ALERTS), fires: fc.boolean() }).map(({ id, fires }) =>
  command(`Stripe: ${id} ${fires ? 'fires' : 'recovers'}`, async (_, real) => {
    const type = fires ? 'billing.alert.triggered' : 'billing.alert.recovered';
    await trigger(real, type, { alert: { id, title: id } });
  }),
);

/* Between the two. */
const deliver = fc
  .record({ which: fc.nat(200), times: fc.constantFrom(1, 1, 2, 3), dies: fc.boolean(), late: fc.boolean() })
  .map(({ which, times, dies, late }) =>
    command(`deliver ${String(which)} x${String(times)}${dies ? ', die' : ''}`, async (model, real) => {
      const all = real.simulator.world.events.filter(({ type }) => APPLIED_TYPES.has(type));
      const untold = all.filter(({ id }) => !model.told.has(id));
      const some = late || untold.length === 0 ? all : untold;
      const event = some[which % some.length];
      if (event === undefined) return;
      const isNew = !model.told.has(event.id);
      const webhooks = dies ? forgetful(real) : real.side.webhooks;
      for (let time = 0; time < times; time += 1) await webhooks.apply(JSON.stringify(event));
      await real.settled();
      tell(model, real, event);
      // Whoever is due is read by any reading: also who was left behind by a death.
      if (!dies && isNew && isNews(event.type)) read(model, real);
    }),
  );
/** The process dies when the webhook is on record, before the customer is read. */
const forgetful = ({ ledger, side, clock }: Real) =>
  createWebhooks({
    secret: 'unused',
    ledger,
    account: side.account,
    runtime: { now: () => clock.ms, log: () => undefined },
    alerts: { default: 'block', notifyOnly: [] },
  });
const pass = fc.constant(
  command('read who is due', async (model, real) => {
    await real.side.refresher.pass();
    if (model.wanted) read(model, real);
  }),
);
const poll = fc.constant(command('look for lost webhooks', lookForLost));
async function lookForLost(model: Model, real: Real): Promise<void> {
  await real.side.poll();
  await real.settled();
  for (const event of real.simulator.world.events)
    if (APPLIED_TYPES.has(event.type)) tell(model, real, event);
  await real.side.refresher.pass();
  if (model.wanted) read(model, real);
}

/** As the gateway does: by the account that was told last, as often as the ledger tells another. */
async function admitAsTold(real: Real, call: CallToOpen, guard: Unjudged): Promise<Admission> {
  const stranger = { version: 0, period: null, creditChecked: false };
  if ((await real.ledger.account(CUSTOMER)) === undefined)
    return real.ledger.admit(call, { ...guard, ...stranger });
  for (;;) {
    const { account } = real;
    const judged = account && {
      version: account.version,
      period: account.period,
      creditChecked: account.hasHadGrant,
      hasBudgets: account.hasBudgets,
    };
    const answer = await real.ledger.admit(call, judged && { ...guard, ...judged });
    if (answer.kind !== 'guarded' || answer.account === null) return answer;
    real.account = { ...answer.account, hasBudgets: answer.hasBudgets };
  }
}
type Unjudged = Omit<Guard, 'version' | 'period' | 'creditChecked'>;

/* Here. */
const wanted = fc.record({ hold: fc.integer({ min: 1, max: 120 }), grace: fc.constantFrom(0, 0, 150) });
const admit = wanted.map(({ hold, grace }) =>
  command(`admit ${String(hold)}`, async (model, real) => {
    const { clock } = real;
    const id = `call_${String((model.calls += 1)).padStart(4, '0')}`;
    const call = callToOpen({ id, customer: CUSTOMER, openedAtMs: clock.ms });
    const answer = await admitAsTold(real, call, {
      nowMs: clock.ms,
      holdPico: pico(hold),
      fitPico: pico(hold),
      gracePico: pico(grace),
      observe: false,
    });
    const free = creditOf(model, clock.ms) - burnedOf(model, '') - heldOf(model) + grace;
    const fits = !model.hasHadGrant || free >= hold;
    const open = fits ? 'admitted' : 'short';
    expect(answer.kind).toBe(firing(model).length > 0 ? 'blocked' : open);
    if (answer.kind === 'admitted') model.open.push({ id, hold, openedAtMs: clock.ms });
  }),
);
const settle = fc
  .record({ which: fc.nat(50), share: fc.integer({ min: 0, max: 100 }) })
  .map(({ which, share }) =>
    command(
      `settle at ${String(share)} %`,
      async (model, { ledger, clock }) => {
        const [call] = model.open.splice(which % model.open.length, 1);
        if (call === undefined) return;
        const cost = Math.floor((call.hold * share) / 100);
        await ledger.settle(ending(call.id, { costPico: pico(cost), endedAtMs: clock.ms }));
        burn(model, call, { cost, endedAtMs: clock.ms });
      },
      (model) => model.open.length > 0,
    ),
  );
function burn(
  model: Model,
  { openedAtMs }: Call,
  { cost, endedAtMs }: { cost: number; endedAtMs: number },
): void {
  let rest = cost;
  for (const grant of model.grants.filter((one) => isAlive(one, openedAtMs, endedAtMs)).toSorted(byOrder)) {
    const cents = Math.min(rest, leftOf(model, grant));
    if (cents > 0) model.burns.push({ grant: grant.id, cents, endedAtMs });
    rest -= cents;
  }
  if (rest > 0) model.burns.push({ grant: model.hasHadGrant ? '' : '-', cents: rest, endedAtMs });
}
const crash = fc.constant(
  command('crash and recover', async (model, real) => {
    await real.boot();
    for (const call of model.open.splice(0)) burn(model, call, { cost: 0, endedAtMs: real.clock.ms });
  }),
);

async function scene(): Promise<{ model: Model; real: Real; close: () => Promise<void> }> {
  const clock = { ms: START };
  const simulator = createStripeSimulator({ now: () => clock.ms, webhookSecret: 'unused' });
  const stripe = stripeClient(await simulator.listen());
  simulator.addCustomer(CUSTOMER);
  const database = openMemory();
  await migrate(database);
  const deferred: Promise<unknown>[] = [];
  const settled = async (): Promise<void> => {
    while (deferred.length > 0) await Promise.all(deferred.splice(0));
  };
  let boots = 0;
  const parts = () => {
    const ledger = createLedger({ database, bootId: `boot_${String((boots += 1))}` });
    const runtime = {
      now: () => clock.ms,
      id: () => 'unused',
      defer: (work: Promise<unknown>) => void deferred.push(work),
      after: () => () => undefined,
      log: () => undefined,
    };
    const policy = { webhookSecret: 'unused', alerts: { default: 'block', notifyOnly: [] } } as const;
    const side = createStripeSide({ stripe, ledger, runtime, ...policy, whenUnknown: 'refuse', graceMs: 0 });
    return { ledger, side };
  };
  const real: Real = {
    simulator,
    clock,
    database,
    settled,
    account: undefined,
    ...parts(),
    async boot() {
      Object.assign(real, parts());
      await real.ledger.recover({ nowMs: clock.ms });
    },
  };
  await real.ledger.changeAccount(CUSTOMER, { mode: 'strict' }, clock.ms);
  // The first look goes back ten minutes only.
  await real.side.poll();
  const known = { grants: [], words: [], open: [], burns: [], told: new Set<string>() };
  const model: Model = {
    ...known,
    hasHadGrant: false,
    finalisedMs: 0,
    isOwing: false,
    wanted: false,
    calls: 0,
  };
  const close = async (): Promise<void> => {
    await simulator.close();
    database.close();
  };
  return { model, real, close };
}

it(
  'agrees with the model whatever order webhooks come in, doubled or lost, after every step',
  { timeout: 180_000 },
  async () => {
    const at = [give, give, change, finalise, pay, subscribe, alert, alert];
    const between = [deliver, deliver, deliver, deliver, pass, poll];
    const here = [advance, admit, admit, settle, settle, crash];
    const commands = fc.commands([...at, ...between, ...here], { maxCommands: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(commands, async (steps) => {
        const { model, real, close } = await scene();
        try {
          await fc.asyncModelRun(() => ({ model, real }), steps);
          // In the end everything is known, and nothing is left to be told.
          await lookForLost(model, real);
          await agree(model, real);
        } finally {
          await close();
        }
      }),
      { numRuns: Number(process.env['FAREGATE_MODEL_RUNS'] ?? 60), endOnFailure: true },
    );
  },
);
