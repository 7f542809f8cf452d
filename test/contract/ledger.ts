/** What a Ledger must do on every engine. An engine's test calls `describeLedger` with a way to open a fresh database. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { CustomerFact, Database, Ledger } from '../../src/ledger/ledger.ts';
import { migrate, MIGRATION_VERSIONS } from '../../src/ledger/migrations.ts';
import type { Opened } from './database.ts';
import { describeAttempts } from './ledger-attempts.ts';
import { callToOpen, ending, fresh, MODEL } from './ledger-calls.ts';
import { describeIdempotencyKeys } from './ledger-idempotency.ts';
import { describeDelivery } from './ledger-delivery.ts';
import { describeMoney } from './ledger-money.ts';
import { oneSealed, sealOf, settled, unsealedOf, type Given } from './ledger-world.ts';

export { callToOpen, ending, fresh, MODEL } from './ledger-calls.ts';

export function describeLedger(engine: string, open: () => Promise<Opened>): void {
  describe(`the ledger on ${engine}`, () => {
    let opened: Opened;
    let ledger: Ledger;
    let customer: string;
    beforeAll(async () => {
      opened = await open();
      await migrate(opened.database);
      ledger = createLedger({ database: opened.database, bootId: 'boot-1' });
    });
    beforeEach(() => {
      customer = fresh('cus');
    });
    afterAll(async () => {
      expect(await violations(opened.database)).toEqual([]);
      await opened.close();
    });

    const given = (): { ledger: Ledger; database: Database; customer: string } => ({
      ledger,
      database: opened.database,
      customer,
    });
    describeCalls(given);
    describeRecovery(given);
    describeSealing(given);
    describeDelivery(given);
    describeCustomers(given);
    describeViews(given);
    describeAttempts(given);
    describeIdempotencyKeys(given);
    describeMoney(given);
  });
}

function describeCalls(given: Given): void {
  it('migrates a database that is up to date without a change', async () => {
    await migrate(given().database);
    expect(await given().database.batch([{ sql: 'SELECT version FROM schema_version', params: [] }])).toEqual(
      [MIGRATION_VERSIONS.map((version) => ({ version }))],
    );
  });

  it('refuses a database that a newer program migrated', async () => {
    const { database } = given();
    await database.batch([{ sql: 'INSERT INTO schema_version (version) VALUES (99)', params: [] }]);
    await expect(migrate(database)).rejects.toThrow('schema version 99');
    await database.batch([{ sql: 'DELETE FROM schema_version WHERE version = 99', params: [] }]);
  });

  it('has an admitted call on record, open', async () => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    expect(await ledger.admit(call)).toEqual({ kind: 'admitted' });
    const { data } = await ledger.calls({ id: call.id, limit: 1 });
    expect(data[0]).toMatchObject({ ...call, state: 'open', endedAtMs: null, lines: [], events: [] });
  });

  it('admits the same call again when its first answer was lost', async () => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    await ledger.admit(call);
    expect(await ledger.admit(call)).toEqual({ kind: 'admitted' });
  });

  it('throws on an id that another customer has, or that is settled', async () => {
    const { ledger } = given();
    const id = await settled(given);
    await expect(ledger.admit(callToOpen({ id, customer: 'cus_other' }))).rejects.toThrow('already taken');
    await expect(ledger.admit(callToOpen({ id, customer: given().customer }))).rejects.toThrow(
      'already taken',
    );
  });

  it('settles a call once: the first settlement stands', async () => {
    const { ledger } = given();
    const id = await settled(given);
    const lines = [{ attempt: 2, model: MODEL, tokenType: 'output', tokens: 999 }];
    expect(await ledger.settle(ending(id, { endedAtMs: 9_000, lines }))).toMatchObject({ kind: 'already' });
    const { data } = await ledger.calls({ id, limit: 1 });
    expect(data[0]).toMatchObject({ ...ending(id), state: 'settled' });
  });

  it('lets one of many concurrent settlements win', async () => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    await ledger.admit(call);
    const answers = await Promise.all(Array.from({ length: 8 }, () => ledger.settle(ending(call.id))));
    expect(answers.filter(({ kind }) => kind === 'settled')).toHaveLength(1);
    expect(await unsealedOf(given)).toHaveLength(2);
  });

  it('throws on the settlement of a call that was never admitted', async () => {
    await expect(given().ledger.settle(ending('nobody'))).rejects.toThrow('never admitted');
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 53])('throws on a line of %d tokens', async (tokens) => {
    const lines = [{ attempt: 1, model: MODEL, tokenType: 'input', tokens }];
    await expect(given().ledger.settle(ending('nobody', { lines }))).rejects.toThrow(RangeError);
  });

  it('throws on two lines of a kind in one call', async () => {
    const line = { attempt: 1, model: MODEL, tokenType: 'input', tokens: 1 };
    await expect(given().ledger.settle(ending('nobody', { lines: [line, line] }))).rejects.toThrow(
      RangeError,
    );
  });
}

function describeRecovery(given: Given): void {
  const nextBoot = (): Ledger => createLedger({ database: given().database, bootId: fresh('boot') });

  it("closes what another boot left open, by its evidence, and leaves this boot's calls alone", async () => {
    const [earlier, now] = [nextBoot(), nextBoot()];
    const [evident, silent, mine] = [callToOpen(given()), callToOpen(given()), callToOpen(given())];
    const lines = [{ attempt: 1, model: MODEL, tokenType: 'output', tokens: 3 }];
    await earlier.admit(evident);
    await earlier.admit(silent);
    const evidence = { id: evident.id, usageJson: '[{"textOutput":3}]', costPico: '9007199254740993' };
    await earlier.checkpoint({ ...evidence, lines: [{ ...lines[0]!, tokens: 1 }] });
    await earlier.checkpoint({ ...evidence, lines });
    await now.admit(mine);
    const closed = await now.recover({ nowMs: 500 });
    expect(closed.find(({ id }) => id === evident.id)).toMatchObject({
      outcome: 'recovered',
      usageSource: 'estimated',
      lines,
      usageJson: evidence.usageJson,
      costPico: evidence.costPico,
      endedAtMs: 500,
    });
    expect(closed.find(({ id }) => id === silent.id)).toMatchObject({ usageSource: 'none', lines: [] });
    expect((await now.calls({ id: mine.id, limit: 1 })).data[0]?.state).toBe('open');
    expect(await now.recover({ nowMs: 600 })).toEqual([]);
    await now.settle(ending(mine.id));
  });

  it('spares calls younger than asked', async () => {
    const [earlier, now] = [nextBoot(), nextBoot()];
    const [old, young] = [
      callToOpen({ ...given(), openedAtMs: 10 }),
      callToOpen({ ...given(), openedAtMs: 20 }),
    ];
    await earlier.admit(old);
    await earlier.admit(young);
    const closed = await now.recover({ nowMs: 30, openedBeforeMs: 20 });
    expect(closed.map(({ id }) => id)).toEqual([old.id]);
    await now.recover({ nowMs: 30 });
  });

  it('closes more calls than one batch takes', async () => {
    const earlier = nextBoot();
    await Promise.all(Array.from({ length: 450 }, () => earlier.admit(callToOpen(given()))));
    expect(await nextBoot().recover({ nowMs: 5 })).toHaveLength(450);
  });

  it('ends the leases of an earlier boot, and calls their attempts in doubt', async () => {
    const event = await oneSealed(given);
    await given().ledger.lease({ nowMs: 40_000, leaseMs: 25_000, limit: 100_000 });
    await nextBoot().recover({ nowMs: 40_001, openedBeforeMs: 0 });
    const again = { nowMs: 40_001, leaseMs: 100, limit: 9, identifier: event.identifier };
    expect(await given().ledger.lease(again)).toEqual([]);
    await nextBoot().recover({ nowMs: 40_001 });
    expect(await given().ledger.lease(again)).toMatchObject([{ attempts: 2, firstAttemptAtMs: 40_000 }]);
  });

  it('keeps no evidence of a call that is settled', async () => {
    const id = await settled(given);
    await given().ledger.checkpoint({ id, lines: [], usageJson: '[]', costPico: null });
    expect(await violations(given().database)).toEqual([]);
  });
}

function describeSealing(given: Given): void {
  it('offers settled lines, oldest first, and no line of an open call', async () => {
    const { ledger, customer } = given();
    const late = await settled(given, { endedAtMs: 3_000 });
    const early = await settled(given, { endedAtMs: 1_000 });
    await ledger.admit(callToOpen({ customer }));
    expect((await unsealedOf(given)).map((line) => [line.call, line.tokenType, line.tokens])).toEqual([
      [early, 'input', 12],
      [early, 'output', 5],
      [late, 'input', 12],
      [late, 'output', 5],
    ]);
  });

  it('offers no more lines than asked', async () => {
    await settled(given);
    expect(await given().ledger.unsealed(1)).toHaveLength(1);
  });

  it('seals the lines of several calls into one event', async () => {
    const calls = [await settled(given), await settled(given)];
    const lines = (await unsealedOf(given)).filter((line) => line.tokenType === 'input');
    const seal = sealOf(lines);
    await given().ledger.seal([seal]);
    const { data } = await given().ledger.events({ identifier: seal.event.identifier, limit: 1 });
    expect(data[0]).toMatchObject({ ...seal.event, value: '24', state: 'pending', calls });
    expect((await unsealedOf(given)).map((line) => line.tokenType)).toEqual(['output', 'output']);
  });

  it('changes nothing when the same seal is given again', async () => {
    await settled(given);
    const seals = (await unsealedOf(given)).map((line) => sealOf([line]));
    await given().ledger.seal(seals);
    await given().ledger.seal(seals);
    const { customer, ledger } = given();
    expect((await ledger.events({ customer, limit: 9 })).data.map((event) => event.value).toSorted()).toEqual(
      ['12', '5'],
    );
    expect(await unsealedOf(given)).toEqual([]);
  });

  it('writes no event for lines of which one is in another event already', async () => {
    await settled(given);
    await settled(given);
    const [first, second] = (await unsealedOf(given)).filter((line) => line.tokenType === 'input');
    const [won, lost] = [sealOf([first!]), sealOf([first!, second!])];
    await given().ledger.seal([won, lost]);
    const { ledger } = given();
    expect((await ledger.events({ identifier: lost.event.identifier, limit: 1 })).data).toEqual([]);
    expect((await unsealedOf(given)).map((line) => line.call)).toContain(second!.call);
  });

  it('adds no line to an event that is written', async () => {
    await settled(given);
    await settled(given);
    const [first, second] = (await unsealedOf(given)).filter((line) => line.tokenType === 'input');
    const seal = sealOf([first!]);
    await given().ledger.seal([seal]);
    await given().ledger.seal([{ ...seal, members: [first!, second!] }]);
    expect((await unsealedOf(given)).filter((line) => line.tokenType === 'input')).toEqual([second]);
  });

  it('writes no event whose value is not the sum of its lines', async () => {
    await settled(given);
    const seal = sealOf((await unsealedOf(given)).slice(0, 1), { value: '13' });
    await given().ledger.seal([seal]);
    expect(await unsealedOf(given)).toHaveLength(2);
  });

  it('throws on a member that is on no record', async () => {
    await settled(given);
    const [line] = await unsealedOf(given);
    const seal = sealOf([{ ...line!, tokenType: 'reasoning' }]);
    await expect(given().ledger.seal([seal])).rejects.toThrow('reasoning');
  });
}

const blockedBy = (source: string) => ({ kind: 'blocked', block: { code: 'alert_triggered', source } });

function describeCustomers(given: Given): void {
  const tell = async (createdS: number, ...facts: CustomerFact[]): Promise<string> =>
    given().ledger.apply({ eventId: fresh('evt'), type: 'test', createdS, receivedAtMs: 1 }, facts);
  const triggered = (alert = 'alrt_1', title = ''): CustomerFact => ({
    kind: 'alert_triggered',
    customer: given().customer,
    alert,
    title,
  });
  const recovered = (alert = 'alrt_1'): CustomerFact => ({
    kind: 'alert_recovered',
    customer: given().customer,
    alert,
  });
  const lifted = (): CustomerFact => ({ kind: 'alerts_lifted', customer: given().customer, why: 'credit' });
  const admission = () => given().ledger.admit(callToOpen({ customer: given().customer }));

  it('knows nothing of a customer that was never looked up', async () => {
    expect(await given().ledger.customer(given().customer)).toBeUndefined();
    await tell(1, triggered());
    await tell(2, lifted());
    expect(await given().ledger.customer(given().customer)).toBeUndefined();
  });

  it('remembers the last look-up, and admits nobody who is missing', async () => {
    const { ledger, customer } = given();
    await ledger.rememberCustomer(customer, 'missing', 1);
    expect(await ledger.customer(customer)).toBe('missing');
    expect(await admission()).toEqual({ kind: 'missing' });
    await ledger.rememberCustomer(customer, 'known', 2);
    expect(await ledger.customer(customer)).toBe('known');
    expect(await admission()).toEqual({ kind: 'admitted' });
  });

  it('lets a deletion stand above any look-up', async () => {
    const { ledger, customer } = given();
    await tell(5, { kind: 'deleted', customer });
    await ledger.rememberCustomer(customer, 'known', 9);
    expect(await ledger.customer(customer)).toBe('missing');
    expect(await admission()).toEqual({ kind: 'missing' });
  });

  it('refuses from the moment an alert fired, naming it by its title, else by its id', async () => {
    await tell(1, triggered('alrt_9'));
    expect(await admission()).toEqual(blockedBy('alrt_9'));
    await tell(2, triggered('alrt_9', 'Credit used up'));
    expect(await admission()).toEqual(blockedBy('Credit used up'));
    expect((await given().ledger.calls({ customer: given().customer, limit: 1 })).data).toEqual([]);
  });

  it("lifts an alert's block by its own recovery, not by another's", async () => {
    await tell(1, triggered('alrt_1'));
    await tell(2, recovered('alrt_2'));
    expect(await admission()).toEqual(blockedBy('alrt_1'));
    await tell(3, recovered('alrt_1'));
    expect(await admission()).toEqual({ kind: 'admitted' });
  });

  it('lifts every block when credit comes, and blocks again when an alert fires later', async () => {
    await tell(1, triggered('alrt_1'), triggered('alrt_2'));
    await tell(2, lifted());
    expect(await admission()).toEqual({ kind: 'admitted' });
    await tell(3, triggered('alrt_2'));
    expect(await admission()).toEqual(blockedBy('alrt_2'));
  });

  it('blocks nobody for an old alert that arrives after what lifted it', async () => {
    await tell(10, lifted());
    await tell(9, triggered());
    expect(await admission()).toEqual({ kind: 'admitted' });
  });

  it('lifts no block that came after the moment a lift is good for', async () => {
    const { customer } = given();
    await tell(10, triggered('alrt_1'));
    await tell(20, triggered('alrt_2'));
    await tell(30, { kind: 'alerts_lifted', customer, why: 'invoice paid', beforeS: 15 });
    expect(await admission()).toEqual(blockedBy('alrt_2'));
    await tell(31, recovered('alrt_2'));
    expect(await admission()).toEqual({ kind: 'admitted' });
  });

  it('goes by arrival within a second', async () => {
    await tell(10, triggered());
    await tell(10, recovered());
    expect(await admission()).toEqual({ kind: 'admitted' });
    await tell(10, triggered());
    expect(await admission()).toEqual(blockedBy('alrt_1'));
  });

  it('applies an event once, though its repeat tells more', async () => {
    const { ledger } = given();
    const receipt = { eventId: fresh('evt'), type: 'test', createdS: 7, receivedAtMs: 1 };
    expect(await ledger.apply(receipt, [])).toBe('applied');
    expect(await ledger.apply(receipt, [triggered()])).toBe('seen');
    expect(await admission()).toEqual({ kind: 'admitted' });
  });

  it('applies an event once when it is delivered many times at once', async () => {
    const { ledger } = given();
    const receipt = { eventId: fresh('evt'), type: 'test', createdS: 7, receivedAtMs: 1 };
    const answers = await Promise.all(Array.from({ length: 9 }, () => ledger.apply(receipt, [triggered()])));
    expect(answers.filter((answer) => answer === 'applied')).toHaveLength(1);
  });

  it("touches no customer but the fact's", async () => {
    await tell(1, triggered());
    expect(await given().ledger.admit(callToOpen({ customer: fresh('cus') }))).toEqual({ kind: 'admitted' });
  });
}

function describeViews(given: Given): void {
  it('pages through calls of a customer, newest first, whatever their state, each once', async () => {
    const { ledger, customer } = given();
    const first = await settled(given);
    await ledger.seal((await unsealedOf(given)).map((line) => sealOf([line])));
    const waiting = await settled(given);
    const open = callToOpen({ customer });
    await ledger.admit(open);
    const bare = await settled(given, { lines: [], usageSource: 'none' });
    const pages: string[][] = [];
    let cursor: string | undefined;
    do {
      const page = await ledger.calls({ customer, limit: 3, cursor });
      pages.push(page.data.map(({ id }) => id));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(pages).toEqual([[bare, open.id, waiting], [first]]);
  });

  it('pages through all calls and tells open from settled', async () => {
    const { ledger, customer } = given();
    const open = callToOpen({ customer });
    await ledger.admit(open);
    const done = await settled(given);
    const ids = async (more: { state?: 'open' | 'settled'; customer?: string }) =>
      (await ledger.calls({ limit: 5, ...more })).data.map(({ id }) => id);
    expect((await ids({})).slice(0, 2)).toEqual([done, open.id]);
    expect((await ids({ state: 'open' }))[0]).toBe(open.id);
    expect((await ids({ state: 'settled' }))[0]).toBe(done);
    expect(await ids({ state: 'settled', customer })).toEqual([done]);
  });

  it('shows a call with the events that carry it', async () => {
    const { ledger } = given();
    const id = await settled(given);
    const seals = (await unsealedOf(given)).map((line) => sealOf([line]));
    await ledger.seal(seals);
    const { data } = await ledger.calls({ id, limit: 1 });
    expect(data[0]?.events.map(({ identifier }) => identifier).toSorted()).toEqual(
      seals.map(({ event }) => event.identifier).toSorted(),
    );
    expect((await ledger.events({ call: id, limit: 9 })).data).toHaveLength(2);
  });

  it('pages through events, newest first, by state too', async () => {
    const { ledger, customer } = given();
    for (const endedAtMs of [1, 2, 3]) await settled(given, { endedAtMs });
    const inputs = (await unsealedOf(given)).filter((line) => line.tokenType === 'input');
    await ledger.seal(inputs.map((line) => sealOf([line])));
    const one = await ledger.events({ customer, state: 'pending', limit: 2 });
    const two = await ledger.events({
      customer,
      state: 'pending',
      limit: 2,
      cursor: one.nextCursor ?? undefined,
    });
    expect([...one.data, ...two.data].map(({ timestampMs }) => timestampMs)).toEqual([3, 2, 1]);
    expect(two.nextCursor).toBeNull();
    expect((await ledger.events({ customer, state: 'refused', limit: 2 })).data).toEqual([]);
  });

  it.each(['', 'x', '.', '1e99.a'])('throws on a cursor of events it never gave: %j', async (cursor) => {
    await expect(given().ledger.events({ cursor, limit: 1 })).rejects.toThrow(RangeError);
  });

  it('adds up one customer, sealed or not, and costs beyond 64 bits', async () => {
    const { ledger, customer } = given();
    const costPico = '9223372036854775807';
    await settled(given, { costPico });
    await ledger.seal((await unsealedOf(given)).slice(0, 1).map((line) => sealOf([line])));
    await settled(given, { costPico });
    await ledger.admit(callToOpen({ customer }));
    expect(await ledger.totals(customer)).toEqual({
      openCalls: 1,
      settledCalls: 2,
      lines: [
        { model: MODEL, tokenType: 'input', tokens: 24 },
        { model: MODEL, tokenType: 'output', tokens: 10 },
      ],
      events: [{ state: 'pending', count: 1, tokens: 12, oldestMs: 2_000 }],
      unsealedLines: 3,
      costPico: '18446744073709551614',
    });
    expect((await ledger.totals()).settledCalls).toBeGreaterThan(2);
  });

  it('adds up values past 2^53, of units that were recorded', async () => {
    const { ledger, customer } = given();
    for (let n = 0; n < 10; n += 1) {
      const content = { destination: 'dimensions', eventName: 'bytes', model: '', tokenType: '' };
      const value = '999999999999999';
      await ledger.record({ identifier: fresh('fg_rec'), customer, timestampMs: 2_000, value, ...content });
    }
    const { events } = await ledger.totals(customer);
    expect(events).toMatchObject([{ state: 'pending', count: 10, tokens: 9_999_999_999_999_990 }]);
  });

  it('counts a call once that Stripe has not been told of, part of it waiting and part of it refused', async () => {
    const { ledger, customer } = given();
    await settled(given, { costPico: '700' });
    const seals = (await unsealedOf(given)).flatMap((line) => [
      sealOf([line]),
      sealOf([{ ...line, destination: 'per_type' }], { destination: 'per_type' }),
    ]);
    await ledger.seal(seals, ['dimensions', 'per_type']);
    for (const { event } of seals.slice(1)) {
      const { identifier } = event;
      await ledger.lease({ nowMs: 2_000, leaseMs: 1, limit: 1, identifier });
      await ledger.mark([{ identifier, kind: 'refused', error: 'no meter' }], 2_000);
    }
    expect(await ledger.undelivered(customer)).toEqual({
      costPico: '700',
      lines: [
        { model: MODEL, tokenType: 'input', tokens: '12' },
        { model: MODEL, tokenType: 'output', tokens: '5' },
      ],
    });
  });

  it('adds up a customer it never saw to nothing', async () => {
    expect(await given().ledger.totals('cus_nobody')).toMatchObject({ settledCalls: 0, costPico: '0' });
  });
}
