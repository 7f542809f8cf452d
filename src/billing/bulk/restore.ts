/**
 * A ledger that was restored from a backup does not know what was sent since. Whatever it would send is therefore marked
 * as perhaps sent, and reconciliation finds out. Never sent twice comes before soon sent.
 */
import type { Ledger } from '../../ledger/ledger.ts';
import type { Crypto, Runtime } from '../../runtime.ts';
import type { Layout } from '../delivery/layouts.ts';
import { PILE_MAX, sealLines } from '../delivery/seal.ts';

export interface RestoreOptions {
  readonly ledger: Ledger;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly crypto: Pick<Crypto, 'sha256'>;
  readonly eventName: string;
  readonly layouts: readonly Layout[];
  readonly classOf: (model: string) => string | undefined;
  /** Names of the other places that usage goes to. */
  readonly sinks: Iterable<string>;
}

export interface RestoreReport {
  /** Events that may have been sent since the backup: quarantined. */
  readonly quarantined: number;
  /** Calls that were open in the backup: closed, without usage. */
  readonly closed: number;
}

/** As delivery takes of a pile: 40 ms of the writer's time. */
const CALLS_AT_ONCE = 2_000;

/**
 * Repeatable at any point, before anything is delivered. What was settled and not sealed is sealed first: the process
 * that went on may have sealed it too, in sums of its own, with the same hours and the same total.
 */
export async function restoreLedger(options: RestoreOptions): Promise<RestoreReport> {
  const { ledger, runtime } = options;
  const closed = await ledger.beginRestoring(runtime.now());
  await sealAll(options);
  const quarantined = await ledger.finishRestoring(runtime.now());
  runtime.log('error', 'ledger_restored', { quarantined, closed });
  return { quarantined, closed };
}

async function sealAll({
  ledger,
  crypto,
  eventName,
  layouts,
  classOf,
  sinks,
}: RestoreOptions): Promise<void> {
  const destinations = [...layouts, ...Array.from(sinks, (name) => `sink:${name}`)];
  for (;;) {
    const lines = await ledger.unsealed(CALLS_AT_ONCE, { destinations });
    if (lines.length === 0) return;
    const facts = await ledger.sealingFacts([...new Set(lines.map(({ customer }) => customer))]);
    await ledger.seal(
      sealLines(lines, { crypto, eventName, classOf, facts, pileMax: PILE_MAX }),
      destinations,
    );
  }
}
