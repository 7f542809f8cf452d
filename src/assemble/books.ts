/** Puts reconciliation together: what compares, by night and by command, and its routes. */
import type { Hono } from 'hono';
import type { Stripe } from 'stripe';
import { createBulkRoutes } from '../admin/bulk.ts';
import { createBooksRoutes } from '../admin/books.ts';
import { createNightly, type Nightly } from '../billing/reconcile/nightly.ts';
import { createImporter } from '../billing/bulk/importer.ts';
import { createClasses } from '../billing/delivery/layouts.ts';
import type { Prices } from '../billing/prices/prices.ts';
import { createRetentionPasses, type RetentionPasses } from '../billing/bulk/retention.ts';
import { createReconciler } from '../billing/reconcile/reconciler.ts';
import { restoreLedger, type RestoreReport } from '../billing/bulk/restore.ts';
import { createStripeSums } from '../billing/reconcile/summaries.ts';
import type { Settings } from '../config.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';

export interface BooksParts {
  readonly settings: Settings;
  readonly runtime: Runtime;
  readonly ledger: Ledger;
  readonly crypto: Crypto;
  readonly stripe: Stripe;
  /** For imported usage that says no cost; without, its cost is unknown. */
  readonly prices?: Pick<Prices, 'costPico'> | undefined;
  /** Told when events are due again. */
  readonly settled: () => void;
  /** When chores begin, where they are not those of one process for all. */
  readonly chores?: ChoreTimes | undefined;
}

/** Milliseconds: from 03:10 to the nightly comparison, and from the start to the first trimming. */
export interface ChoreTimes {
  readonly nightOffsetMs: number;
  readonly firstTrimMs: number;
}

export interface AssembledBooks {
  readonly nightly: Nightly;
  readonly retention: RetentionPasses;
  readonly routes: readonly Hono[];
}

/** For the start, and for `faregate restore`: before anything is recovered or delivered. */
export const assembleRestore =
  ({ settings: { billing }, runtime, ledger, crypto }: Omit<BooksParts, 'stripe' | 'settled' | 'chores'>) =>
  (): Promise<RestoreReport> =>
    restoreLedger({
      ledger,
      runtime,
      crypto,
      eventName: billing.eventName,
      layouts: billing.layouts,
      classOf: createClasses(billing.priceClasses),
      sinks: billing.sinks.keys(),
    });

export function assembleBooks(parts: BooksParts): AssembledBooks {
  const { settings, runtime, ledger, stripe, settled, chores } = parts;
  const { billing } = settings;
  const days = settings.ledger.retentionDays;
  const reconciler = createReconciler({
    ledger,
    sums: createStripeSums({ stripe }),
    runtime,
    keptMs: days === null ? Infinity : days * 86_400_000,
    dimensionsEventName: billing.layouts.includes('dimensions') ? billing.eventName : null,
    resent: settled,
  });
  return {
    nightly: createNightly({ ledger, runtime, reconciler, offsetMs: chores?.nightOffsetMs }),
    retention: createRetentionPasses({ ledger, runtime, days, firstMs: chores?.firstTrimMs }),
    routes: [createBooksRoutes({ ledger, runtime, reconciler }), bulkRoutes(parts)],
  };
}

function bulkRoutes({ settings: { billing }, runtime, ledger, crypto, prices, settled }: BooksParts): Hono {
  const [layout = 'dimensions'] = billing.layouts;
  const { eventName } = billing;
  const importer = createImporter({
    ledger,
    crypto,
    now: runtime.now,
    layout,
    names: { eventName, classOf: createClasses(billing.priceClasses) },
    costPico: (usage, model) => prices?.costPico(usage, model) ?? null,
    recorded: settled,
  });
  return createBulkRoutes({
    exporter: { ledger, crypto, destination: layout, eventName },
    importer,
    now: runtime.now,
  });
}
