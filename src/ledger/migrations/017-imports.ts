/**
 * Records that were imported, each once for ever: also when retention has deleted the call it made. `content_hash` tells a
 * repeat from another record under the same identifier; `imported_by` is the batch's own mark. Recorded units that
 * retention deleted are kept here too (`recording.ts`).
 */
export const IMPORTS_MIGRATION = {
  version: 17,
  purpose: 'imported records',
  statements: [
    `CREATE TABLE imports (
      identifier TEXT NOT NULL PRIMARY KEY, content_hash TEXT NOT NULL, call TEXT, imported_by TEXT NOT NULL,
      imported_at_ms BIGINT NOT NULL)`,
  ],
} as const;
