import { openTemporary } from '../support/sqlite.ts';
import { describeLedger } from '../contract/ledger.ts';

describeLedger('node:sqlite', () => openTemporary());
