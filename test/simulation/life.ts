/**
 * One life of a gateway: calls, callers who leave, a provider that breaks off, a Stripe in every weather, a disk that is
 * slow or full, processes that die between any two awaits. After every step the books are compared; at the end all is
 * well again, and they must be equal. Everything comes from the seed.
 */
import { LedgerUnavailable } from '../../src/ledger/ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { Way } from '../../src/billing/delivery/ways.ts';
import { type Books, disagreements, imbalances } from './books.ts';
import { createCaller, type SimulatedCaller } from './caller.ts';
import { Clock, type Owner, quiet } from './clock.ts';
import { createDice, createTrace, type Dice, type Trace } from './dice.ts';
import { type BatchFate, databaseOver, type Disk } from './disk.ts';
import { type Damage, type GatewayProcess, startProcess } from './gateway.ts';
import { Provider, type Truth } from './provider.ts';
import { SimulatedStripe, WEATHERS } from './stripe.ts';

const SECOND = 1_000;
const HOUR = 3_600_000;
const CUSTOMERS = ['cus_1', 'cus_2', 'cus_3'] as const;
/** What the first customer may spend: a call holds 0.002 dollars, so holds that leak are soon felt. */
const BUDGET_PICO = '30000000000';
/** In days that go by nobody knows what became of what was sent. */
const DOUBTFUL = ['dropping', 'silent', 'broken', 'dropping', 'well'] as const;
const CALLS_MAX = 9;
const HEALING_ROUNDS_MAX = 120;

export interface LifeOptions {
  readonly seed: number;
  readonly disk: Disk;
  readonly damage?: Damage | undefined;
  /** Keeps every line of the trace. */
  readonly keeps?: boolean | undefined;
  /** Steps of trouble before all is well again. */
  readonly steps?: number | undefined;
}
export interface LifeReport {
  readonly seed: number;
  /** What was wrong, in words; empty for a good life. */
  readonly wrong: readonly string[];
  readonly hash: string;
  readonly trace: readonly string[];
  readonly calls: number;
  readonly crashes: number;
  readonly events: number;
}

type Happening =
  'call' | 'speak' | 'flush' | 'answer' | 'caller' | 'pass' | 'hurry' | 'weather' | 'news' | 'die';

function drawn(weights: Readonly<Record<Happening, number>>, random: number): Happening {
  const entries = Object.entries(weights) as [Happening, number][];
  let left = random * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [what, weight] of entries) {
    left -= weight;
    if (left < 0) return what;
  }
  return 'flush';
}

interface Running extends Owner {
  alive: boolean;
}

export async function live(options: LifeOptions): Promise<LifeReport> {
  options.disk.empty();
  const life = new Life(options);
  await life.begin();
  for (let step = 0; step < (options.steps ?? 24) && life.wrong.length === 0; step += 1) await life.step();
  if (life.wrong.length === 0) await life.heal();
  return life.report();
}

class Life {
  readonly wrong: string[] = [];
  readonly #seed: number;
  readonly #disk: Disk;
  readonly #damage: Damage;
  readonly #dice: Dice;
  readonly #trace: Trace;
  readonly #clock = new Clock();
  readonly #stripe: SimulatedStripe;
  readonly #provider: Provider;
  readonly #way: Way | 'auto';
  readonly #windowMs: number;
  readonly #onDisconnect: 'drain' | 'cancel';
  readonly #isCrashy: boolean;
  /** Days go by in it. */
  readonly #isLong: boolean;
  readonly #callers = new Map<string, SimulatedCaller>();
  readonly #truths = new Map<string, Truth>();
  readonly #evidence = new Map<string, string | null>();
  readonly #books: Books;
  #slow: { readonly owner: Owner; readonly goOn: () => void }[] = [];
  #isFull = false;
  #isCalm = false;
  #isBooting = false;
  #owner: Running = { alive: false };
  #process: GatewayProcess | undefined;
  #boots = 0;
  #crashes = 0;
  #diskFailed = false;
  #checked = -1;

  constructor({ seed, disk, damage = {}, keeps = false }: LifeOptions) {
    this.#seed = seed;
    this.#disk = disk;
    this.#damage = damage;
    const dice = (this.#dice = createDice(seed));
    const trace = (this.#trace = createTrace(keeps));
    const clock = this.#clock;
    const note = trace.note;
    this.#stripe = new SimulatedStripe({ clock, dice, note });
    this.#provider = new Provider({ dice, clock, note, asked: (truth) => this.#asked(truth) });
    this.#way = dice.pick(['v2', 'v2', 'v2', 'v1', 'stream', 'auto'] as const) ?? 'v2';
    this.#windowMs = dice.chance(0.2) ? 60 * SECOND : 0;
    this.#onDisconnect = dice.chance(0.7) ? 'drain' : 'cancel';
    this.#isCrashy = dice.chance(0.7);
    this.#isLong = dice.chance(0.3);
    this.#books = {
      disk,
      stripe: this.#stripe,
      truths: this.#truths,
      evidence: this.#evidence,
      settled: new Map(),
      isCut: this.#way === 'v1',
      sums: this.#windowMs > 0,
    };
  }

  async begin(): Promise<void> {
    this.#isCalm = true;
    await this.#boot();
    const budget = { id: 'bud_1', scope: 'customer', subject: CUSTOMERS[0], span: 'total' } as const;
    await this.#process?.ledger.putBudget({ ...budget, limitPico: BUDGET_PICO }, this.#clock.nowMs);
    for (const customer of CUSTOMERS.slice(0, 2))
      await this.#process?.ledger.rememberCustomer(customer, 'known', this.#clock.nowMs);
    this.#isCalm = false;
    this.#setWeather();
  }

  async step(): Promise<void> {
    if (!this.#owner.alive) await this.#restart();
    else await this.#anything();
    await quiet();
    this.#check();
  }

  /** One of all that can happen, and mostly one that has something to do. */
  async #anything(): Promise<void> {
    const dice = this.#dice;
    const weights: Readonly<Record<Happening, number>> = {
      call: this.#truths.size < CALLS_MAX ? 20 : 0,
      speak: this.#provider.speaking.length > 0 ? 30 : 0,
      flush: 12,
      answer: this.#stripe.waiting > 0 ? 30 : 0,
      caller: this.#callers.size > 0 ? 6 : 0,
      pass: this.#isLong ? 14 : 8,
      hurry: this.#slow.length > 0 ? 12 : 0,
      weather: 5,
      news: this.#stripe.news.length > 0 ? 8 : 0,
      die: this.#isCrashy ? 2 : 0,
    };
    switch (drawn(weights, dice.random())) {
      case 'call':
        return this.#call();
      case 'speak':
        return this.#speak(1 + dice.below(10));
      case 'flush':
        return this.#flush();
      case 'answer':
        return this.#answer(1 + dice.below(6));
      case 'caller':
        return dice.pick([...this.#callers.values()])?.change(dice.chance(0.5));
      case 'pass':
        return this.#pass();
      case 'hurry':
        return this.#hurry(2);
      case 'weather':
        return this.#changeWeather();
      case 'news':
        return this.#deliverNews();
      case 'die':
        return this.#die('killed');
    }
  }

  report(): LifeReport {
    return {
      seed: this.#seed,
      wrong: this.wrong,
      hash: this.#trace.hash(),
      trace: this.#trace.lines,
      calls: this.#truths.size,
      crashes: this.#crashes,
      events: this.#stripe.known.size,
    };
  }

  // Calls.

  #call(): void {
    const process = this.#process;
    if (process === undefined || this.#truths.size >= CALLS_MAX) return;
    const customer = this.#dice.pick(CUSTOMERS) ?? CUSTOMERS[0];
    const truth = this.#provider.plan(customer);
    const owner = this.#owner;
    const caller = createCaller(truth, {
      damage: this.#damage,
      isSlow: () => !this.#isCalm && this.#dice.chance(0.05),
      alive: () => owner.alive,
      completed: () => this.#completed(truth),
    });
    const served = process.inference.serve({ endpoint: 'chat.completions' }, caller.caller);
    const id = `req_${process.lastId()}`;
    this.#truths.set(id, truth);
    this.#callers.set(id, caller);
    this.#trace.note(`call ${truth.call} ${truth.kind}`);
    served.catch((error: unknown) => this.wrong.push(`a call threw: ${String(error)}`));
  }

  #rowOf(truth: Truth): { open: boolean } | undefined {
    const id = [...this.#truths].find(([, one]) => one === truth)?.[0] ?? '';
    const [row] = this.#disk.read('SELECT ended_at_ms FROM calls WHERE id = ?', id);
    return row === undefined ? undefined : { open: row['ended_at_ms'] === null };
  }

  #asked(truth: Truth): void {
    if (this.#rowOf(truth)?.open !== true)
      this.wrong.push(`the provider was asked for ${truth.call}, which is not open`);
  }

  #completed(truth: Truth): void {
    this.#trace.note(`complete ${truth.call}`);
    if (this.#rowOf(truth)?.open !== false)
      this.wrong.push(`the caller of ${truth.call} was told that it is complete, and it is not settled`);
  }

  #speak(times: number): void {
    for (let n = 0; n < times; n += 1) {
      const talk = this.#dice.pick(this.#provider.speaking);
      if (talk !== undefined) this.#provider.say(talk);
    }
  }

  // Delivery.

  #flush(): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace.note('flush');
    process.settler
      .retry()
      .then(() => process.delivery.flush())
      .catch((error: unknown) => this.#mayFail(error));
  }

  #mayFail(error: unknown): void {
    if (!(error instanceof LedgerUnavailable)) this.wrong.push(`failed: ${String(error)}`);
  }

  #answer(times: number): void {
    for (let n = 0; n < times; n += 1) this.#stripe.answer();
  }

  #changeWeather(): void {
    const dice = this.#dice;
    this.#setWeather();
    this.#stripe.archived = dice.chance(0.1);
    this.#isFull = dice.chance(0.06);
    if (dice.chance(0.08)) this.#delete(dice.pick(CUSTOMERS) ?? CUSTOMERS[2]);
    if (dice.chance(0.1)) this.#alert(dice.pick(CUSTOMERS) ?? CUSTOMERS[1]);
    this.#trace.note(`weather ${this.#stripe.weather}${this.#isFull ? ', disk full' : ''}`);
  }

  #setWeather(): void {
    this.#stripe.weather = this.#dice.pick(this.#isLong ? DOUBTFUL : WEATHERS) ?? 'well';
  }

  #delete(customer: string): void {
    if (this.#stripe.deleted.has(customer) || this.#stripe.deleted.size > 0) return;
    this.#stripe.deleted.add(customer);
    this.#stripe.tell('customer.deleted', { object: 'customer', id: customer });
  }

  #alert(customer: string): void {
    const alert = { id: 'alrt_1', title: 'a lot' };
    this.#stripe.tell('billing.alert.triggered', {
      object: 'billing.alert_triggered',
      alert,
      customer,
      value: 1,
    });
  }

  /** In any order; some twice, some lost and told again later. */
  #deliverNews(): void {
    const { webhooks } = this.#process ?? {};
    const due = this.#stripe.news.filter(
      ({ notBeforeMs }) => this.#isCalm || notBeforeMs <= this.#clock.trueMs,
    );
    const news = this.#dice.pick(due);
    if (news === undefined || webhooks === undefined) return;
    this.#trace.note(`news ${news.id}`);
    if (!this.#isCalm && this.#dice.chance(0.2)) return;
    const again = !this.#isCalm && this.#dice.chance(0.3);
    const owner = this.#owner;
    webhooks.apply(news.text).then(
      ({ status }) => {
        if (status === 200 && !again && owner.alive)
          this.#stripe.news = this.#stripe.news.filter((one) => one !== news);
      },
      (error: unknown) => this.#trace.note(`news failed: ${String(error)}`),
    );
  }

  // Time, disk and death.

  async #pass(): Promise<void> {
    const dice = this.#dice;
    const at = dice.random();
    const days = this.#isLong ? 0.35 : 0;
    const longest =
      at < 0.4 - days ? SECOND : at < 0.7 - days ? 30 * SECOND : at < 0.95 - days ? HOUR : 60 * HOUR;
    if (dice.chance(0.02)) this.#clock.setBack(dice.below(HOUR / 4));
    const ms = 1 + dice.below(longest);
    this.#trace.note(`pass ${ms}`);
    await this.#clock.pass(ms, quiet);
  }

  #hurry(times: number): void {
    for (const { owner, goOn } of this.#slow.splice(0, times)) if (owner.alive) goOn();
  }

  #fate(): BatchFate {
    if (this.#isFull && !this.#isBooting) {
      this.#diskFailed = true;
      return 'full';
    }
    if (this.#isCalm) return 'done';
    const at = this.#dice.random();
    if (at < 0.012) return this.#isCrashy ? 'lost' : 'done';
    if (at < 0.024) return this.#isCrashy ? 'kept' : 'done';
    if (this.#isBooting || at > 0.09) return 'done';
    return at < 0.06 ? 'slow-now' : 'slow-then';
  }

  #die(why: string): void {
    this.#trace.note(`dies: ${why}`);
    this.#crashes += 1;
    this.#owner.alive = false;
    this.#process = undefined;
    this.#slow = [];
    this.#callers.clear();
    this.#stripe.leftBehind(this.#owner);
  }

  async #restart(): Promise<void> {
    const dice = this.#dice;
    const downMs = dice.chance(this.#isLong ? 0.3 : 0.03) ? dice.below(60 * HOUR) : dice.below(20 * SECOND);
    await this.#clock.pass(downMs, quiet);
    await this.#boot();
  }

  async #boot(): Promise<void> {
    const owner: Running = (this.#owner = { alive: true });
    this.#boots += 1;
    this.#isFull = false;
    this.#diskFailed = false;
    this.#isBooting = true;
    this.#trace.note(`boot ${this.#boots}`);
    for (const row of this.#disk.read('SELECT id, checkpoint_json FROM calls WHERE ended_at_ms IS NULL'))
      this.#evidence.set(String(row['id']), row['checkpoint_json'] as string | null);
    const database = databaseOver({
      disk: this.#disk,
      alive: () => owner.alive,
      fate: () => this.#fate(),
      die: () => this.#die('at a batch'),
      wait: (goOn) => this.#slow.push({ owner, goOn }),
    });
    const process = startProcess({
      owner,
      boot: this.#boots,
      clock: this.#clock,
      dice: this.#dice,
      database,
      relay: this.#provider.relayOf(owner),
      stripe: this.#stripe.clientOf(owner),
      way: this.#way,
      windowMs: this.#windowMs,
      onDisconnect: this.#onDisconnect,
      damage: this.#damage,
      wrong: (what) => this.wrong.push(what),
    });
    process.ledger.recover({ nowMs: this.#clock.nowMs }).then(
      () => void (this.#process = process),
      (error: unknown) => this.wrong.push(`recovery failed: ${String(error)}`),
    );
    await quiet();
    this.#isBooting = false;
  }

  #check(): void {
    const version = this.#disk.version + this.#stripe.version;
    if (version !== this.#checked) this.wrong.push(...disagreements(this.#books));
    this.#checked = version;
    // What the provider has finished is settled as soon as the disk is done with it.
    if (this.#slow.length > 0 || this.#diskFailed || !this.#owner.alive) return;
    for (const [id, { finished, call }] of this.#truths)
      if (
        finished &&
        this.#callers.has(id) &&
        this.#disk.read('SELECT 1 FROM calls WHERE id = ? AND ended_at_ms IS NULL', id).length > 0
      )
        this.wrong.push(`the provider has finished ${call}, and ${id} is not settled`);
  }

  // The end.

  /** Fair weather, an operator who does what the texts of the refusals say, and time, until nothing is left to do. */
  async heal(): Promise<void> {
    this.#isCalm = true;
    this.#isFull = false;
    this.#stripe.weather = 'well';
    this.#stripe.archived = false;
    for (let round = 0; round < HEALING_ROUNDS_MAX && this.wrong.length === 0; round += 1) {
      if (!this.#owner.alive) await this.#boot();
      this.#hurry(Infinity);
      for (const caller of this.#callers.values()) caller.change(false);
      this.#speak(20);
      await quiet();
      await this.#operate();
      this.#flush();
      await quiet();
      for (let n = 0; n < 20 && this.#stripe.waiting > 0; n += 1) {
        this.#answer(this.#stripe.waiting);
        await quiet();
      }
      for (let n = this.#stripe.news.length; n > 0; n -= 1) {
        this.#deliverNews();
        await quiet();
        this.#answer(this.#stripe.waiting);
        await quiet();
      }
      this.#check();
      if (round > 1 && this.#isDone()) return this.#finish();
      await this.#clock.pass(20 * SECOND, quiet);
    }
    this.#trace.note('never done');
    if (this.wrong.length === 0)
      this.wrong.push(`it does not come to rest: ${this.#left()}`, ...imbalances(this.#books));
  }

  /** Meters are there again, so what was refused may be sent again; what was quarantined is compared with Stripe. */
  async #operate(): Promise<void> {
    const { ledger } = this.#process ?? {};
    if (ledger === undefined) return;
    const parked = this.#disk.read(
      `SELECT identifier, customer, state FROM meter_events WHERE state IN ('refused', 'quarantined')`,
    );
    for (const { identifier, customer, state } of parked) {
      const id = String(identifier);
      if (state === 'quarantined')
        await ledger.resolveEvent(
          id,
          this.#stripe.timesCounted(id) > 0 ? 'delivered' : 'lost',
          this.#clock.nowMs,
        );
      else if (!this.#stripe.deleted.has(String(customer))) await ledger.retryEvent(id, this.#clock.nowMs);
    }
  }

  #left(): string {
    const events = this.#disk.read('SELECT state, COUNT(*) AS n FROM meter_events GROUP BY state');
    const open = this.#disk.read('SELECT COUNT(*) AS n FROM calls WHERE ended_at_ms IS NULL')[0]?.['n'];
    const unsealed = this.#disk.read('SELECT COUNT(*) AS n FROM calls WHERE sealed = 0')[0]?.['n'];
    return `${open} open, ${unsealed} unsealed, ${JSON.stringify(events)}, ${this.#stripe.news.length} news`;
  }

  #isDone(): boolean {
    const undone = this.#disk.read(
      `SELECT customer FROM meter_events WHERE state NOT IN ('accepted', 'refused', 'confirmed', 'cancelled')
       UNION ALL SELECT id FROM calls WHERE ended_at_ms IS NULL OR sealed = 0`,
    );
    const refused = this.#disk.read(`SELECT customer FROM meter_events WHERE state = 'refused'`);
    const uncounted = this.#disk
      .read(`SELECT identifier, customer FROM meter_events WHERE state = 'accepted'`)
      .some(({ identifier }) => this.#stripe.known.get(String(identifier))?.counted === 0);
    return (
      undone.length === 0 &&
      !uncounted &&
      refused.every(({ customer }) => this.#stripe.deleted.has(String(customer))) &&
      this.#stripe.news.length === 0
    );
  }

  async #finish(): Promise<void> {
    this.wrong.push(...imbalances(this.#books));
    const broken = await violations({ batch: (statements) => Promise.resolve(this.#disk.run(statements)) });
    this.wrong.push(...broken.map(({ invariant, rows }) => `${invariant} ${JSON.stringify(rows)}`));
    const balance = await this.#process?.ledger.balance(CUSTOMERS[0], this.#clock.nowMs);
    if (balance?.heldPico !== '0')
      this.wrong.push(`no call is open, and ${String(balance?.heldPico)} picodollars are held`);
  }
}
