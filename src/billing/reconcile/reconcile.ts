/**
 * What is right and wrong between the ledger and Stripe's sums, an hour of a customer and a meter at a time. Pure: books
 * in, verdicts out; the tolerance is zero.
 *
 * Words: a *cell* is one customer, one event name, one UTC hour. What Stripe said it has is *counted* (*recent*, while
 * its sums may lag). A *doubt* is an event that Stripe may have or not. Values are whole units of the meter.
 */

/** An event of which nobody knows yet whether Stripe has it. */
export interface Doubt {
  readonly identifier: string;
  readonly value: bigint;
  /** Payloads of one kind and value stand for each other: to Stripe they are the same usage. */
  readonly kind: string;
  /** Quarantined: nobody is sending it, and the difference may decide. */
  readonly isParked: boolean;
  /** Refused, after an attempt that nobody knows the end of: it waits for the operator. */
  readonly isRefused?: boolean;
  /** No attempt was under way after that, milliseconds. */
  readonly quietSinceMs: number;
}

/** What the ledger has of a cell. Sums of values. */
export interface Cell {
  /** Stripe took it long enough ago that its sums must have it. */
  readonly counted: bigint;
  /** Stripe took it; its sums may not have it yet. */
  readonly recent: bigint;
  /** Surely not sent yet. */
  readonly waiting: bigint;
  /** Settled and in no event yet, tokens: told beside the sums, since it has no event name yet. */
  readonly unsealed: bigint;
  readonly refused: bigint;
  readonly expired: bigint;
  /** Taken back a short while ago: Stripe's sums may still have it. */
  readonly withdrawn: bigint;
  readonly doubts: readonly Doubt[];
}

export const REASONS = [
  'undelivered',
  'unsealed',
  'recent',
  'in_flight',
  'quarantined',
  'withdrawn',
  'refused',
  'expired',
  'undecided',
  'missing',
  'foreign',
  'no_meter',
  'no_customer',
  'not_summed',
] as const;
export type ReasonName = (typeof REASONS)[number];
export interface Reason {
  readonly reason: ReasonName;
  /** How much of the difference it is. */
  readonly value: bigint;
}

/** What the difference says of an event in doubt. */
export interface Finding {
  readonly identifier: string;
  /** `lost`: Stripe has it not. `lost_alike`: one like it is lost, and nobody can tell which: it needs a new identifier. */
  readonly found: 'delivered' | 'lost' | 'lost_alike';
}

export interface Verdict {
  readonly kind: 'equal' | 'lagging' | 'different';
  /** What the customer is to be billed for, by the ledger. */
  readonly ledger: bigint;
  readonly stripe: bigint;
  readonly reasons: readonly Reason[];
  /** Everything that Stripe took shows in its sums. */
  readonly isConfirmed: boolean;
  readonly findings: readonly Finding[];
}

/**
 * Nothing is taken for lost before so long after its last attempt. Stripe states no bound for how far its sums lag; what
 * they are seen to lag is minutes.
 */
export const LOST_AFTER_MS = 6 * 3_600_000;
/** Ways to explain one difference that are tried: a few milliseconds. */
const TRIES_MAX = 50_000;
/** Of more kinds than this some of any sum can be made in several ways; the search goes one call deeper for each. */
const KINDS_MAX = 2_000;

export function judge(cell: Cell, stripe: bigint, nowMs: number): Verdict {
  const { counted, recent, withdrawn, doubts } = cell;
  const doubtful = sumOf(doubts);
  const most = counted + recent + withdrawn + doubtful;
  const ledger = counted + recent + doubtful + cell.waiting + cell.refused + cell.expired;
  const known = standing(cell);
  const verdict = (reasons: readonly Reason[], more: Partial<Verdict> = {}): Verdict => {
    const all = joined([...known, ...reasons]);
    return {
      kind: kindOf(all),
      ledger,
      stripe,
      reasons: all,
      isConfirmed: false,
      findings: [],
      ...more,
    };
  };
  if (stripe < counted) return verdict([{ reason: 'missing', value: counted - stripe }, ...open(cell)]);
  if (stripe > most) return verdict([{ reason: 'foreign', value: stripe - most }, ...open(cell)]);
  const extra = stripe - counted;
  if (withdrawn === 0n && extra === recent + doubtful)
    return verdict([], { isConfirmed: true, findings: doubts.map(found('delivered')) });
  const isQuiet = doubts.every(({ quietSinceMs }) => nowMs - quietSinceMs >= LOST_AFTER_MS);
  if (recent > 0n || withdrawn > 0n || !isQuiet) return verdict([...open(cell), ...late(cell, extra)]);
  const findings = decide(doubts, extra);
  if (findings === undefined) return verdict([{ reason: 'undecided', value: doubtful }]);
  if (isGuess(doubts, findings)) return verdict(open(cell));
  const parked = new Set(doubts.filter(({ isParked }) => isParked).map(({ identifier }) => identifier));
  const lost = new Set(findings.flatMap((one) => (one.found === 'delivered' ? [] : [one.identifier])));
  return verdict(unsent(doubts.filter(({ identifier }) => lost.has(identifier))), {
    isConfirmed: true,
    // What is still being sent goes on being sent: only what is parked is taken for lost.
    findings: findings.filter((one) => one.found === 'delivered' || parked.has(one.identifier)),
  });
}

/** What stands whatever Stripe says. */
const standing = ({ waiting, unsealed, refused, expired }: Cell): readonly Reason[] => [
  { reason: 'refused', value: refused },
  { reason: 'expired', value: expired },
  { reason: 'undelivered', value: waiting },
  { reason: 'unsealed', value: unsealed },
];

/** What is open between the two. */
const open = ({ withdrawn, doubts }: Cell): readonly Reason[] => [
  { reason: 'withdrawn', value: withdrawn },
  { reason: 'quarantined', value: sumOf(doubts.filter(({ isParked }) => isParked)) },
  { reason: 'in_flight', value: sumOf(doubts.filter((one) => !one.isParked && one.isRefused !== true)) },
  { reason: 'refused', value: sumOf(doubts.filter(({ isRefused }) => isRefused === true)) },
];

/** What Stripe has not, and will get only if it is sent again. */
const unsent = (lost: readonly Doubt[]): readonly Reason[] => [
  { reason: 'undelivered', value: sumOf(lost.filter(({ isRefused }) => isRefused !== true)) },
  { reason: 'refused', value: sumOf(lost.filter(({ isRefused }) => isRefused === true)) },
];

/** Each reason once, and only those that there is something of. */
const joined = (reasons: readonly Reason[]): readonly Reason[] =>
  [...Map.groupBy(reasons, ({ reason }) => reason)]
    .map(([reason, alike]) => ({ reason, value: alike.reduce((sum, { value }) => sum + value, 0n) }))
    .filter(({ value }) => value > 0n);

const late = ({ recent }: Cell, extra: bigint): readonly Reason[] => [
  { reason: 'recent', value: extra < recent ? recent - extra : 0n },
];

const DIFFERENT: ReadonlySet<ReasonName> = new Set<ReasonName>([
  'refused',
  'expired',
  'undecided',
  'missing',
  'foreign',
  'no_meter',
  'no_customer',
  'not_summed',
]);

function kindOf(reasons: readonly Reason[]): Verdict['kind'] {
  if (reasons.length === 0) return 'equal';
  return reasons.some(({ reason }) => DIFFERENT.has(reason)) ? 'different' : 'lagging';
}

const sumOf = (doubts: readonly Doubt[]): bigint => doubts.reduce((sum, { value }) => sum + value, 0n);

const found =
  (what: Finding['found']) =>
  ({ identifier }: Doubt): Finding => ({ identifier, found: what });

/**
 * Which of the doubts Stripe has, if the difference can be explained in one way only. Events that are alike are one
 * kind: how many of them Stripe has is what is found, and the rest gets new identifiers, since it might be any of them.
 */
export function decide(doubts: readonly Doubt[], extra: bigint): readonly Finding[] | undefined {
  const kinds = [...Map.groupBy(doubts, ({ kind, value }) => `${value} ${kind}`).values()];
  const counts = onlyWay(
    kinds.map((alike) => ({ value: alike[0]?.value ?? 0n, count: alike.length })),
    extra,
  );
  if (counts === undefined) return undefined;
  return kinds.flatMap((alike, at) => {
    const there = counts[at] ?? 0;
    const lost = there === 0 ? found('lost') : found('lost_alike');
    return alike.slice(0, there).map(found('delivered')).concat(alike.slice(there).map(lost));
  });
}

/**
 * Whether something would be marked that may be another. Which of some alike Stripe has does not matter while the rest
 * gets new identifiers; one that goes on under its own, and is the one that Stripe has, would only be a duplicate.
 */
function isGuess(doubts: readonly Doubt[], findings: readonly Finding[]): boolean {
  const nameOf = ({ kind, value }: Doubt): string => `${value} ${kind}`;
  const lost = new Set(findings.flatMap((one) => (one.found === 'lost_alike' ? [one.identifier] : [])));
  const partly = new Set(doubts.filter(({ identifier }) => lost.has(identifier)).map(nameOf));
  return doubts.some((doubt) => !doubt.isParked && partly.has(nameOf(doubt)));
}

interface Kind {
  readonly value: bigint;
  readonly count: number;
}

/** How many of each kind make the sum; undefined where none do, several do, or too many would have to be tried. */
function onlyWay(kinds: readonly Kind[], sum: bigint): readonly number[] | undefined {
  if (sum === 0n && kinds.every(({ value }) => value > 0n)) return kinds.map(() => 0);
  if (kinds.length > KINDS_MAX) return undefined;
  /** What the kinds from there on come to at most. */
  const rest = kinds.map((_, at) =>
    kinds.slice(at).reduce((total, { value, count }) => total + value * BigInt(count), 0n),
  );
  let tries = 0;
  const ways: (readonly number[])[] = [];
  const search = (at: number, left: bigint, taken: readonly number[]): void => {
    tries += 1;
    if (tries > TRIES_MAX || ways.length > 1) return;
    const kind = kinds[at];
    if (kind === undefined) {
      if (left === 0n) ways.push(taken);
      return;
    }
    if (left > (rest[at] ?? 0n)) return;
    for (let count = 0; count <= kind.count && kind.value * BigInt(count) <= left; count += 1)
      search(at + 1, left - kind.value * BigInt(count), [...taken, count]);
  };
  search(0, sum, []);
  return tries <= TRIES_MAX && ways.length === 1 ? ways[0] : undefined;
}
