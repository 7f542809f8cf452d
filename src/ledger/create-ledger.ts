/** The one Ledger, over any SQL engine behind the `Database` port. The statements live with their subjects beside it. */
import { createAccounts } from './accounts.ts';
import { createBudgets } from './budgets.ts';
import { createAttempts } from './attempts.ts';
import { createBackground } from './background.ts';
import { createCalls } from './calls.ts';
import { createCustomers } from './customers.ts';
import { createDelivery } from './delivery.ts';
import { createIdempotencyKeys } from './idempotency-keys.ts';
import type { Database, Ledger } from './ledger.ts';
import { createSealing } from './sealing.ts';
import { createNotices } from './notices.ts';
import { createPeople } from './people.ts';
import { createRepairs } from './repairs.ts';
import { createExport } from './export.ts';
import { createImport } from './import.ts';
import { createBooks } from './reconcile.ts';
import { createRetention } from './retention.ts';
import { createRestoring } from './restore.ts';
import { createReconciliations } from './reconciliations.ts';
import { createReadings } from './readings.ts';
import { createRecording } from './recording.ts';
import { createTopUps } from './top-ups.ts';
import { createTotals } from './totals.ts';
import { createVerdicts } from './verdicts.ts';
import { createUsageReads } from './usage.ts';
import { createViews } from './views.ts';

export interface LedgerOptions {
  /** Migrated already: see `migrate`. */
  readonly database: Database;
  /** Names this start of the process; no two starts may share a name. Open calls of other boots are `recover`'s. */
  readonly bootId: string;
  /** Usage goes to the cost layout too: a call that costs something waits to be sealed even without lines. */
  readonly billsCosts?: boolean | undefined;
}

/** What every part of the ledger is made from. */
export interface LedgerParts {
  readonly database: Database;
  readonly bootId: string;
  readonly billsCosts: boolean;
  /** A mark no other batch of any boot has, to tell within a batch whether its first statement won. */
  readonly stamp: () => string;
}

/** Every method rejects with `LedgerUnavailable` when its batch could not be made durable. */
export function createLedger({ database, bootId, billsCosts = false }: LedgerOptions): Ledger {
  let stamps = 0;
  const stamp = (): string => `${bootId}.${(stamps += 1).toString(36)}`;
  const parts: LedgerParts = { database, bootId, billsCosts, stamp };
  const views = createViews(parts);
  return {
    ...createCalls(parts, views),
    ...createAttempts(parts),
    ...createIdempotencyKeys(parts),
    ...createBackground(parts),
    ...createSealing(parts),
    ...createDelivery(parts),
    ...createRepairs(parts),
    ...createBooks(parts),
    ...createReconciliations(parts),
    ...createRestoring(parts),
    ...createRetention(parts),
    ...createExport(parts),
    ...createImport(parts),
    ...createVerdicts(parts),
    ...createCustomers(parts),
    ...createAccounts(parts),
    ...createBudgets(parts),
    ...views,
    ...createTotals(parts),
    ...createUsageReads(parts),
    ...createRecording(parts),
    ...createReadings(parts),
    ...createPeople(parts),
    ...createNotices(parts),
    ...createTopUps(parts),
  };
}
