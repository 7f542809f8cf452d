import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Cell,
  decide,
  type Doubt,
  judge,
  LOST_AFTER_MS,
} from '../../../src/billing/reconcile/reconcile.ts';

const NOW = Date.UTC(2026, 10, 21, 12);
const EMPTY: Cell = {
  counted: 0n,
  recent: 0n,
  waiting: 0n,
  unsealed: 0n,
  refused: 0n,
  expired: 0n,
  withdrawn: 0n,
  doubts: [],
};
const cell = (more: Partial<Cell>): Cell => Object.assign({}, EMPTY, more);
const doubt = (identifier: string, value: bigint, more: Partial<Doubt> = {}): Doubt => ({
  identifier,
  value,
  kind: 'openai/gpt-4o input',
  isParked: true,
  quietSinceMs: NOW - LOST_AFTER_MS,
  ...more,
});
const reasonsOf = (one: Cell, stripe: bigint): Record<string, bigint> =>
  Object.fromEntries(judge(one, stripe, NOW).reasons.map(({ reason, value }) => [reason, value]));

describe('a cell', () => {
  it('is equal, and confirmed, when Stripe has what it took and nothing is open', () => {
    const verdict = judge(cell({ counted: 30n, recent: 12n }), 42n, NOW);
    expect(verdict).toMatchObject({ kind: 'equal', ledger: 42n, isConfirmed: true, reasons: [] });
  });

  it('lags while what was taken a moment ago does not show yet', () => {
    const verdict = judge(cell({ counted: 30n, recent: 12n }), 35n, NOW);
    expect(verdict).toMatchObject({ kind: 'lagging', isConfirmed: false });
    expect(reasonsOf(cell({ counted: 30n, recent: 12n }), 35n)).toEqual({ recent: 7n });
  });

  it('differs when what was taken long ago does not show', () => {
    expect(judge(cell({ counted: 30n }), 29n, NOW).kind).toBe('different');
    expect(reasonsOf(cell({ counted: 30n }), 29n)).toEqual({ missing: 1n });
  });

  it('differs when Stripe has more than could have come from here', () => {
    const one = cell({ counted: 30n, recent: 12n, doubts: [doubt('a', 5n)] });
    expect(reasonsOf(one, 50n)).toEqual({ foreign: 3n, quarantined: 5n });
    expect(judge(one, 50n, NOW)).toMatchObject({ kind: 'different', findings: [] });
  });

  it('lags while usage waits to be sent, and says how much', () => {
    expect(judge(cell({ counted: 30n, waiting: 4n }), 30n, NOW)).toMatchObject({
      kind: 'lagging',
      ledger: 34n,
      isConfirmed: true,
    });
  });

  it('differs for what Stripe refused, until somebody has seen to it', () => {
    expect(judge(cell({ counted: 30n, refused: 4n }), 30n, NOW).kind).toBe('different');
    // Somebody else's 4 do not make up for it, although the sums are the same.
    expect(reasonsOf(cell({ counted: 30n, refused: 4n }), 34n)).toEqual({ refused: 4n, foreign: 4n });
  });

  it('takes a quarantined event for lost when exactly its value is missing', () => {
    const verdict = judge(cell({ counted: 30n, doubts: [doubt('a', 5n), doubt('b', 7n)] }), 37n, NOW);
    expect(verdict.kind).toBe('lagging');
    expect(verdict.findings).toEqual([
      { identifier: 'a', found: 'lost' },
      { identifier: 'b', found: 'delivered' },
    ]);
  });

  it('takes nothing for lost soon after its last attempt, or while anything else may lag', () => {
    const young = doubt('a', 5n, { quietSinceMs: NOW - LOST_AFTER_MS + 1 });
    expect(judge(cell({ doubts: [young] }), 0n, NOW)).toMatchObject({ kind: 'lagging', findings: [] });
    const beside = cell({ recent: 1n, doubts: [doubt('a', 5n)] });
    expect(judge(beside, 1n, NOW).findings).toEqual([]);
  });

  it('takes it for delivered at once when all of it shows', () => {
    const young = doubt('a', 5n, { quietSinceMs: NOW });
    expect(judge(cell({ recent: 2n, doubts: [young] }), 7n, NOW).findings).toEqual([
      { identifier: 'a', found: 'delivered' },
    ]);
  });

  it('decides nothing that the difference explains in two ways', () => {
    const doubts = [doubt('a', 5n), doubt('b', 5n, { kind: 'openai/gpt-4o output' })];
    expect(judge(cell({ doubts }), 5n, NOW)).toMatchObject({ kind: 'different', findings: [] });
  });

  it('counts events that are alike, and sends the missing ones under new identifiers', () => {
    const doubts = [doubt('a', 5n), doubt('b', 5n), doubt('c', 5n)];
    expect(judge(cell({ doubts }), 10n, NOW).findings).toEqual([
      { identifier: 'a', found: 'delivered' },
      { identifier: 'b', found: 'delivered' },
      { identifier: 'c', found: 'lost_alike' },
    ]);
  });

  it('decides nothing of events that are alike while one of them may be sent again under its own identifier', () => {
    // Stripe has one of the two, and nobody can tell which: marked as there, the other would be lost for good.
    for (const isParked of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      const doubts = isParked.map((parked, at) => doubt(`d${at}`, 5n, { isParked: parked }));
      const verdict = judge(cell({ counted: 3n, doubts }), 8n, NOW);
      expect(verdict).toMatchObject({ kind: 'lagging', findings: [], isConfirmed: false });
    }
    const all = [doubt('a', 5n, { isParked: false }), doubt('b', 7n), doubt('c', 5n, { isParked: false })];
    expect(judge(cell({ doubts: all }), 10n, NOW).findings).toEqual([
      { identifier: 'a', found: 'delivered' },
      { identifier: 'c', found: 'delivered' },
      { identifier: 'b', found: 'lost' },
    ]);
  });

  it('differs for what Stripe refused, although an attempt before that is in doubt', () => {
    const refused = [doubt('a', 5n, { isParked: false, isRefused: true })];
    expect(judge(cell({ counted: 3n, doubts: refused }), 3n, NOW)).toMatchObject({
      kind: 'different',
      reasons: [{ reason: 'refused', value: 5n }],
    });
    const young = refused.map((one) => ({ ...one, quietSinceMs: NOW }));
    expect(reasonsOf(cell({ counted: 3n, refused: 2n, doubts: young }), 3n)).toEqual({ refused: 7n });
    expect(judge(cell({ counted: 3n, doubts: refused }), 8n, NOW)).toMatchObject({
      kind: 'equal',
      findings: [{ identifier: 'a', found: 'delivered' }],
    });
  });

  it('takes all of very many for lost where Stripe has none of them', () => {
    const doubts = Array.from({ length: 15_000 }, (_, at) => doubt(`d${at}`, 1n + BigInt(at)));
    expect(decide(doubts, 0n)?.every(({ found }) => found === 'lost')).toBe(true);
    expect(decide(doubts, 7n)).toBeUndefined();
  });

  it('gives up on a search that would take too long', () => {
    const doubts = Array.from({ length: 400 }, (_, at) => doubt(`d${at}`, 1_000n + BigInt(at)));
    expect(decide(doubts, 200_017n)).toBeUndefined();
  });
});

describe('for any books and any truth', () => {
  const value = fc.bigInt({ min: 1n, max: 400n });
  const doubts = fc
    .array(
      fc.record({ value, isThere: fc.boolean(), isParked: fc.boolean(), kind: fc.constantFrom('in', 'out') }),
      {
        maxLength: 8,
      },
    )
    .map((list) => list.map((one, at) => ({ ...one, identifier: `e${at}` })));
  const truth = fc.record({
    counted: fc.bigInt({ min: 0n, max: 5_000n }),
    waiting: fc.bigInt({ min: 0n, max: 50n }),
    recent: fc.bigInt({ min: 0n, max: 50n }),
    refused: fc.constantFrom(0n, 0n, 9n),
    shown: fc.nat({ max: 100 }),
    doubts,
    foreign: fc.constantFrom(0n, 0n, 0n, 3n, 40n),
  });
  const told = (one: typeof truth extends fc.Arbitrary<infer T> ? T : never) => {
    const there = one.doubts.filter(({ isThere }) => isThere).reduce((sum, event) => sum + event.value, 0n);
    const shown = (one.recent * BigInt(one.shown)) / 100n;
    const books = cell({
      counted: one.counted,
      waiting: one.waiting,
      recent: one.recent,
      refused: one.refused,
      doubts: one.doubts.map((event) => doubt(event.identifier, event.value, event)),
    });
    const stripe = one.counted + shown + there + one.foreign;
    return { books, stripe, there, verdict: judge(books, stripe, NOW) };
  };

  it('says equal only of sums that are equal to the last unit, with nothing open', () => {
    fc.assert(
      fc.property(truth, (one) => {
        const { books, stripe, verdict } = told(one);
        if (verdict.kind === 'equal') {
          expect(stripe).toBe(verdict.ledger);
          expect(books.waiting + books.refused).toBe(0n);
        }
        if (one.foreign === 0n && one.refused === 0n && one.doubts.length === 0)
          expect(verdict.kind).not.toBe('different');
      }),
      { numRuns: 2_000 },
    );
  });

  it('finds delivered exactly what makes the sums equal, or decides nothing', () => {
    fc.assert(
      fc.property(truth, (one) => {
        const { books, stripe, verdict } = told(one);
        if (!verdict.isConfirmed) {
          expect(verdict.findings).toEqual([]);
          return;
        }
        const delivered = new Set(
          verdict.findings.filter(({ found }) => found === 'delivered').map(({ identifier }) => identifier),
        );
        const sum = books.doubts.reduce(
          (total, event) => total + (delivered.has(event.identifier) ? event.value : 0n),
          0n,
        );
        expect(books.counted + books.recent + sum).toBe(stripe);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never takes for lost what is there, nor for there what is lost, of events that differ', () => {
    fc.assert(
      fc.property(truth, (one) => {
        // Powers of two: no two sets of them are worth the same.
        const apart = one.doubts.map((event, at) => ({ ...event, value: 2n ** BigInt(at) }));
        const { verdict } = told({ ...one, doubts: apart, recent: 0n, foreign: 0n });
        for (const { identifier, found } of verdict.findings)
          expect(found === 'delivered').toBe(apart.find((event) => event.identifier === identifier)?.isThere);
        const decided = new Set(verdict.findings.map(({ identifier }) => identifier));
        for (const event of apart)
          if (event.isParked || event.isThere) expect(decided.has(event.identifier)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes for lost only what is parked, and only as much as Stripe has less', () => {
    fc.assert(
      fc.property(truth, (one) => {
        const { books, stripe, verdict } = told(one);
        const lost = verdict.findings.filter(({ found }) => found !== 'delivered');
        const events = lost.flatMap(({ identifier }) =>
          books.doubts.filter((each) => each.identifier === identifier),
        );
        expect(events.every(({ isParked }) => isParked)).toBe(true);
        const most = books.counted + books.recent + books.doubts.reduce((sum, each) => sum + each.value, 0n);
        expect(events.reduce((sum, each) => sum + each.value, 0n) <= most - stripe || lost.length === 0).toBe(
          true,
        );
      }),
      { numRuns: 2_000 },
    );
  });
});
