/** What is done with the ledger beside calls and delivery. */
import type { Bulk } from './bulk-port.ts';
import type { Comparing } from './reconcile-port.ts';
import type { Retention } from './retention.ts';
import type { Restoring } from './restore.ts';

export interface Books extends Comparing, Restoring, Bulk, Retention {}
