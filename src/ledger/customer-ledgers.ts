/**
 * Where every customer has a ledger of his own (Workers). Stripe's late verdicts name events and no customer: the account's
 * ledger knows which customers' ledgers have sent anything, and asks those; the latest senders first, since verdicts are
 * minutes old.
 */
import type { Database, LateVerdict, Ledger } from './ledger.ts';
import { textOf } from './rows.ts';

/** Ledgers asked about one verdict: a Worker may ask 1,000 others while it answers a request. */
export const LEDGERS_ASKED_MAX = 900;
const ASKED_AT_ONCE = 20;

const KEEP = `
  INSERT INTO customer_ledgers (customer, told_at_ms) VALUES (?, ?)
  ON CONFLICT (customer) DO UPDATE SET told_at_ms = excluded.told_at_ms`;
const READ_LATEST = `SELECT customer FROM customer_ledgers ORDER BY told_at_ms DESC, customer LIMIT CAST(? AS BIGINT)`;

/** The customer's ledger, which tells the account's once, before the first attempt that a verdict could speak of. */
export function announcing(
  ledger: Ledger,
  account: Database,
  { now, failed }: { readonly now: () => number; readonly failed: (error: unknown) => void },
): Ledger {
  let isKnown = false;
  const announce = async (): Promise<void> => {
    const customer = await ledger.customerAfter('');
    if (customer === undefined) return;
    await account.batch([{ sql: KEEP, params: [customer, now()] }]);
    isKnown = true;
  };
  return {
    ...ledger,
    async lease(wanted) {
      const events = await ledger.lease(wanted);
      // Not worth delaying a delivery for: the next lease tells again.
      if (!isKnown && events.length > 0) await announce().catch(failed);
      return events;
    },
  };
}

/**
 * The customer's ledger, which takes no record of another's: it would be in two ledgers once it is imported into his as
 * well, and billed twice. `isOwn` says whether the ledger is a customer's. Such a record is refused with a `RangeError`.
 */
export function importingOnly(ledger: Ledger, isOwn: (customer: string) => boolean): Ledger {
  return {
    ...ledger,
    async importRecord(record, how) {
      if (isOwn(record.customer)) return ledger.importRecord(record, how);
      throw new RangeError(
        `This is a record of ${record.customer}, whose ledger is another: import it with ?customer=${record.customer}.`,
      );
    },
  };
}

type Verdicts = Pick<Ledger, 'applyVerdict'>;

/** The account's ledger: a verdict goes to the customers' ledgers, until every event it names is found, and then on record. */
export function routingVerdicts(
  ledger: Ledger,
  database: Database,
  ledgerOf: (customer: string) => Verdicts,
): Ledger {
  const found = async (verdict: LateVerdict): Promise<number> => {
    const [rows = []] = await database.batch([{ sql: READ_LATEST, params: [LEDGERS_ASKED_MAX] }]);
    let matched = 0;
    for (let at = 0; at < rows.length && matched < verdict.refused.length; at += ASKED_AT_ONCE) {
      const some = rows.slice(at, at + ASKED_AT_ONCE).map((row) => ledgerOf(textOf(row, 'customer')));
      // What a ledger cannot match is not its concern.
      const answers = await Promise.all(some.map((one) => one.applyVerdict({ ...verdict, errorCount: 0 })));
      matched += answers.reduce((sum, answer) => sum + answer.matched, 0);
    }
    return matched;
  };
  return {
    ...ledger,
    applyVerdict: async (verdict) =>
      ledger.applyVerdict({ ...verdict, matchedElsewhere: await found(verdict) }),
  };
}
