/** Where every customer has a ledger of his own: whose there are, latest sender first. Kept in the account's own ledger. */
export const CUSTOMER_OBJECTS_MIGRATION = {
  version: 13,
  purpose: 'the ledgers that lie apart',
  statements: [
    `CREATE TABLE customer_ledgers (customer TEXT NOT NULL PRIMARY KEY, told_at_ms BIGINT NOT NULL)`,
    `CREATE INDEX customer_ledgers_latest ON customer_ledgers (told_at_ms, customer)`,
  ],
} as const;
