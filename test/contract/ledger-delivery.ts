/** From sealed events to delivered ones: what a Ledger must do on every engine. */
import { expect, it } from 'vitest';
import type { MeterEvent } from '../../src/ledger/ledger.ts';
import { fresh } from './ledger-calls.ts';
import { sealOf, type Given, settled, unsealedOf, oneSealed } from './ledger-world.ts';

const verdictOn = (event: MeterEvent, validatedUntilMs: number) => ({
  id: `evt_${event.identifier}`,
  type: 'v1.billing.meter.error_report_triggered',
  message: '',
  errorCount: 1,
  refused: [{ identifier: event.identifier, error: 'archived' }],
  receivedAtMs: validatedUntilMs,
  validatedUntilMs,
});

const tried = { notBeforeMs: 0, error: 'late' };

export function describeDelivery(given: Given): void {
  /** Leases everything due and answers what became of one event. */
  async function leased(event: MeterEvent, nowMs: number) {
    const events = await given().ledger.lease({ nowMs, leaseMs: 100, limit: 100_000 });
    return events.find(({ identifier }) => identifier === event.identifier);
  }
  async function viewOf({ identifier }: MeterEvent) {
    return (await given().ledger.events({ identifier, limit: 1 })).data[0];
  }

  it('leases an event once until the lease runs out', async () => {
    const event = await oneSealed(given);
    expect(await leased(event, 10_000)).toEqual({
      ...event,
      attempts: 1,
      firstAttemptAtMs: 10_000,
      isInDoubt: false,
      transport: null,
    });
    expect(await leased(event, 10_099)).toBeUndefined();
    expect(await leased(event, 10_100)).toMatchObject({ attempts: 2, firstAttemptAtMs: 10_000 });
  });

  it('leases the oldest first and no more than asked', async () => {
    const { ledger } = given();
    await leased(await oneSealed(given), 20_000);
    const lines = [1, 2, 3].map((at) => settled(given, { endedAtMs: at }));
    await Promise.all(lines);
    const seals = (await unsealedOf(given)).map((line) => sealOf([line], { timestampMs: line.endedAtMs }));
    await ledger.seal(seals.toReversed());
    const taken = await ledger.lease({ nowMs: 20_001, leaseMs: 100, limit: 4 });
    expect(taken.map(({ timestampMs }) => timestampMs)).toEqual([1, 1, 2, 2]);
    await leased(seals[0]!.event, 20_001);
  });

  it.each(['accepted', 'duplicate'] as const)('counts %s as delivered, for good', async (kind) => {
    const event = await oneSealed(given);
    await leased(event, 30_000);
    await given().ledger.mark([{ identifier: event.identifier, kind }], 30_001);
    const late = { identifier: event.identifier, notBeforeMs: 0, error: 'late' };
    await given().ledger.mark(
      [
        { ...late, kind: 'retry' },
        { ...late, kind: 'ambiguous' },
      ],
      30_002,
    );
    await given().ledger.mark([{ identifier: event.identifier, kind: 'refused', error: 'late' }], 30_003);
    expect(await viewOf(event)).toMatchObject({ state: 'accepted', acceptedAtMs: 30_001, lastError: null });
    expect(await leased(event, 99_000)).toBeUndefined();
  });

  it.each(['accepted', 'duplicate', 'retry', 'ambiguous', 'quarantined'] as const)(
    'keeps a verdict that comes while its event is being sent, whatever is answered: %s',
    async (kind) => {
      const { ledger } = given();
      const event = await oneSealed(given);
      await leased(event, 30_000);
      expect(await ledger.applyVerdict(verdictOn(event, 30_001))).toEqual({ kind: 'applied', matched: 1 });
      const others = Array.from({ length: 12 }, (_, at) => ({
        identifier: `nobody_${String(at)}`,
        kind: 'accepted' as const,
      }));
      await ledger.mark([{ ...tried, identifier: event.identifier, kind }, ...others], 30_002);
      expect(await viewOf(event)).toMatchObject({ state: 'refused', lastError: 'archived' });
      expect(await leased(event, 99_000)).toBeUndefined();
      // Stripe has seen its identifier: it goes under another.
      expect(await ledger.retryEvent(event.identifier, 99_001)).toBe(true);
      expect(await viewOf(event)).toBeUndefined();
    },
  );

  it.each(['retry', 'refused'] as const)(
    'finds the event of a verdict whose lost attempt was followed by one that ended otherwise: %s',
    async (kind) => {
      const { ledger } = given();
      const event = await oneSealed(given);
      const { identifier } = event;
      await leased(event, 30_000);
      await ledger.mark([{ ...tried, identifier, kind: 'ambiguous' }], 30_001);
      await leased(event, 30_002);
      await ledger.mark([{ ...tried, identifier, kind }], 30_003);
      expect(await ledger.applyVerdict(verdictOn(event, 30_004))).toMatchObject({ matched: 1 });
      expect(await viewOf(event)).toMatchObject({ state: 'refused', lastError: 'archived' });
    },
  );

  it('does not take a verdict on an attempt long gone for one on the sending after it', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    const later = 90_000_000;
    await leased(event, 30_000);
    await ledger.mark([{ ...tried, identifier, kind: 'quarantined' }], 30_001);
    await ledger.resolveEvent(identifier, 'lost', later);
    await leased(event, later);
    await ledger.mark([{ identifier, kind: 'accepted' }], later + 1);
    expect(await ledger.applyVerdict(verdictOn(event, 30_000))).toMatchObject({ matched: 0 });
    expect(await viewOf(event)).toMatchObject({ state: 'accepted' });
  });

  it('leaves an event alone that a verdict names and that was surely not taken', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    expect(await ledger.applyVerdict(verdictOn(event, 30_000))).toMatchObject({ matched: 0 });
    expect(await viewOf(event)).toMatchObject({ state: 'pending' });
    await leased(event, 30_001);
    await ledger.mark([{ identifier: event.identifier, kind: 'accepted' }], 30_002);
  });

  it('says of a refused event that an earlier attempt is in doubt', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 30_000);
    await ledger.mark([{ ...tried, identifier, kind: 'ambiguous' }], 30_001);
    await leased(event, 30_002);
    await ledger.mark([{ identifier, kind: 'refused', error: 'No such meter.' }], 30_003);
    const { lastError } = (await viewOf(event)) ?? {};
    expect(lastError).toMatch(
      /^No such meter\. But an earlier attempt .* may have counted it\. To do: do not bill it/s,
    );
    expect(lastError).toContain('faregate events retry');
  });

  it('leases what was never tried before what was put off, though that is older', async () => {
    const { ledger } = given();
    await leased(await oneSealed(given), 90_000);
    const [old, young] = [await oneSealed(given), await oneSealed(given)];
    const [first] = await ledger.lease({ nowMs: 90_001, leaseMs: 100, limit: 1 });
    expect(first?.identifier).toBe(old.identifier);
    const putOff = { identifier: old.identifier, kind: 'retry', notBeforeMs: 90_002, error: '429' } as const;
    await ledger.mark([putOff], 90_001);
    const [next] = await ledger.lease({ nowMs: 90_050, leaseMs: 100, limit: 1 });
    expect(next?.identifier).toBe(young.identifier);
    await leased(old, 90_051);
  });

  it('leases one event by its identifier, if it is due', async () => {
    const { ledger } = given();
    const [event, other] = [await oneSealed(given), await oneSealed(given)];
    const one = { nowMs: 95_000, leaseMs: 100, limit: 9, identifier: event.identifier };
    expect((await ledger.lease(one)).map(({ identifier }) => identifier)).toEqual([event.identifier]);
    expect(await ledger.lease(one)).toEqual([]);
    expect(await leased(other, 95_000)).toMatchObject({ attempts: 1 });
  });

  it('counts no attempt that never was one', async () => {
    const event = await oneSealed(given);
    await leased(event, 97_000);
    const untried = { kind: 'retry', notBeforeMs: 97_010, error: 'down', untried: true } as const;
    await given().ledger.mark([{ identifier: event.identifier, ...untried }], 97_001);
    expect(await viewOf(event)).toMatchObject({ state: 'pending', attempts: 0 });
    expect(await leased(event, 97_010)).toMatchObject({ attempts: 1, firstAttemptAtMs: 97_010 });
  });

  it('tries again, not before the time given, and forgets an attempt that surely failed', async () => {
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 100_000);
    await given().ledger.mark([{ identifier, kind: 'retry', notBeforeMs: 100_500, error: '429' }], 100_001);
    expect(await viewOf(event)).toMatchObject({ state: 'pending', notBeforeMs: 100_500, lastError: '429' });
    expect(await leased(event, 100_499)).toBeUndefined();
    expect(await leased(event, 100_500)).toMatchObject({ attempts: 2, firstAttemptAtMs: 100_500 });
  });

  it('remembers since when an event is in doubt, whatever later attempts say', async () => {
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 110_000);
    await given().ledger.mark(
      [{ identifier, kind: 'ambiguous', notBeforeMs: 110_500, error: 'reset' }],
      110_001,
    );
    expect(await viewOf(event)).toMatchObject({ state: 'ambiguous', lastError: 'reset' });
    expect(await leased(event, 110_500)).toMatchObject({ attempts: 2, firstAttemptAtMs: 110_000 });
    await given().ledger.mark([{ identifier, kind: 'retry', notBeforeMs: 110_900, error: '429' }], 110_501);
    expect(await leased(event, 110_900)).toMatchObject({ attempts: 3, firstAttemptAtMs: 110_000 });
  });

  it('counts a lease that ran out as an attempt in doubt', async () => {
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 120_000);
    await leased(event, 120_100);
    await given().ledger.mark([{ identifier, kind: 'retry', notBeforeMs: 120_300, error: '429' }], 120_101);
    expect(await leased(event, 120_300)).toMatchObject({ attempts: 3, firstAttemptAtMs: 120_000 });
  });

  it.each(['refused', 'quarantined'] as const)('keeps a %s event with the reason, unsent', async (kind) => {
    const event = await oneSealed(given);
    await leased(event, 130_000);
    const error = 'No such customer '.repeat(100);
    await given().ledger.mark([{ identifier: event.identifier, kind, error }], 130_001);
    expect(await viewOf(event)).toMatchObject({ state: kind, lastError: error.slice(0, 500) });
    expect(await leased(event, 199_000)).toBeUndefined();
  });

  it('sends a refused event again when the operator asks', async () => {
    const { ledger } = given();
    const { identifier, ...rest } = await oneSealed(given);
    expect(await ledger.retryEvent(identifier, 140_000)).toBe(false);
    await leased({ identifier, ...rest }, 140_000);
    await ledger.mark([{ identifier, kind: 'refused', error: 'no' }], 140_001);
    expect(await ledger.retryEvent(identifier, 140_002)).toBe(true);
    expect(await leased({ identifier, ...rest }, 140_002)).toMatchObject({
      attempts: 1,
      firstAttemptAtMs: 140_002,
    });
  });

  it('remembers, when a refused event is sent again, that an earlier attempt is in doubt', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 141_000);
    await ledger.mark([{ identifier, kind: 'ambiguous', notBeforeMs: 141_100, error: 'reset' }], 141_001);
    await leased(event, 141_100);
    await ledger.mark([{ identifier, kind: 'refused', error: 'no' }], 141_101);
    expect(await ledger.retryEvent(identifier, 141_200)).toBe(true);
    expect(await leased(event, 141_200)).toMatchObject({ attempts: 1, firstAttemptAtMs: 141_000 });
  });

  it('sends a quarantined event again only when Stripe was found not to have it', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 142_000);
    await ledger.mark([{ identifier, kind: 'quarantined', error: 'old' }], 142_001);
    expect(await ledger.retryEvent(identifier, 142_002)).toBe(false);
    expect(await ledger.resolveEvent(identifier, 'lost', 142_003)).toBe(true);
    expect(await leased(event, 142_003)).toMatchObject({ attempts: 1, firstAttemptAtMs: 142_003 });
    expect(await ledger.resolveEvent(identifier, 'lost', 142_004)).toBe(false);
  });

  it('counts a quarantined event as accepted when Stripe was found to have it', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 143_000);
    await ledger.mark([{ identifier, kind: 'quarantined', error: 'old' }], 143_001);
    expect(await ledger.resolveEvent(identifier, 'delivered', 143_002)).toBe(true);
    expect(await viewOf(event)).toMatchObject({ state: 'accepted', acceptedAtMs: 143_002, lastError: null });
    expect(await leased(event, 199_000)).toBeUndefined();
  });

  it('knows when the next event of a place is due: never tried, leased, put off or in doubt', async () => {
    const { ledger } = given();
    const place = fresh('sink');
    await settled(given);
    const [line] = await unsealedOf(given);
    const event = { destination: place, timestampMs: 2_000 };
    const seals = [sealOf([line!], event)];
    expect(await ledger.nextDueMs([place])).toBeUndefined();
    await ledger.seal(seals, [place]);
    expect(await ledger.nextDueMs([place, 'sink:of-nothing'])).toBe(0);
    const { identifier } = seals[0]!.event;
    await ledger.lease({ nowMs: 160_000, leaseMs: 100, limit: 9, destinations: [place] });
    expect(await ledger.nextDueMs([place])).toBe(160_100);
    await ledger.mark([{ identifier, kind: 'retry', notBeforeMs: 170_000, error: '429' }], 160_001);
    expect(await ledger.nextDueMs([place])).toBe(170_000);
    await ledger.lease({ nowMs: 170_000, leaseMs: 100, limit: 9, destinations: [place] });
    await ledger.mark([{ identifier, kind: 'ambiguous', notBeforeMs: 180_000, error: 'reset' }], 170_001);
    expect(await ledger.nextDueMs([place])).toBe(180_000);
    await ledger.mark([{ identifier, kind: 'accepted' }], 170_002);
    expect(await ledger.nextDueMs([place])).toBeUndefined();
  });

  it('moves waiting and doubt with a clock that is set back', async () => {
    const { ledger } = given();
    const event = await oneSealed(given);
    const { identifier } = event;
    await leased(event, 50_000_000);
    await ledger.mark(
      [{ identifier, kind: 'ambiguous', notBeforeMs: 50_020_000, error: 'reset' }],
      50_000_001,
    );
    await ledger.clockSetBack(49_000_000);
    expect(await leased(event, 1_019_999)).toBeUndefined();
    expect(await leased(event, 1_020_000)).toMatchObject({ attempts: 2, firstAttemptAtMs: 1_000_000 });
    expect(await ledger.latestEventMs()).toBeGreaterThan(0);
  });

  it('waives an event that Stripe surely has not, and none that it may have', async () => {
    const { ledger } = given();
    const [never, doubtful] = [await oneSealed(given), await oneSealed(given)];
    expect(await ledger.cancelEvent(never.identifier)).toBe(true);
    expect(await leased(never, 150_000)).toBeUndefined();
    await leased(doubtful, 150_000);
    const { identifier } = doubtful;
    await ledger.mark([{ identifier, kind: 'ambiguous', notBeforeMs: 150_001, error: 'reset' }], 150_000);
    expect(await ledger.cancelEvent(identifier)).toBe(false);
    expect(await ledger.cancelEvent('nothing')).toBe(false);
    expect(await viewOf(never)).toMatchObject({ state: 'cancelled' });
  });

  it('says that it takes writes, and changes nothing by it', async () => {
    const before = await given().ledger.totals();
    await given().ledger.probe();
    expect(await given().ledger.totals()).toEqual(before);
  });
}
