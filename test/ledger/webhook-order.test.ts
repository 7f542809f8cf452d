import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { CustomerFact, Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { callToOpen, fresh } from '../contract/ledger.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

let opened: TemporaryDatabase;
let ledger: Ledger;
beforeAll(async () => {
  opened = await openTemporary();
  await migrate(opened.database);
  ledger = createLedger({ database: opened.database, bootId: 'boot' });
});
afterAll(() => opened.close());

interface Told {
  readonly createdS: number;
  readonly what: 'triggered' | 'recovered' | 'lifted' | 'deleted';
  readonly alert: string;
}

const told = fc.uniqueArray(
  fc.record({
    createdS: fc.integer({ min: 1, max: 1_000 }),
    what: fc.constantFrom<Told['what']>('triggered', 'triggered', 'recovered', 'lifted', 'deleted'),
    alert: fc.constantFrom('alrt_a', 'alrt_b'),
  }),
  { selector: ({ createdS }) => createdS, maxLength: 8 },
);

function factOf({ what, alert }: Told, customer: string): CustomerFact {
  switch (what) {
    case 'triggered':
      return { kind: 'alert_triggered', customer, alert, title: '' };
    case 'recovered':
      return { kind: 'alert_recovered', customer, alert };
    case 'lifted':
      return { kind: 'alerts_lifted', customer, why: 'credit' };
    case 'deleted':
      return { kind: 'deleted', customer };
  }
}

/** Tells the events to a new customer in the order given and answers how its next call fares. */
async function fate(events: readonly Told[]): Promise<string> {
  const customer = fresh('cus');
  for (const event of events)
    await ledger.apply(
      {
        eventId: `${customer}.${event.createdS}`,
        type: event.what,
        createdS: event.createdS,
        receivedAtMs: 1,
      },
      [factOf(event, customer)],
    );
  return JSON.stringify(await ledger.admit(callToOpen({ customer })));
}

/** What the contract says of events that came in order, worked out without the ledger. */
function expected(events: readonly Told[]): string {
  const firing = new Set<string>();
  for (const { what, alert } of events.toSorted((a, b) => a.createdS - b.createdS)) {
    if (what === 'deleted') return JSON.stringify({ kind: 'missing' });
    if (what === 'triggered') firing.add(alert);
    if (what === 'recovered') firing.delete(alert);
    if (what === 'lifted') firing.clear();
  }
  const [source] = [...firing].toSorted();
  if (source === undefined) return JSON.stringify({ kind: 'admitted' });
  return JSON.stringify({ kind: 'blocked', block: { code: 'alert_triggered', source } });
}

it('ends the same in whatever order, and however often, events of different seconds arrive', async () => {
  const delivered = told.chain((events) =>
    fc.tuple(
      fc.constant(events),
      fc
        .tuple(
          fc.shuffledSubarray(events, { minLength: events.length }),
          fc.array(fc.constantFrom(...(events.length > 0 ? events : [undefined])), { maxLength: 5 }),
        )
        .map(([once, again]) => once.concat(again.filter((event) => event !== undefined))),
    ),
  );
  await fc.assert(
    fc.asyncProperty(delivered, async ([events, arrivals]) => {
      expect(await fate(arrivals)).toBe(expected(events));
    }),
    { numRuns: 300 },
  );
});
