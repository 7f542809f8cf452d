/**
 * What is done with a ledger now and then where every customer has one of his own, asleep while nothing happens: the
 * nightly comparison, as long as there is usage to compare, and trimming, where the operator asked for it.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import type { Nightly } from './nightly.ts';
import type { RetentionPasses } from '../bulk/retention.ts';

export interface ChoresOptions {
  readonly ledger: Pick<Ledger, 'customerAfter' | 'latestEventMs' | 'oldestUnconfirmedMs'>;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly nightly: Pick<Nightly, 'check'>;
  readonly retention: RetentionPasses;
}

/** A night of usage and the three days that are always looked at. */
const WATCHED_MS = 4 * 86_400_000;
/** Stripe takes usage for 35 days; what is unconfirmed after that can be told, but not mended. */
const MENDABLE_MS = 35 * 86_400_000;

/** Does what is due; answers after how many milliseconds to ask again, undefined if only new usage is a reason. */
export function createObjectChores({
  ledger,
  runtime,
  nightly,
  retention,
}: ChoresOptions): () => Promise<number | undefined> {
  const isWatched = async (): Promise<boolean> => {
    const customer = await ledger.customerAfter('');
    if (customer === undefined) return false;
    const nowMs = runtime.now();
    if (nowMs - ((await ledger.latestEventMs()) ?? 0) < WATCHED_MS) return true;
    return (await ledger.oldestUnconfirmedMs(customer, nowMs - MENDABLE_MS)) !== null;
  };
  return async () => {
    const nightMs = (await isWatched()) ? await nightly.check() : Infinity;
    const trimMs = (await retention.pass()) ?? Infinity;
    const nextMs = Math.min(nightMs, trimMs);
    return nextMs === Infinity ? undefined : nextMs;
  };
}

/** Two hours after the hour at which one ledger is compared, the last of many is: Stripe is not asked by all at once. */
const NIGHT_SPREAD_MS = 7_200_000;

/** When this ledger's turn is, milliseconds after the first: by its name, always the same. */
export function nightOffsetMs(name: string): number {
  // FNV-1a, and its bits mixed once more: names that differ in their last letters lie apart.
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = (hash ^ (hash >>> 13)) >>> 0;
  return Math.floor((hash / 2 ** 32) * NIGHT_SPREAD_MS);
}
